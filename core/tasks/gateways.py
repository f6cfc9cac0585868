"""Adding, changing and removing gateways and devices.

What a gateway has is found out in core/tasks/discovery.py.
"""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from core import rules
from core.models import Device, Gateway, Secret
from core.net.errors import ApiRefused
from core.readings import clean_name
from core.tasks.discovery import Discovered, acceptable, store
from core.tasks.events.outbox import publishing
from core.tasks.polling.clients import client_for

LONGEST_KEY = 200


class AlreadyThere(ValueError):
    """Says that this gateway is stored already, maybe with another address."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(f"This is {gateway}, already stored with the address {gateway.address}.")
        self.gateway = gateway


class VersionConflict(ValueError):
    """Says that somebody else saved a change since the page was loaded.

    `there` is what is stored now.
    """

    def __init__(self, there: Device | Gateway) -> None:
        super().__init__(
            f"{there} was changed by somebody else meanwhile. Nothing of yours was saved."
        )
        self.there = there


def add(vendor: str, address: str, credential: str = "", name: str = "") -> Discovered:
    """Ask the address who it is, store it as a gateway, and its devices.

    Raises ApiError, ApiRefused, AlreadyThere, LookupError for an unknown vendor. Nothing is stored
    then.
    """
    gateway = Gateway(vendor=vendor, address=address.strip().rstrip("/"))
    gateway.credential = Secret.seal(credential)
    identity = client_for(gateway).identify()
    specs = acceptable(client_for(gateway).devices())
    gateway.key = identity.key[:LONGEST_KEY]
    gateway.name = name or clean_name(identity.name) or gateway.address
    with publishing() as outbox:
        if stored := _already_stored(gateway):
            raise AlreadyThere(stored)
        gateway.save()
        return store(gateway, specs, False, outbox)


def _already_stored(gateway: Gateway) -> Gateway | None:
    """Find a gateway with this address, or with this key at another address."""
    same_vendor = Gateway.objects.select_for_update().present().filter(vendor=gateway.vendor)
    by_address = same_vendor.filter(address=gateway.address).first()
    return by_address or same_vendor.exclude(key="").filter(key=gateway.key).first()


def move(gateway_pk: int, address: str) -> Gateway:
    """Give a gateway a new address, if the same one answers there. Raises ApiError, ApiRefused."""
    gateway = Gateway.objects.present().get(pk=gateway_pk)
    gateway.address = address.strip().rstrip("/")
    identity = client_for(gateway).identify()
    if identity.key != gateway.key:
        raise ApiRefused(
            f"{identity.name} answers at {gateway.address}, not {gateway}. "
            "Add it as a gateway of its own."
        )
    gateway.retry_at = None
    with publishing():
        gateway.save(update_fields=["address", "retry_at"])
    return gateway


def change(
    gateway_pk: int,
    *,
    name: str,
    enabled: bool,
    credential: str | None = None,
    version: int | None = None,
) -> Gateway:
    """Set the name, whether it is enabled, and the credential (None keeps the old one).

    A new credential ends a backoff. `version` as in change_device(). Raises VersionConflict,
    Gateway.DoesNotExist.
    """
    with publishing():
        gateway = Gateway.objects.present().select_for_update(no_key=True).get(pk=gateway_pk)
        _check_version(gateway, version)
        gateway.name, gateway.enabled, gateway.version = name, enabled, gateway.version + 1
        fields = ["name", "enabled", "version"]
        if credential is not None:
            gateway.credential, gateway.retry_at = Secret.seal(credential), None
            fields += ["credential", "retry_at"]
        gateway.save(update_fields=fields)
    return gateway


def remove(gateway_pk: int) -> None:
    """Hide a gateway and its devices at once, and wipe its credential.

    `prune` deletes the history in steps.
    """
    with publishing() as outbox:
        gone = Gateway.objects.filter(pk=gateway_pk, removed_at=None).update(
            removed_at=timezone.now(), credential=Secret()
        )
        outbox.changed_pks(Gateway, [gateway_pk] * gone)


def remove_device(device_pk: int) -> None:
    """Hide a device at once; discovery leaves it out from then on.

    `prune` deletes the history in steps.
    """
    with publishing() as outbox:
        gone = Device.objects.filter(pk=device_pk, removed_at=None).update(
            removed_at=timezone.now(), enabled=False, rule="", guard=""
        )
        outbox.changed_pks(Device, [device_pk] * gone)


def change_device(device_pk: int, *, version: int | None = None, **fields: Any) -> Device:
    """Set fields that people may change. `version` is that of the page; None overwrites any.

    Raises ValidationError, VersionConflict, Device.DoesNotExist.
    """
    with publishing():
        locked = Device.objects.present().select_for_update(of=("self",), no_key=True)
        device = locked.select_related("gateway").get(pk=device_pk)
        _check_version(device, version)
        for name, value in fields.items():
            setattr(device, name, value)
        device.full_clean()
        device.version += 1
        device.save(update_fields=[*fields, "version"])
    return device


def _check_version(there: Device | Gateway, version: int | None) -> None:
    if version is not None and version != there.version:
        raise VersionConflict(there)


def set_rule(
    device_pk: int,
    rule: str,
    options: Mapping[str, object],
    guard: bool = False,
    version: int | None = None,
) -> Device:
    """Give a device a rule, or a guard, with its options. "" or "none" removes it and its options.

    Options are stored as typed, without the empty ones. Raises Device.DoesNotExist, and ValueError
    with a sentence (VersionConflict is one, see change_device()).
    """
    rule = "" if rule == "none" else rule
    typed: dict[str, object] = {}
    if rule:
        typed = {name: value for name, value in options.items() if value not in ("", None)}
        _check_rule(rule, typed, guard)
    fields = {"guard": rule, "guard_options": typed} if guard else {"rule": rule, "options": typed}
    try:
        return change_device(device_pk, version=version, **fields)
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from error


def _check_rule(name: str, options: Mapping[str, object], guard: bool) -> None:
    try:
        rule = rules.load(name)
    except rules.UnknownRule as error:
        raise ValueError(str(error)) from error
    if guard and not rule.is_guard:
        guards = ", ".join(choice for choice, _ in rules.guard_choices())
        raise ValueError(f"{name} is no guard. Guards: {guards or 'none'}.")
    rule.read(options)
