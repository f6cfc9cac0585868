"""Show things in JSON, in one way for pages, sockets, the API, commands and the event log.

Times are ISO 8601, UTC, with a Z. Nothing here ever carries a credential. `public_...` holds what
every reader may see, as on the pages: events and sockets carry that. `anonymous_...` takes from it
what only readers with a log-in may see.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from core.models import (
    Attribute,
    Device,
    DeviceCommand,
    Forecast,
    Gateway,
    Measurement,
    Plan,
    Presence,
    Receipt,
    Run,
    Series,
    Site,
)
from core.models.device import public_sentence
from core.models.observation import Span
from core.readings import Kind, Value

Json = dict[str, Any]
MOST_PRESENT = 20


def utc_text(time: datetime | None) -> str | None:
    """Write an aware time as ISO 8601 in UTC: 2026-11-21T12:00:00.000Z."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def device_json(device: Device, attributes: Iterable[Attribute], now: datetime, site: Site) -> Json:
    """Show a device and its attributes. Reads the device's gateway.

    Its zone and place are the home's where it has none of its own.
    """
    latitude, longitude = site.position_of(device)
    decision = None
    if device.decided_at:
        decision = {"reason": device.decision, "decided_at": utc_text(device.decided_at)}
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
        "hardware": hardware_json(device),
        "place": {
            "name": site.place_of(device),
            "latitude": latitude,
            "longitude": longitude,
            "zone": str(site.clock_of(device)),
        },
        "enabled": device.enabled,
        "freshness": device.freshness(now).value,
        "heard_at": utc_text(device.heard_at),
        "measured_at": utc_text(device.measured_at),
        "rule": device.rule or None,
        "guard": device.guard or None,
        "hold": hold_json(device, now),
        "decision": decision,
        "attributes": [attribute_json(attribute, now) for attribute in attributes],
    }


def public_device_json(
    device: Device, attributes: Iterable[Attribute], now: datetime, site: Site
) -> Json:
    """Show a device without its latitude and longitude, and without where the home is."""
    place = {"name": device.place, "zone": str(site.clock_of(device))}
    shown = device_json(device, attributes, now, site)
    gateway = shown["gateway"] | {"name": device.gateway.public_name}
    return shown | {"place": place, "gateway": gateway}


def hardware_json(device: Device) -> Json | None:
    """Show of which hardware a device is a part; None if it is all of it. Devices of one gateway
    with the same hardware are one thing for people."""
    if not device.hardware:
        return None
    return {"id": device.hardware, "name": device.hardware_name}


def hold_json(device: Device, now: datetime) -> Json | None:
    """Show since when, until when and why a person holds a device; None if nobody does."""
    if not device.is_held(now):
        return None
    return {
        "reason": device.hold_reason,
        "held_at": utc_text(device.held_at),
        "held_until": utc_text(device.held_until),
    }


def attribute_json(attribute: Attribute, now: datetime) -> Json:
    """Show an attribute with its latest value. Reads the attribute's device and gateway."""
    return {
        "id": attribute.pk,
        "name": attribute.name,
        "kind": attribute.kind,
        "unit": attribute.unit,
        "minimum": attribute.minimum,
        "maximum": attribute.maximum,
        "step": attribute.step,
        "choices": list(attribute.choices),
        "writable": attribute.writable,
        "value": attribute.value,
        "available": attribute.available,
        "freshness": attribute.freshness(now).value,
        "observed_at": utc_text(attribute.observed_at),
        "heard_at": utc_text(attribute.heard_at),
    }


def rule_json(name: str) -> Json:
    """Show a rule and its options; of one that does not load, why."""
    from core import rules  # imports the planner, which a start-up should not pay for

    problem = rules.problem_of(name)
    if problem:
        return {"name": name, "is_guard": False, "problem": problem, "options": []}
    rule = rules.load(name)
    options = [_option_json(option) for option in fields(rule.options)]
    return {"name": name, "is_guard": rule.is_guard, "problem": "", "options": options}


def _option_json(option: Any) -> Json:
    kinds = {bool: "boolean", int: "number", float: "number"}
    kind = "device" if option.metadata.get("device") else kinds.get(option.type, "text")
    return {
        "name": option.name,
        "kind": kind,
        "default": option.default,
        "unit": option.metadata.get("unit", ""),
        "help": option.metadata.get("help", ""),
        "choices": list(option.metadata.get("choices", ())),
    }


def device_rule_json(device: Device, guard: bool) -> Json:
    """Show the rule of a device, or its guard, with all its options: stored ones and defaults.

    Of a rule that does not load or does not take the stored options any more, it says why.
    """
    from core import rules  # as above

    name, stored = (device.guard, device.guard_options) if guard else (device.rule, device.options)
    options, problem = dict(stored), ""
    if name:
        try:
            options = asdict(rules.load(name).read(stored))
        except (rules.UnknownRule, ValueError) as error:
            problem = str(error)
    return {
        "device": device.pk,
        "rule": name or None,
        "options": options,
        "problem": problem,
        "version": device.version,
    }


