"""Who may do what: the rights, the roles that people have, and for which gateways.

Pages, sockets, the API and the admin all ask here. Django's own rows of permissions grant nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q

from core.models.attribute import AttributeQuerySet
from core.models.device import Device, DeviceQuerySet
from core.models.gateway import Gateway, GatewayQuerySet
from core.models.user import User

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class Right(StrEnum):
    """What a person or a token may do. A token's scopes are these too."""

    READ = "read"
    """See devices, their history and decisions."""
    CONTROL = "control"
    """Switch devices, hold them and release them."""
    INGEST = "ingest"
    """Send readings in."""
    ADMIN = "admin"
    """Add, change and remove gateways, devices, rules, people and tokens."""


class Role(models.TextChoices):
    VIEWER = "viewer", "Viewer"
    OPERATOR = "operator", "Operator"
    ADMINISTRATOR = "administrator", "Administrator"


RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.OPERATOR: frozenset({Right.READ, Right.CONTROL}),
    Role.ADMINISTRATOR: frozenset(Right),
}
"""The one table of what a role may do."""


def refusal(right: Right) -> str:
    """Say that somebody lacks a right, and who can help."""
    return f"Your account lacks the right to {WORDS[right]}. An administrator can give it."


WORDS = {
    Right.READ: "see this",
    Right.CONTROL: "switch devices",
    Right.INGEST: "send readings",
    Right.ADMIN: "change this",
}


def right_for(permission: str) -> Right:
    """Return the right that stands for one of Django's permissions, such as core.change_device."""
    codename = permission.rpartition(".")[2]
    if codename == "add_devicecommand":
        return Right.CONTROL
    return Right.READ if codename.startswith("view_") else Right.ADMIN


class Membership(models.Model):
    """The role of a person. Who has none is a viewer of everything; a superuser may do all."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="membership")
    role = models.CharField(max_length=20, choices=Role, default=Role.VIEWER)
    # A flag: a list of gateways that is empty once the last of them is deleted must not mean all.
    everywhere = models.BooleanField(default=True, help_text="Of all gateways, also of later ones")
    gateways = models.ManyToManyField(
        Gateway, blank=True, related_name="+", help_text="Only of these, unless of all"
    )

    def __str__(self) -> str:
        return f"{self.user}: {self.get_role_display()}"


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody may do, and where: None means everywhere, an empty set nowhere."""

    rights: frozenset[Right]
    gateways: frozenset[int] | None = None
    devices: frozenset[int] | None = None

    def may(
        self, right: Right, *, device: Device | None = None, gateway: Gateway | None = None
    ) -> bool:
        """Return whether the right is there, and reaches the device or gateway."""
        if right not in self.rights:
            return False
        if device is not None:
            return self._reaches(device.gateway_id, device.pk)
        # Limited to some devices, nobody may change the gateway they are behind.
        if gateway is not None:
            return self._reaches(gateway.pk, None) and (self.devices is None or right is Right.READ)
        return True

    def _reaches(self, gateway_pk: int, device_pk: int | None) -> bool:
        if self.gateways is not None and gateway_pk not in self.gateways:
            return False
        return device_pk is None or self.devices is None or device_pk in self.devices

    @property
    def is_limited(self) -> bool:
        return self.gateways is not None or self.devices is not None

    def may_everywhere(self, right: Right) -> bool:
        """Return whether the right is there, for all gateways and devices, also for later ones."""
        return right in self.rights and not self.is_limited

    def limit_devices(self, devices: DeviceQuerySet) -> DeviceQuerySet:
        """Leave out devices that may not be seen."""
        if Right.READ not in self.rights:
            return devices.none()
        return devices.filter(self._reached("gateway", "pk"))

    def limit_attributes(self, attributes: AttributeQuerySet) -> AttributeQuerySet:
        """Leave out attributes of devices that may not be seen."""
        if Right.READ not in self.rights:
            return attributes.none()
        return attributes.filter(self._reached("device__gateway", "device"))

    def _reached(self, gateway: str, device: str) -> Q:
        reached = Q()
        if self.gateways is not None:
            reached &= Q(**{f"{gateway}__in": self.gateways})
        if self.devices is not None:
            reached &= Q(**{f"{device}__in": self.devices})
        return reached

    def limit_gateways(self, gateways: GatewayQuerySet) -> GatewayQuerySet:
        """Leave out gateways that may not be seen."""
        if Right.READ not in self.rights:
            return gateways.none()
        if self.gateways is not None:
            gateways = gateways.filter(pk__in=self.gateways)
        if self.devices is not None:
            # One with several of these devices would come several times.
            gateways = gateways.filter(devices__in=self.devices).distinct()
        return gateways

    def __and__(self, other: Self) -> "Access":
        """Return what both allow. A token never may more than its person."""
        return Access(
            self.rights & other.rights,
            _both(self.gateways, other.gateways),
            _both(self.devices, other.devices),
        )


def _both(one: frozenset[int] | None, other: frozenset[int] | None) -> frozenset[int] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


NOTHING = Access(frozenset())


def access_of(user: "AbstractBaseUser | AnonymousUser") -> Access:
    """Return what a person may do. Without a log-in: what is public.

    It is read once for each user object, in two queries at most, as Django does with permissions.
    """
    if not isinstance(user, User):
        return Access(frozenset({Right.READ})) if settings.PUBLIC_STATUS else NOTHING
    known: Access | None = user.__dict__.get("_access")
    if known is None:
        known = learn_access(user, Membership.objects.filter(user=user).first())
    return known


def learn_access(user: User, membership: Membership | None) -> Access:
    """Return what a person with this membership may do, and keep it for access_of()."""
    access = user.__dict__["_access"] = _access(user, membership)
    return access


def limits_of(user_pks: Collection[int]) -> dict[int, frozenset[int]]:
    """Return the gateways of those of these people who are limited to some, in one query."""
    limited = Membership.objects.filter(
        user__in=user_pks, user__is_superuser=False, everywhere=False
    )
    gateways: dict[int, set[int]] = {}
    for user_pk, gateway_pk in limited.values_list("user", "gateways"):
        # One without any gateway has a row too, with None.
        gateways.setdefault(user_pk, set()).update([gateway_pk] if gateway_pk else [])
    return {user_pk: frozenset(pks) for user_pk, pks in gateways.items()}


def _access(user: User, membership: Membership | None) -> Access:
    if not user.is_active:
        return NOTHING
    if user.is_superuser:
        return Access(frozenset(Right))
    if membership is None:
        return Access(RIGHTS[Role.VIEWER])
    rights = RIGHTS[Role(membership.role)]
    if membership.everywhere:
        return Access(rights)
    return Access(rights, frozenset(membership.gateways.values_list("pk", flat=True)))
