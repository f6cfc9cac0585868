"""Adding, discovering, changing and removing gateways and their devices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from core import rules
from core.models import Attribute, Device, Gateway, Secret
from core.net.errors import ApiRefused
from core.readings import AttributeSpec, DeviceSpec, clean_name
from core.tasks.events.outbox import Outbox, publishing
from core.tasks.polling.clients import client_for


class AlreadyThere(ValueError):
    """This gateway is stored already, maybe with another address."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(f"This is {gateway}, already stored with the address {gateway.address}.")
        self.gateway = gateway


class ChangedMeanwhile(ValueError):
    """Somebody else saved a change after the one who saves now had looked: `there` is how it is."""

    def __init__(self, there: Device | Gateway) -> None:
        super().__init__(
            f"{there} was changed by somebody else meanwhile. Nothing of yours was saved."
        )
        self.there = there


@dataclass(frozen=True)
class Discovered:
    """Devices by what became of them: primary keys of new ones and known ones, vendor ids of those removed by a person
    earlier, and of stored ones that the vendor no longer lists."""

    gateway: Gateway
    new: list[int]
    known: list[int]
    left_out: list[str]
    missing: list[str]

    def as_json(self) -> dict[str, Any]:
        return {"gateway": self.gateway.pk} | {
            name: getattr(self, name) for name in ("new", "known", "left_out", "missing")
        }

    def in_words(self) -> str:
        said = f"{self.gateway}: {len(self.new)} new, {len(self.known)} known"
        said += (
            f", {len(self.left_out)} left out because they were removed (--restore brings them back)"
            if self.left_out
            else ""
        )
        return (
            said
            + (f", no longer listed: {', '.join(self.missing[:20])}" if self.missing else "")
            + "."
        )


def add(vendor: str, address: str, credential: str = "", name: str = "") -> Discovered:
    """Ask the address who it is, store it as a gateway and discover its devices.

    Raises ApiError, ApiRefused, AlreadyThere, LookupError for an unknown vendor. Nothing is stored then.
    """
    gateway = Gateway(vendor=vendor, address=address.strip().rstrip("/"))
    gateway.credential = Secret.seal(credential)
    client = client_for(gateway)
    identity = client.identify()
    devices = _checked(client_for(gateway).devices())
    gateway.key, gateway.name = (
        identity.key[:200],
        name or clean_name(identity.name) or gateway.address,
    )
    with publishing() as outbox:
        same = Gateway.objects.select_for_update().present().filter(vendor=vendor)
        if there := (
            same.filter(address=gateway.address).first()
            or same.exclude(key="").filter(key=gateway.key).first()
        ):
            raise AlreadyThere(there)
        gateway.save()
        return _store(gateway, devices, False, outbox)


def discover(gateway_pk: int, *, restore: bool = False) -> Discovered:
    """Ask a gateway what devices it has now. `restore` brings back those that a person removed. Raises ApiError, ApiRefused."""
    gateway = Gateway.objects.present().get(pk=gateway_pk)
    devices = _checked(client_for(gateway).devices())
    with publishing() as outbox:
        return _store(gateway, devices, restore, outbox)


