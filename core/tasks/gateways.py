"""Adding, changing and removing gateways and devices.

What a gateway has is found out in core/tasks/discovery.py.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from secrets import token_hex
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from core import rules
from core.models import Access, Device, Gateway, Secret
from core.net.errors import ApiError, ApiRefused
from core.readings import clean_name
from core.tasks import device_options
from core.tasks.discovery import LONGEST_KEY, Discovered, acceptable, store
from core.tasks.events.outbox import publishing
from core.tasks.polling.clients import client_for, faults_told
from core.tasks.signed_messages import new_secret


class AlreadyThere(ValueError):
    """Says that this gateway is stored already, maybe with another address."""

    def __init__(self, gateway: Gateway) -> None:
        sentence = f"This is {gateway}, already stored with the address {gateway.address}."
        if gateway.devices.exclude(removed_at=None).exists():
            restore = f"python manage.py discover_devices --restore --gateway {gateway.pk}"
            sentence += f" To bring back its removed devices, on its page or with: {restore}"
        super().__init__(sentence)
        self.gateway = gateway


class StoredUnfinished(ApiError):
    """Says that a gateway gave a credential, which is stored with it, and failed after that."""

    def __init__(self, gateway: Gateway, error: Exception) -> None:
        super().__init__(
            f"{error} The gateway is stored with the credential that it gave. "
            f"Try again: python manage.py discover_devices --gateway {gateway.pk}"
        )
        self.gateway = gateway


class CredentialNeeded(ValueError):
    """Says that the stored credential does not go along to another address."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(
            f"The stored credential is for {gateway.address} and is sent nowhere else. "
            "Enter the credential for the new address."
        )


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
    then, unless the gateway gave a new credential in place of the one entered (StoredUnfinished).
    """
    gateway = Gateway(vendor=vendor, address=_clean(address))
    gateway.credential = Secret.seal(credential)
    gateway.name = name or gateway.address
    _check_new(gateway)  # a pairing must not be spent on one that is there
    entered = gateway.credential
    try:
        with faults_told():
            identity = client_for(gateway).identify()
        gateway.key = identity.key[:LONGEST_KEY]
        gateway.name = name or clean_name(identity.name) or gateway.address
        _check_new(gateway)
        with faults_told():
            specs = acceptable(client_for(gateway).devices())
    except (ApiError, ApiRefused) as error:
        if gateway.credential == entered:
            raise
        with _one_per_address(vendor, gateway.address), publishing():
            gateway.save()
        raise StoredUnfinished(gateway, error) from error
    with _one_per_address(vendor, gateway.address), publishing() as outbox:
        _check_new(gateway)
        gateway.save()
        return store(gateway, specs, False, outbox)


class AddedPushing(NamedTuple):
    """A gateway whose devices push, and the secret they sign with, which is not shown again."""

    gateway: Gateway
    secret: str

    def in_words(self) -> str:
        number = self.gateway.pk
        return (
            f"Added {self.gateway} (gateway {number}). Devices that can sign post to "
            f"/api/v1/gateways/{number}/readings/ and for others make a token: "
            f"python manage.py issue_token USER NAME --right ingest --gateway {number}\n"
            "How to send: docs/push.md. The secret to sign with is not shown again:"
        )


def add_pushing(vendor: str, name: str = "", allow_new: bool = False) -> AddedPushing:
    """Store a gateway that is never asked, with a new secret. Nobody's answer is needed for it."""
    secret, key = new_secret(), token_hex(8)
    gateway = Gateway(vendor=vendor, key=key, address=f"push:{key}", allow_new=allow_new)
    gateway.name = name or f"Webhook {key[:4]}"
    gateway.credential = Secret.seal(secret)
    with publishing():
        gateway.save()
    return AddedPushing(gateway, secret)


def renew_secret(gateway_pk: int) -> AddedPushing:
    """Give a gateway whose devices push a new secret. The one before is void at once.

    Raises Gateway.DoesNotExist.
    """
    secret = new_secret()
    gateway = change(gateway_pk, credential=secret)
    return AddedPushing(gateway, secret)


def _check_new(gateway: Gateway) -> None:
    """Raise AlreadyThere if one with its address is stored, or with its key at another."""
    same_vendor = Gateway.objects.present().filter(vendor=gateway.vendor)
    stored = same_vendor.filter(address=gateway.address).first()
    if stored is None and gateway.key:
        stored = same_vendor.filter(key=gateway.key).first()
    if stored:
        raise AlreadyThere(stored)


@contextmanager
def _one_per_address(vendor: str, address: str) -> Iterator[None]:
    """Raise AlreadyThere where the database finds a second gateway at this address."""
    try:
        yield
    except IntegrityError:
        there = Gateway.objects.present().filter(vendor=vendor, address=address).first()
        if there is None:
            raise
        raise AlreadyThere(there) from None


