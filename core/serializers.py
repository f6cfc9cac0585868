"""How things look in JSON: one place for the page, the socket, the API, the status command and the relay.

Times are ISO 8601, UTC, with a Z. Nothing here ever carries a credential. `public_...` is what anybody who may read may see,
as on the pages: events and sockets carry that.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from core.models import Attribute, Device, DeviceCommand, Gateway, Plan, Presence, Run
from core.readings import Value

Json = dict[str, Any]
MOST_PRESENT = 20


def time(value: datetime | None) -> str | None:
    return (
        value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if value
        else None
    )


def device(device: Device, attributes: Iterable[Attribute], now: datetime) -> Json:
    """A device and its attributes. The device's gateway is read."""
    return {
        "id": device.pk,
        "name": str(device),
        "model": device.model,
        "vendor_id": device.vendor_id,
        "gateway": {
            "id": device.gateway_id,
            "name": str(device.gateway),
            "vendor": device.gateway.vendor,
        },
        "place": {
            "name": device.place,
            "latitude": device.latitude,
            "longitude": device.longitude,
            "zone": device.zone,
        },
        "enabled": device.enabled,
        "freshness": device.freshness(now).value,
        "heard_at": time(device.heard_at),
        "measured_at": time(device.measured_at),
        "rule": device.rule or None,
        "guard": device.guard or None,
        "hold": hold(device, now),
        "decision": {"reason": device.decision, "decided_at": time(device.decided_at)}
        if device.decided_at
        else None,
        "attributes": [attribute(one, now) for one in attributes],
    }


def public_device(one: Device, attributes: Iterable[Attribute], now: datetime) -> Json:
    """Without where on earth it is."""
    return device(one, attributes, now) | {"place": {"name": one.place, "zone": one.zone}}


def hold(device: Device, now: datetime) -> Json | None:
    if not device.is_held(now):
        return None
    return {
        "reason": device.hold_reason,
        "held_at": time(device.held_at),
        "held_until": time(device.held_until),
    }


def attribute(attribute: Attribute, now: datetime) -> Json:
    """An attribute with its latest value. The attribute's device and gateway are read."""
    return {
        "id": attribute.pk,
        "name": attribute.name,
        "kind": attribute.kind,
        "unit": attribute.unit,
        "minimum": attribute.minimum,
        "maximum": attribute.maximum,
        "choices": list(attribute.choices),
        "writable": attribute.writable,
        "value": attribute.value,
        "available": attribute.available,
        "freshness": attribute.freshness(now).value,
        "observed_at": time(attribute.observed_at),
        "heard_at": time(attribute.heard_at),
    }


def device_command(command: DeviceCommand) -> Json:
    """An order and all that became of it. The command's attribute is read."""
    return {
        "id": command.pk,
        "attribute": command.attribute_id,
        "device": command.attribute.device_id,
        "value": command.value,
        "state": command.state,
        "open": command.is_open,
        "source": command.source,
        "user": command.user_id,
        "reason": command.reason,
        "error": command.error,
        "requested_at": time(command.requested_at),
        "sent_at": time(command.sent_at),
        "accepted_at": time(command.accepted_at),
        "finished_at": time(command.finished_at),
    }


def gateway(gateway: Gateway) -> Json:
    return {
        "id": gateway.pk,
        "name": str(gateway),
        "vendor": gateway.vendor,
        "address": gateway.address,
        "enabled": gateway.enabled,
        "has_credential": bool(gateway.credential),
        "asked_at": time(gateway.asked_at),
        "answered_at": time(gateway.answered_at),
        "failures": gateway.failures,
        "error": gateway.error,
        "refused": gateway.refused,
        "retry_at": time(gateway.retry_at),
    }


def public_gateway(one: Gateway) -> Json:
    """Without its address, and without whether it has a credential."""
    return _without(gateway(one), "address", "has_credential")


def run(run: Run) -> Json:
    return {
        "id": run.pk,
        "task": run.task,
        "outcome": run.outcome,
        "started_at": time(run.started_at),
        "finished_at": time(run.finished_at),
        "seconds": run.seconds,
        "counts": run.counts,
        "error": run.error,
    }


def public_run(one: Run) -> Json:
    """Without what failed and why, which may quote anything."""
    return _without(run(one), "error")


def readings(
    heard_at: datetime, values: Mapping[int, tuple[Value, datetime]], none: Sequence[int]
) -> Json:
    """What one device told at once, short, for it is told often. Times are seconds since 1970. `values` by attribute, each as
    it is where it was observed `at` that time, else [value, observed at]; `none` are attributes that have no value now."""
    at = round(heard_at.timestamp(), 3)
    told = {
        pk: value if observed_at == heard_at else [value, round(observed_at.timestamp(), 3)]
        for pk, (value, observed_at) in values.items()
    }
    return {"at": at, "values": told} | ({"none": list(none)} if none else {})


def plan(plan: Plan) -> Json:
    """A job of a device and when it is to run; after its deadline, what it has cost. Costs are in `unit`."""
    return {
        "id": plan.pk,
        "device": plan.device_id,
        "rule": plan.rule,
        "signal": plan.signal,
        "opens_at": time(plan.opens_at),
        "deadline": time(plan.deadline),
        "windows": [
            [time(datetime.fromtimestamp(moment, UTC)) for moment in window]
            for window in plan.windows
        ],
        "made_at": time(plan.made_at),
        "changed_at": time(plan.changed_at),
        "changes": plan.changes,
        "delivered_minutes": plan.delivered,
        "unit": plan.unit,
        "predicted": plan.predicted,
        "predicted_at_once": plan.predicted_at_once,
        "settled_at": time(plan.settled_at),
        "actual": plan.actual,
        "at_once": plan.at_once,
        "ideal": plan.ideal,
        "note": plan.note,
    }


def presence(device_pk: int, people: Iterable[Presence]) -> Json:
    """Who is at the device's page: how many, how many of them are about to change it, and the first of them by name, those who
    change it before those who look. A person with a log-in counts once, in however many windows."""
    named: dict[str, bool] = {}
    nameless = []
    for one in people:
        if one.name:
            named[one.name] = named.get(one.name, False) or one.is_changing
        else:
            nameless.append({"name": "somebody", "changing": one.is_changing})
    present = [
        {"name": name, "changing": changing}
        for name, changing in sorted(named.items(), key=lambda one: (not one[1], one))
    ]
    present += nameless
    changing = sum(bool(one["changing"]) for one in present)
    return {
        "device": device_pk,
        "count": len(present),
        "changing": changing,
        "present": present[:MOST_PRESENT],
    }


def nameless_presence(told: Json) -> Json:
    """For those without a log-in."""
    return _without(told, "present")


def _without(told: Json, *private: str) -> Json:
    return {name: value for name, value in told.items() if name not in private}