def command_json(command: DeviceCommand) -> Json:
    """Show a device command and how far it came. Reads the command's attribute."""
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
        "requested_at": utc_text(command.requested_at),
        "sent_at": utc_text(command.sent_at),
        "accepted_at": utc_text(command.accepted_at),
        "finished_at": utc_text(command.finished_at),
    }


def command_ledger_json(command: DeviceCommand) -> Json:
    """Show a device command with every step it took. Reads the command's attribute."""
    return command_json(command) | {
        "name": command.attribute.name,
        "expires_at": utc_text(command.expires_at),
        "reverts_at": utc_text(command.reverts_at),
        "steps": [
            {"at": utc_text(datetime.fromisoformat(at)), "state": state, "error": error}
            for at, state, error in command.steps
        ],
    }


def gateway_json(gateway: Gateway) -> Json:
    """Show a gateway read by with_hearing()."""
    return {
        "id": gateway.pk,
        "name": str(gateway),
        "vendor": gateway.vendor,
        "address": gateway.address,
        "enabled": gateway.enabled,
        "has_credential": bool(gateway.credential),
        "asked_at": utc_text(gateway.asked_at),
        "answered_at": utc_text(gateway.answered_at),
        "heard_at": utc_text(gateway.heard_at),
        "listening_since": utc_text(gateway.listening_since),
        "failures": gateway.failures,
        "error": gateway.error,
        "refused": gateway.refused,
        "retry_at": utc_text(gateway.retry_at),
    }


def public_gateway_json(gateway: Gateway) -> Json:
    """Show a gateway without its address and without whether it has a credential."""
    shown = _without(gateway_json(gateway), "address", "has_credential")
    return shown | {"name": gateway.public_name}


def run_json(run: Run) -> Json:
    return {
        "id": run.pk,
        "task": run.task,
        "outcome": run.outcome,
        "started_at": utc_text(run.started_at),
        "finished_at": utc_text(run.finished_at),
        "seconds": run.seconds,
        "counts": run.counts,
        "error": run.error,
    }


def public_run_json(run: Run) -> Json:
    """Show a run without its errors, which may quote anything."""
    return _without(run_json(run), "error")


def attribute_key_json(attribute: Attribute) -> Json:
    """Say of which attribute a row of a table is."""
    return {
        "attribute": attribute.pk,
        "device": attribute.device_id,
        "name": attribute.name,
        "unit": attribute.unit,
    }


def observation_json(
    attribute: Attribute, observed_at: datetime, number: float | None, text: str | None
) -> Json:
    """Show one value at one time. It may be of a kind that the attribute has no longer."""
    is_switch = attribute.kind == Kind.BOOLEAN
    return {
        **attribute_key_json(attribute),
        "observed_at": utc_text(observed_at),
        "value": text if number is None else bool(number) if is_switch else number,
    }


def span_json(attribute: Attribute, span: Span) -> Json:
    """Show what an attribute was in a span of time; null where nothing is known."""
    return {
        **attribute_key_json(attribute),
        "starts_at": utc_text(span.starts_at),
        "ends_at": utc_text(span.ends_at),
        "mean": span.mean,
        "minimum": span.minimum,
        "maximum": span.maximum,
        "coverage": span.coverage,
        "count": span.observation_count,
        "minutes_on": span.minutes_on if attribute.kind == Kind.BOOLEAN else None,
    }


def receipt_json(receipt: Receipt) -> Json:
    """Show a decision, without what it was made from: explain tells that."""
    return {
        "id": receipt.pk,
        "device": receipt.device_id,
        "decided_at": utc_text(receipt.decided_at),
        "repeated_at": utc_text(receipt.repeated_at),
        "times": receipt.times,
        "ended_at": utc_text(receipt.ended_at),
        "decided_by": receipt.voice,
        "rule": receipt.rule,
        "version": receipt.version,
        "attribute": receipt.attribute,
        "value": receipt.value,
        "until": utc_text(receipt.until),
        "sentence": receipt.sentence,
        "problem": receipt.problem,
        "plan": receipt.plan_id,
        "command": receipt.command_id,
    }


def series_json(series: Series) -> Json:
    """Show which signal it is, and whose. Reads its source."""
    return {
        "feed": series.source.feed,
        "region": series.source.region,
        "signal": series.signal,
        "unit": series.unit,
        "is_replayed": series.is_replayed,
    }


def forecast_json(forecast: Forecast) -> Json:
    """Show one issue of a forecast. Reads its series and the source of that."""
    return {
        "id": forecast.pk,
        **series_json(forecast.series),
        "issued_at": utc_text(forecast.issued_at),
        "known_at": utc_text(forecast.known_at),
        "ends_at": utc_text(forecast.ends_at),
        "slots": [
            {"starts_at": _utc_text_of(start), "ends_at": _utc_text_of(end), "value": value}
            for start, end, value in forecast.slots
        ],
    }