def change(
    gateway_pk: int,
    *,
    name: str | None = None,
    enabled: bool | None = None,
    address: str | None = None,
    credential: str | None = None,
    allow_new: bool | None = None,
    version: int | None = None,
) -> Gateway:
    """Set what is given, all of it or nothing; None keeps what is stored.

    A new address is taken only if the same gateway answers there. With another scheme, host or port
    it needs its credential again: the stored one is sent nowhere else. A new address or credential
    ends a backoff. `version` as in change_device(). Raises ApiError, ApiRefused, AlreadyThere,
    CredentialNeeded, SecretUnreadable, VersionConflict, Gateway.DoesNotExist.
    """
    seen = Gateway.objects.present().get(pk=gateway_pk)
    sealed = None if credential is None else Secret.seal(credential)
    fields: dict[str, Any] = {"name": name, "enabled": enabled, "credential": sealed}
    fields["allow_new"] = allow_new
    fields = {field: value for field, value in fields.items() if value is not None}
    address = _clean(address) if address else seen.address
    if address != seen.address:
        fields |= {"address": address, **_tried(seen, address, sealed)}
    with _one_per_address(seen.vendor, address), publishing():
        gateway = Gateway.objects.present().select_for_update(no_key=True).get(pk=gateway_pk)
        _check_version(gateway, version)
        if "address" in fields:
            # Again, under the lock: the address or the credential may have changed meanwhile.
            _check_credential(gateway, address, sealed)
        if {"address", "credential"} & fields.keys():
            fields["retry_at"] = None
        fields["version"] = gateway.version + 1
        for field, value in fields.items():
            setattr(gateway, field, value)
        gateway.save(update_fields=fields)
    return gateway


def _clean(address: str) -> str:
    return address.strip().rstrip("/")


def _tried(stored: Gateway, address: str, credential: Secret | None) -> dict[str, Secret]:
    """Ask who answers at a new address. Return the credential to store if it was renewed there."""
    _check_credential(stored, address, credential)
    before = stored.credential if credential is None else credential
    # With its key a credential renewed at the same host is stored at once.
    pk = stored.pk if credential is None else None
    there = Gateway(pk=pk, vendor=stored.vendor, address=address)
    there.credential = before
    with faults_told():
        identity = client_for(there).identify()
    if identity.key[:LONGEST_KEY] != stored.key:
        raise ApiRefused(
            f"{identity.name} answers at {address}, not {stored}. Add it as a gateway of its own."
        )
    return {} if there.credential == before else {"credential": there.credential}


def _check_credential(stored: Gateway, address: str, credential: Secret | None) -> None:
    from core.net.http import origin  # loads requests

    if stored.credential and credential is None and origin(address) != origin(stored.address):
        raise CredentialNeeded(stored)


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
    access: Access | None = None,
) -> Device:
    """Give a device a rule, or a guard, with its options. "" or "none" removes it and its options.

    Options are stored as typed, without the empty ones; those that name a device or an attribute
    as core/tasks/device_options.py says. `access` is that of who sets it, who may name the devices
    that they may see. Raises Device.DoesNotExist, and ValueError with a sentence (VersionConflict
    is one, see change_device()).
    """
    rule = "" if rule == "none" else rule
    typed: dict[str, object] = {}
    if rule:
        typed = {name: value for name, value in options.items() if value not in ("", None)}
        typed = _checked(_loaded(rule, guard), typed, device_pk, access)
    fields = {"guard": rule, "guard_options": typed} if guard else {"rule": rule, "options": typed}
    try:
        return change_device(device_pk, version=version, **fields)
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from error


def _loaded(name: str, guard: bool) -> rules.Rule:
    try:
        rule = rules.load(name)
    except rules.UnknownRule as error:
        raise ValueError(str(error)) from error
    if guard and not rule.is_guard:
        guards = ", ".join(choice for choice, _ in rules.guard_choices())
        raise ValueError(f"{name} is no guard. Guards: {guards or 'none'}.")
    return rule


def _checked(
    rule: rules.Rule, typed: Mapping[str, object], device_pk: int, access: Access | None
) -> dict[str, object]:
    """Return the options as they are stored. Raises ValueError with a sentence."""
    present = Device.objects.present()
    own = present.get(pk=device_pk)
    seen = access.limit_devices(present) if access else present
    checked = device_options.with_numbers(rule, typed, seen)
    names = device_options.attribute_names(rule, rule.read(checked), own)
    # A default is not stored.
    return checked | {name: stored for name, stored in names.items() if name in typed}
