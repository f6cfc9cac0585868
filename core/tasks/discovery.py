"""Discovery: which devices a gateway has, stored as devices and attributes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from core import vendors
from core.models import Attribute, Device, Gateway
from core.readings import AttributeSpec, DeviceSpec, Unacceptable, clean_name
from core.tasks.events.outbox import Outbox, publishing
from core.tasks.polling.ask import ask
from core.tasks.polling.backoff import OURS
from core.tasks.polling.clients import client_for, faults_told
from core.tasks.polling.description import clean_spec, fitted, set_apart

LONGEST_KEY = 200
LONGEST_VENDOR_ID = 200
MOST_NAMES = 20


@dataclass
class Discovered:
    """What a gateway has.

    `new`, `known` and `restored` are devices by primary key. By vendor id: `left_out` are those
    that a person removed, `missing` the stored ones that the gateway no longer lists. `unread` says
    why new and restored ones could not be polled. `notes` are sentences about attributes.
    """

    gateway: Gateway
    new: list[int] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "gateway": self.gateway.pk,
            "new": self.new,
            "known": self.known,
            "restored": self.restored,
            "left_out": self.left_out,
            "missing": self.missing,
        }

    def in_words(self) -> str:
        parts = [f"{self.gateway}: {len(self.new)} new, {len(self.known)} known"]
        if self.restored:
            parts.append(f"{len(self.restored)} restored")
        if self.left_out:
            why = "because they were removed (--restore brings them back)"
            parts.append(f"{len(self.left_out)} left out {why}")
        if self.missing:
            parts.append(f"no longer listed: {', '.join(self.missing[:MOST_NAMES])}")
        notes = "".join(f" {note}" for note in self.notes[:MOST_NAMES])
        unread = f" They were polled and failed: {self.unread}" if self.unread else ""
        return f"{', '.join(parts)}.{notes}{unread}"


def discover(gateway_pk: int, *, restore: bool = False) -> Discovered:
    """Ask a gateway what devices it has now, and poll those that are new or restored.

    `restore` brings back those that a person removed. Raises ApiError, ApiRefused,
    SecretUnreadable, Gateway.DoesNotExist.
    """
    gateway = Gateway.objects.present().get(pk=gateway_pk)
    specs = _specs(gateway)
    with publishing() as outbox:
        # One at a time: two would both create what is new. Raises DoesNotExist if it was removed.
        Gateway.objects.present().select_for_update(no_key=True).get(pk=gateway_pk)
        found = store(gateway, specs, restore, outbox)
    if fresh := [*found.new, *found.restored]:
        failed = ask([gateway], device_pks=fresh).failed
        found.unread = "; ".join(why for _, why in failed)
    return found


def _specs(gateway: Gateway) -> list[DeviceSpec]:
    """Ask a gateway for its devices. One that is never asked has those that have pushed."""
    if vendors.load_or_default(gateway.vendor).pushes:
        return [DeviceSpec(one.vendor_id, one.name, ()) for one in gateway.devices.all()]
    if not gateway.key:  # it failed before it said who it is
        _identify(gateway)
    with faults_told():
        return acceptable(client_for(gateway).devices())


def _identify(gateway: Gateway) -> None:
    with faults_told():
        gateway.key = client_for(gateway).identify().key[:LONGEST_KEY]
    with publishing():
        gateway.save(update_fields=["key"])


def discover_devices(
    gateway_pk: int | None = None,
    *,
    restore: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Discovered], list[str]]:
    """Discover the devices of one gateway, or of all that are enabled.

    A gateway that fails does not stop the others. Gives what was found, and a line for each gateway
    that failed. Raises Gateway.DoesNotExist, and LookupError if there is none at all.
    """
    if gateway_pk is None:
        gateways = list(Gateway.objects.active())
    else:
        gateways = [Gateway.objects.present().get(pk=gateway_pk)]
    if not gateways:
        raise LookupError("There is no gateway.")
    found, failed = [], []
    for done, gateway in enumerate(gateways, 1):
        try:
            found.append(discover(gateway.pk, restore=restore))
        except OURS as error:
            failed.append(f"{gateway}: {error}")
        if progress:
            progress(done, len(gateways))
    return found, failed


def acceptable(specs: Iterable[DeviceSpec]) -> list[DeviceSpec]:
    """Keep the devices whose id can be stored, each id once.

    Anything else costs that device, not the gateway.
    """
    devices: dict[str, DeviceSpec] = {}
    for spec in specs:
        vendor_id = spec.vendor_id
        is_clean = clean_name(vendor_id) == vendor_id
        if vendor_id and len(vendor_id) <= LONGEST_VENDOR_ID and is_clean:
            devices.setdefault(vendor_id, spec)
    return list(devices.values())


def store(gateway: Gateway, specs: list[DeviceSpec], restore: bool, outbox: Outbox) -> Discovered:
    """Create the devices that are new and refresh the others. Call it inside publishing().

    What people may change (name, place, rule) is never overwritten.
    """
    _store_sleep(gateway, specs)
    stored = {device.vendor_id: device for device in gateway.devices.all()}
    found = Discovered(gateway)
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
        elif device.removed_at:
            device.removed_at, device.enabled = None, True
            device.save(update_fields=["removed_at", "enabled"])
            found.restored.append(device.pk)
        else:
            found.known.append(device.pk)
        _store_hardware(device, spec)
        found.notes += _store_attributes(device, spec.attributes)
    outbox.changed_pks(Device, [*found.known, *found.restored])
    listed = {spec.vendor_id for spec in specs}
    for vendor_id, device in stored.items():
        if vendor_id not in listed and not device.removed_at:
            found.missing.append(vendor_id)
    return found


def _store_sleep(gateway: Gateway, specs: list[DeviceSpec]) -> None:
    """Note how often a gateway wakes of which nothing is awake all the time."""
    periods = [spec.wakes_every for spec in specs if spec.wakes_every]
    wakes_every = min(periods) if periods and len(periods) == len(specs) else None
    if gateway.wakes_every != wakes_every:
        gateway.wakes_every = wakes_every
        gateway.save(update_fields=["wakes_every"])


def _store_hardware(device: Device, spec: DeviceSpec) -> None:
    """Note which hardware a device is of."""
    hardware = clean_name(spec.hardware), clean_name(spec.hardware_name)
    if (device.hardware, device.hardware_name) != hardware:
        device.hardware, device.hardware_name = hardware
        device.save(update_fields=["hardware", "hardware_name"])


def _store_attributes(device: Device, specs: tuple[AttributeSpec, ...]) -> list[str]:
    """Create what is new, and refresh the rest as the vendor describes it now.

    Return sentences about those that could not go on, or had no room.
    """
    notes: list[str] = []
    known: set[str] = set()
    # A name that comes twice fails the insert.
    by_name = {spec.name: spec for spec in map(clean_spec, specs) if spec.name}
    for attribute in device.attributes.filter(name__in=by_name):
        spec = fitted(attribute.kind, attribute.unit, by_name[attribute.name])
        if spec is not None:
            by_name[attribute.name] = spec
            known.add(attribute.name)
            continue
        try:
            _, sentence = set_apart(attribute, by_name.pop(attribute.name))
        except Unacceptable as complaint:
            sentence = f"{attribute.name}: {complaint}."
        notes.append(f"{device}: {sentence}")
    room = max(0, settings.MOST_ATTRIBUTES - device.attributes.count())
    left_out = [name for name in by_name if name not in known][room:]
    for name in left_out:
        del by_name[name]
    if left_out:
        notes.append(
            f"{device} has {len(left_out):,} attributes more than a device may have "
            f"({settings.MOST_ATTRIBUTES:,}, MOST_ATTRIBUTES): they are left out."
        )
    Attribute.objects.bulk_create(
        [Attribute.of(device, spec) for spec in by_name.values()],
        update_conflicts=True,
        unique_fields=["device", "name"],
        update_fields=[
            *("kind", "unit", "minimum", "maximum", "step", "tolerance", "choices", "writable")
        ],
    )
    return notes