def measurement_json(measurement: Measurement) -> Json:
    """Show what was measured, and since when it is known: a revision is another one."""
    return {
        "id": measurement.pk,
        **series_json(measurement.series),
        "starts_at": utc_text(measurement.starts_at),
        "ends_at": utc_text(measurement.ends_at),
        "value": measurement.value,
        "known_at": utc_text(measurement.known_at),
    }


def readings_json(
    heard_at: datetime, values: Mapping[int, tuple[Value, datetime]], none: Sequence[int]
) -> Json:
    """Show what one device reported at one poll. It is kept short, because it is sent often.

    `values` are by attribute, each with its `observed_at`; `none` are attributes that have no value
    now. Times are seconds since 1970: `at` is `heard_at`. A value observed at that time stands
    alone, another one as [value, observed_at].
    """
    shown = {
        pk: value if observed_at == heard_at else [value, _seconds(observed_at)]
        for pk, (value, observed_at) in values.items()
    }
    body: Json = {"at": _seconds(heard_at), "values": shown}
    if none:
        body["none"] = list(none)
    return body


def _seconds(time: datetime) -> float:
    return round(time.timestamp(), 3)


def plan_json(plan: Plan) -> Json:
    """Show a job of a device and when it is to run; after its deadline, what it has cost.

    Costs are in `unit`, times of the job in minutes.
    """
    return {
        "id": plan.pk,
        "device": plan.device_id,
        "rule": plan.rule,
        "signal": plan.signal,
        "is_replayed": plan.is_replayed,
        "opens_at": utc_text(plan.opens_at),
        "deadline": utc_text(plan.deadline),
        "windows": [
            [_utc_text_of(starts_at), _utc_text_of(ends_at)] for starts_at, ends_at in plan.windows
        ],
        "made_at": utc_text(plan.made_at),
        "changed_at": utc_text(plan.changed_at),
        "changes": plan.changes,
        "delivered_minutes": plan.delivered,
        "unit": plan.unit,
        "predicted": plan.predicted,
        "predicted_at_once": plan.predicted_at_once,
        "settled_at": utc_text(plan.settled_at),
        "actual": plan.actual,
        "at_once": plan.at_once,
        "ideal": plan.ideal,
        "note": plan.note,
    }


def _utc_text_of(seconds: float) -> str | None:
    return utc_text(datetime.fromtimestamp(seconds, UTC))


def presence_json(device_pk: int, people: Iterable[Presence]) -> Json:
    """Show who is at the device's page: how many, how many of them are about to change it, and the
    first of them by name, those who change it before those who look.

    A person with a log-in counts once, in however many windows.
    """
    named: dict[str, bool] = {}
    nameless = []
    for person in people:
        if person.name:
            named[person.name] = named.get(person.name, False) or person.is_changing
        else:
            nameless.append({"name": "somebody", "changing": person.is_changing})
    changing_first = sorted(named.items(), key=lambda item: (not item[1], item[0]))
    present = [{"name": name, "changing": changing} for name, changing in changing_first]
    present += nameless
    return {
        "device": device_pk,
        "count": len(present),
        "changing": sum(bool(person["changing"]) for person in present),
        "present": present[:MOST_PRESENT],
    }


def anonymous_device_json(body: Json) -> Json:
    """Leave out what readers without a log-in do not see: IDs, and why a person holds it."""
    shown = _without(body, "vendor_id")
    hardware = body.get("hardware")  # not in events of before there was such a thing
    shown["hardware"] = _without(hardware, "id") if hardware else None
    shown["hold"] = anonymous_hold_json(body["hold"])
    if body["decision"]:
        reason = public_sentence(body["decision"]["reason"])
        shown["decision"] = body["decision"] | {"reason": reason}
    return shown


def anonymous_hold_json(hold: Json | None) -> Json | None:
    """Leave out why a person holds a device, which says who it is."""
    return _without(hold, "reason") if hold else None


def anonymous_rule_json(body: Json) -> Json:
    """Leave out why a rule does not load, which names its file."""
    return _without(body, "problem")


def anonymous_gateway_json(body: Json) -> Json:
    """Leave out the error, which may quote an answer or an address."""
    return _without(body, "error")


def anonymous_command_json(body: Json) -> Json:
    """Leave out who ordered it, what for, and errors, which may quote an answer."""
    shown = _without(body, "user", "reason", "error")
    if "steps" in shown:
        shown["steps"] = [_without(step, "error") for step in shown["steps"]]
    return shown


def anonymous_receipt_json(body: Json) -> Json:
    """Leave out the reason a person gave for a hold, and what an error quotes."""
    return body | {"sentence": public_sentence(body["sentence"])}


def anonymous_series_json(body: Json) -> Json:
    """Leave out the region, which may tell where the home is."""
    return _without(body, "region")


def anonymous_presence_json(body: Json) -> Json:
    """Leave the names out of what presence_json() returned, for readers without a log-in."""
    return _without(body, "present")


def _without(body: Json, *private: str) -> Json:
    return {name: value for name, value in body.items() if name not in private}
