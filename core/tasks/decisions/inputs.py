"""Write what a decision was made from to its receipt, and read it back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta, tzinfo
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints
from zoneinfo import ZoneInfo

from core import feeds, rules
from core.models import Attribute
from core.planning import WindowPlan
from core.planning.precedence import Limits
from core.readings import Value
from core.rules import Other, Rule, Situation
from core.rules._past import Past, Stretch
from core.tasks.decisions import plans
from core.tasks.decisions.situations import DeviceState, Round, outlooks_as_of
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region

Json = dict[str, Any]


class Codec(NamedTuple):
    """How a type looks in a receipt's JSON. None is null, whatever the type."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _as_it_is(value: Any) -> Any:
    return value


def _limits_json(limits: Limits) -> list[float]:
    """Least seconds on, least seconds off, most switches an hour."""
    on, off = limits.min_on.total_seconds(), limits.min_off.total_seconds()
    return [on, off, limits.most_switches_an_hour]


def _read_limits(stored: Sequence[float]) -> Limits:
    on, off, most = stored
    return Limits(timedelta(seconds=on), timedelta(seconds=off), int(most))


def _time_json(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


CODECS: dict[Any, Codec] = {
    bool: Codec(_as_it_is, _as_it_is),
    int: Codec(_as_it_is, _as_it_is),
    float: Codec(_as_it_is, _as_it_is),
    str: Codec(_as_it_is, _as_it_is),
    Mapping[str, Value]: Codec(dict, dict),
    datetime: Codec(_time_json, datetime.fromisoformat),
    tzinfo: Codec(str, ZoneInfo),
    WindowPlan: Codec(plans.pack, plans.unpack),
    Limits: Codec(_limits_json, _read_limits),
}

# Stored in other ways: `now` and `device` are columns of the receipt, `values` and those of
# `others` carry their times, `past` is there where a rule looks back, `outlooks` are looked up
# again by region, `options` are those of the rule that was asked.
STORED_APART = {"now", "device", "values", "others", "past", "outlooks", "options"}


def _codecs() -> dict[str, Codec]:
    """By field of a situation. Raises KeyError at import for a field whose type has no codec."""
    types = get_type_hints(Situation)
    names = [field.name for field in fields(Situation) if field.name not in STORED_APART]
    return {name: CODECS[_without_none(types[name])] for name in names}


def _without_none(annotated: Any) -> Any:
    """X of `X | None`; any other type as it is."""
    kinds = get_args(annotated)
    if NoneType not in kinds:
        return annotated
    [kind] = [kind for kind in kinds if kind is not NoneType]
    return kind


FIELDS = _codecs()


def facts_json(situation: Situation) -> Json:
    """All fields but those stored apart, as JSON. The two `held_off_...` fields become one pair."""
    stored = {
        name: None if value is None else codec.encode(value)
        for name, codec in FIELDS.items()
        for value in [getattr(situation, name)]
    }
    stored["held_off"] = [stored.pop("held_off_since"), stored.pop("held_off_until")]
    return stored


def read_facts(stored: Json) -> Json:
    """Arguments for a Situation. What an old receipt does not have is left to its default."""
    since, until = stored.get("held_off", (None, None))
    stored = {**stored, "held_off_since": since, "held_off_until": until}
    return {
        name: None if stored[name] is None else codec.decode(stored[name])
        for name, codec in FIELDS.items()
        if name in stored
    }


def _values_json(rows: Mapping[str, Attribute]) -> Json:
    """Each value with the time it was measured at."""
    return {
        name: [row.value, _time_json(row.observed_at) if row.observed_at else None]
        for name, row in rows.items()
    }


def _read_values(stored: Json) -> dict[str, Value]:
    return {name: value for name, (value, _) in stored.items() if value is not None}


def _past_json(past: Mapping[str, Past], now: datetime) -> Json:
    """By attribute: how many seconds were looked back, and the stretches. Each is from when to
    when, in seconds before the decision, and its value, or its lowest and its highest."""
    return {
        name: {
            "seconds": one.looked_back.total_seconds(),
            "stretches": [_stretch_json(stretch, now) for stretch in one.stretches],
        }
        for name, one in past.items()
    }


def _stretch_json(stretch: Stretch, now: datetime) -> list[Any]:
    times = [(now - at).total_seconds() for at in (stretch.starts_at, stretch.ends_at)]
    # Only the oldest stretch can have two values: there, many are read as one.
    if stretch.lowest == stretch.highest:
        return [*times, stretch.lowest]
    return [*times, stretch.lowest, stretch.highest]


def read_past(stored: Json, now: datetime) -> dict[str, Past]:
    return {
        name: Past(
            timedelta(seconds=one["seconds"]),
            tuple(_read_stretch(stretch, now) for stretch in one["stretches"]),
        )
        for name, one in stored.items()
    }


def _read_stretch(stored: Sequence[Any], now: datetime) -> Stretch:
    first, last, *values = stored
    # A single value is both, the lowest and the highest.
    starts_at, ends_at = now - timedelta(seconds=first), now - timedelta(seconds=last)
    return Stretch(starts_at, ends_at, values[0], values[-1])


def inputs_of(state: DeviceState, this_round: Round, asked: Mapping[str, tuple[str, Any]]) -> Json:
    """Write down all that a decision was made from, for its receipt.

    `asked` has a key "rule", a key "guard", or both, as the device has them. Each value is the name
    of the rule and its options as they are stored.
    """
    others = {
        # The situation has bare values; the times at which they were measured are with the rows.
        str(pk): _other_json(state.situation.others[pk], rows, this_round.at)
        for pk, rows in state.looked_at.items()
    }
    past = _past_json(state.situation.past, this_round.at)
    regions = this_round.used.get(state.device.pk, {})
    return {
        "values": _values_json(state.fresh),
        **({"others": others} if others else {}),
        **({"past": past} if past else {}),
        **facts_json(state.situation),
        "asked": {
            part: {"rule": name, "options": options} for part, (name, options) in asked.items()
        },
        "regions": {str(signal): list(region) for signal, region in regions.items()},
    }


def _other_json(other: Other, rows: Mapping[str, Attribute], now: datetime) -> Json:
    stored: Json = {"name": other.name, "values": _values_json(rows)}
    if other.past:
        stored["past"] = _past_json(other.past, now)
    return stored


def _read_other(stored: Json, now: datetime) -> Other:
    past = read_past(stored.get("past", {}), now)
    return Other(stored["name"], _read_values(stored["values"]), past)


def read_inputs(inputs: Json, device: str, at: datetime, part: str) -> tuple[Rule, Situation]:
    """Read back a rule that was asked and its situation, with the forecasts known at that time.

    `part` is "rule" or "guard".
    Raises LookupError if the rule is gone, ValueError if it no longer takes those options.
    """
    asked = inputs["asked"][part]
    rule = rules.load(asked["rule"])
    options = rule.read(asked["options"])
    # Only regions are stored. The forecasts themselves are kept with the time they were fetched at.
    stored = {feeds.signal(signal): Region(*region) for signal, region in inputs["regions"].items()}
    # The stored ones are of the rule and the guard together: each gets its own only.
    regions = {signal: stored[signal] for signal in rule.signals(options) if signal in stored}
    return rule, Situation(
        now=at,
        device=device,
        values=_read_values(inputs["values"]),
        others={int(pk): _read_other(other, at) for pk, other in inputs.get("others", {}).items()},
        past=read_past(inputs.get("past", {}), at),
        outlooks=outlooks_as_of(AsOf(at), regions),
        options=options,
        **read_facts(inputs),
    )