def move(gateway_pk: int, address: str) -> Gateway:
    """Give a gateway a new address, if the same one answers there. Raises ApiError, ApiRefused."""
    gateway = Gateway.objects.present().get(pk=gateway_pk)
    gateway.address = address.strip().rstrip("/")
    identity = client_for(gateway).identify()
    if identity.key != gateway.key:
        raise ApiRefused(
            f"{identity.name} answers at {gateway.address}, not {gateway}. Add it as a gateway of its own."
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
    """Rename, switch off and on, give a new credential (None keeps the old one). A new credential ends a rest.

    `version` as in change_device(). Raises ChangedMeanwhile, Gateway.DoesNotExist.
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
    """Out of sight at once, its credential wiped; `prune` deletes the history in steps."""
    with publishing() as outbox:
        gone = Gateway.objects.filter(pk=gateway_pk, removed_at=None).update(
            removed_at=timezone.now(), credential=Secret()
        )
        outbox.changed_pks(Gateway, [gateway_pk] * gone)


def remove_device(device_pk: int) -> None:
    """Out of sight at once; `prune` deletes the history in steps. Discovery leaves it out from then on."""
    with publishing() as outbox:
        gone = Device.objects.filter(pk=device_pk, removed_at=None).update(
            removed_at=timezone.now(), enabled=False, rule="", guard=""
        )
        outbox.changed_pks(Device, [device_pk] * gone)


def change_device(device_pk: int, *, version: int | None = None, **fields: Any) -> Device:
    """Set what people may change. `version` is the one that was looked at; None overwrites whatever is there.

    Raises ValidationError, ChangedMeanwhile, Device.DoesNotExist.
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
        raise ChangedMeanwhile(there)


def set_rule(
    device_pk: int,
    rule: str,
    options: Mapping[str, object],
    guard: bool = False,
    version: int | None = None,
) -> Device:
    """Let a rule (or a guard beside it) decide for a device from now on; "" or "none": nobody does, and options are cleared.

    Options are kept as written, without those left empty. Raises ValueError with a sentence (ChangedMeanwhile among
    them, see change_device()), Device.DoesNotExist.
    """
    rule = "" if rule == "none" else rule
    written = (
        {name: value for name, value in options.items() if value not in ("", None)} if rule else {}
    )
    if rule:
        _check_rule(rule, written, guard)
    part = "guard" if guard else "rule"
    try:
        return change_device(
            device_pk,
            version=version,
            **{part: rule, "guard_options" if guard else "options": written},
        )
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from error


def _check_rule(name: str, written: Mapping[str, object], guard: bool) -> None:
    try:
        rule = rules.load(name)
    except rules.UnknownRule as error:
        raise ValueError(str(error)) from error
    if guard and not rule.is_guard:
        guards = ", ".join(known for known, _ in rules.guard_choices())
        raise ValueError(f"{name} is no guard. Guards: {guards or 'none'}.")
    rule.read(written)


def _checked(found: Any) -> list[DeviceSpec]:
    """What a vendor says its devices are, without nonsense and doubles. A device is refused as a whole, never the gateway."""
    devices: dict[str, DeviceSpec] = {}
    for spec in found:
        if (
            spec.vendor_id
            and len(spec.vendor_id) <= 200
            and clean_name(spec.vendor_id) == spec.vendor_id
        ):
            devices.setdefault(spec.vendor_id, spec)
    return list(devices.values())


def _store(gateway: Gateway, specs: list[DeviceSpec], restore: bool, outbox: Outbox) -> Discovered:
    """Make what is new, refresh what is known. What people may change (name, place, rule) is never overwritten."""
    stored = {device.vendor_id: device for device in gateway.devices.all()}
    seen = {spec.vendor_id for spec in specs}
    found = Discovered(gateway, [], [], [], [])
    for spec in specs:
        device = stored.get(spec.vendor_id)
        if device is None:
            device = gateway.devices.create(
                vendor_id=spec.vendor_id,
                name=clean_name(spec.name) or spec.vendor_id,
                model=clean_name(spec.model),
            )
            found.new.append(device.pk)
        elif device.removed_at and not restore:
            found.left_out.append(spec.vendor_id)
            continue
        else:
            if device.removed_at:
                device.removed_at, device.enabled = None, True
                device.save(update_fields=["removed_at", "enabled"])
            found.known.append(device.pk)
        _store_attributes(device, spec.attributes)
    outbox.changed_pks(Device, found.known)
    found.missing.extend(
        vendor_id
        for vendor_id, device in stored.items()
        if vendor_id not in seen and not device.removed_at
    )
    return found


def _store_attributes(device: Device, specs: tuple[AttributeSpec, ...]) -> None:
    Attribute.objects.bulk_create(
        [
            Attribute(
                device=device,
                name=spec.name,
                kind=spec.kind,
                unit=spec.unit,
                minimum=spec.minimum,
                maximum=spec.maximum,
                choices=list(spec.choices),
                writable=spec.writable,
            )
            for spec in {spec.name: spec for spec in specs}.values()
        ],
        update_conflicts=True,
        unique_fields=["device", "name"],
        update_fields=["unit", "minimum", "maximum", "choices", "writable"],
    )
