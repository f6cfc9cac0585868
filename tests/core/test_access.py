"""Who may do what: rights, roles, and limits to some gateways."""

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, Group, Permission

from core.models import Access, Device, Gateway, Membership, Right, Role, User, access_of
from core.models.access import right_for
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


def person(name: str = "anna", **more: Any) -> User:
    return User.objects.create(username=name, **more)


@pytest.fixture
def shed() -> Gateway:
    return make_gateway("Shed", "http://shed")


@pytest.fixture
def house() -> Gateway:
    return make_gateway("House", "http://house")


def limited(role: Role, *gateways: Gateway) -> User:
    user = person()
    Membership.objects.create(user=user, role=role, everywhere=False).gateways.set(gateways)
    return user


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Role.VIEWER, {Right.READ}),
        (Role.OPERATOR, {Right.READ, Right.CONTROL}),
        (Role.ADMINISTRATOR, set(Right)),
    ],
)
def test_a_role_gives_its_rights(role: Role, rights: set[Right]) -> None:
    user = person()
    Membership.objects.create(user=user, role=role)
    assert access_of(user) == Access(frozenset(rights))


def test_a_person_without_a_role_is_a_viewer() -> None:
    assert access_of(person()).rights == {Right.READ}


def test_a_superuser_may_do_all_and_one_who_is_not_active_nothing() -> None:
    assert access_of(person(is_superuser=True)).rights == set(Right)
    assert access_of(person("bert", is_superuser=True, is_active=False)).rights == set()


@pytest.mark.parametrize(("is_public", "rights"), [(True, {Right.READ}), (False, set())])
def test_without_a_log_in_there_is_what_is_public(
    settings: Any, is_public: bool, rights: set[Right]
) -> None:
    settings.PUBLIC_STATUS = is_public
    assert access_of(AnonymousUser()).rights == rights


def test_a_limit_to_gateways_hides_the_others(shed: Gateway, house: Gateway) -> None:
    ours, theirs = make_device(shed, "a"), make_device(house, "b")
    access = access_of(limited(Role.OPERATOR, shed))
    assert access.may(Right.CONTROL, device=ours)
    assert not access.may(Right.READ, device=theirs)
    assert not access.may(Right.READ, gateway=house)
    assert list(access.limit_devices(Device.objects.all())) == [ours]
    assert list(access.limit_gateways(Gateway.objects.all())) == [shed]


def test_a_limit_outlives_its_last_gateway(shed: Gateway, house: Gateway) -> None:
    user = limited(Role.ADMINISTRATOR, shed)
    with publishing():
        shed.delete()
    assert not access_of(user).may(Right.READ, gateway=house)


def test_a_limit_to_a_device_leaves_its_gateway_unchanged(shed: Gateway) -> None:
    device, other = make_device(shed, "a"), make_device(shed, "b")
    access = Access(frozenset(Right), devices=frozenset({device.pk}))
    assert access.may(Right.ADMIN, device=device)
    assert not access.may(Right.READ, device=other)
    assert access.may(Right.READ, gateway=shed)
    assert not access.may(Right.ADMIN, gateway=shed)


def test_two_accesses_together_allow_what_both_do(shed: Gateway, house: Gateway) -> None:
    one = Access(frozenset({Right.READ, Right.CONTROL}), gateways=frozenset({shed.pk}))
    other = Access(frozenset({Right.READ, Right.ADMIN}), gateways=frozenset({shed.pk, house.pk}))
    assert one & other == Access(frozenset({Right.READ}), gateways=frozenset({shed.pk}))
    everywhere = Access(frozenset(Right))
    assert everywhere & one == one
    nowhere = Access(frozenset(Right), gateways=frozenset({house.pk})) & one
    assert list(nowhere.limit_gateways(Gateway.objects.all())) == []


@pytest.mark.parametrize(
    ("permission", "right"),
    [
        ("core.view_device", Right.READ),
        ("core.add_devicecommand", Right.CONTROL),
        ("core.change_device", Right.ADMIN),
        ("core.delete_gateway", Right.ADMIN),
        ("auth.change_group", Right.ADMIN),
    ],
)
def test_each_permission_of_django_is_a_right(permission: str, right: Right) -> None:
    assert right_for(permission) == right


def test_roles_answer_for_django_and_its_own_permissions_grant_nothing(shed: Gateway) -> None:
    device = make_device(shed, "a")
    operator = limited(Role.OPERATOR, shed)
    operator.user_permissions.set(Permission.objects.filter(codename="change_gateway"))
    assert operator.has_perm("core.add_devicecommand")
    assert operator.has_perm("core.add_devicecommand", device)
    assert not operator.has_perm("core.add_devicecommand", make_device(make_gateway(), "b"))
    assert not operator.has_perm("core.change_gateway")


def test_roles_follow_from_the_permissions_of_before() -> None:
    def holding(name: str, codename: str) -> User:
        user = person(name)
        user.user_permissions.set(Permission.objects.filter(codename=codename))
        return user

    operator, administrator = (
        holding("operator", "add_devicecommand"),
        holding("administrator", "change_gateway"),
    )
    group = Group.objects.create(name="family")
    group.permissions.set(Permission.objects.filter(codename="change_device"))
    of_group, viewer = person("of_group"), holding("viewer", "view_device")
    of_group.groups.add(group)
    person("root", is_superuser=True)
    migration = importlib.import_module("core.migrations.0009_memberships")
    migration.give_roles(apps, SimpleNamespace())
    assert dict(Membership.objects.values_list("user__username", "role")) == {
        "operator": Role.OPERATOR,
        "administrator": Role.ADMINISTRATOR,
        "of_group": Role.ADMINISTRATOR,
    }
    assert access_of(viewer).rights == {Right.READ}
    assert access_of(operator).rights == {Right.READ, Right.CONTROL}
    assert access_of(administrator).rights == set(Right)
