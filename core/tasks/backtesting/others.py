"""What other devices told, for a rule that looks at them: by what is stored of that time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from core.models import Attribute, Device, Freshness
from core.models.attribute import moves_daily
from core.models.freshness import freshness
from core.readings import Value
from core.rules import Other, Rule
from core.rules._past import Past
from core.tasks.decisions.recent_past import Line, Wanted, lines

DAY = timedelta(days=1)
MOST_A_DAY = 100_000
"""Values of one attribute that are in memory at once: more than one a second."""


class OtherDevices:
    """The devices that a rule's options name. Asked at times that do not go back.

    Raises LookupError with a sentence if one is not there, or nothing is stored of it in the range.
    """

    def __init__(
        self, rule: Rule, written: Mapping[str, object], since: datetime, until: datetime
    ) -> None:
        self._lasts = rule.looks_back(written)
        self._remembered = rule.remembered(written)
        self._devices: dict[int, Device] = {}
        self._attributes: dict[int, list[Attribute]] = {}
        self._lines: dict[int, Line] = {}
        """By attribute: those of one day, and of what is looked back before it."""
        self._until: datetime | None = None
        for pk, names in rule.named(written).items():
            device = Device.objects.present().filter(pk=pk).first()
            if device is None:
                raise LookupError(f"There is no device {pk}, which the rule looks at.")
            rows = device.attributes.filter(name__in=names) if names else device.attributes.all()
            self._devices[pk], self._attributes[pk] = device, list(rows)
            _check(device, self._attributes[pk], names, since, until)

    @property
    def names(self) -> list[str]:
        return [str(device) for device in self._devices.values()]

    def at(self, now: datetime) -> dict[int, Other]:
        """Return what was known of them."""
        if self._until is None or now > self._until:
            # A day at a time: however long the backtest is, no more is in memory.
            self._load(now + DAY)
        return {pk: self._other(pk, now) for pk in self._devices}

    def _load(self, until: datetime) -> None:
        attributes = [row for rows in self._attributes.values() for row in rows]
        wanted = [Wanted(row, self._lasts + DAY) for row in attributes]
        found = lines(wanted, until, MOST_A_DAY)
        self._lines = {row.pk: line for row, line in zip(attributes, found, strict=True)}
        self._until = until

    def _other(self, pk: int, now: datetime) -> Other:
        values: dict[str, Value] = {}
        past: dict[str, Past] = {}
        remembered = self._remembered.get(pk, frozenset())
        for row in self._attributes[pk]:
            line = self._lines[row.pk]
            told = line.latest(now)
            if told is None or not _is_fresh(row, line, told.at, now):
                continue
            # The newest value is never joined with others, so the lowest is the same.
            values[row.name] = told.highest
            if self._lasts and (not remembered or row.name in remembered):
                past[row.name] = line.past(self._lasts, now)
        return Other(str(self._devices[pk]), values, past)


def others_named(
    rule: Rule, written: Mapping[str, object], since: datetime, until: datetime
) -> OtherDevices | None:
    """Return the devices that options name, None if they name none. Raises LookupError."""
    return OtherDevices(rule, written, since, until) if rule.named(written) else None


def _check(
    device: Device,
    attributes: Iterable[Attribute],
    names: Iterable[str],
    since: datetime,
    until: datetime,
) -> None:
    missing = sorted(set(names) - {row.name for row in attributes})
    if missing:
        raise LookupError(f"{device} has no attribute {', '.join(missing)}.")
    for row in attributes if names else ():
        if not row.observations.filter(observed_at__lt=until).exists():
            raise LookupError(
                f"Of {row.name} of {device} nothing is stored before {until:%Y-%m-%d}, "
                "so that nobody knows what the rule would have done. Take later days."
            )


def _is_fresh(row: Attribute, line: Line, told_at: datetime, now: datetime) -> bool:
    """As Attribute.freshness() had it then, by what is stored: who failed then is not."""
    heard_at = line.silent_since(now) or min(row.heard_at or told_at, now)
    measured_at = told_at if moves_daily(row.name, row.writable) else None
    return freshness(heard_at, measured_at, True, 0, now) is Freshness.FRESH


def with_load(
    metered: Callable[[float], float], others: Mapping[int, Other], since: datetime
) -> dict[int, Other]:
    """Return what they would have told if the device had run since then."""
    return {
        pk: Other(
            one.name,
            {name: _loaded(value, metered) for name, value in one.values.items()},
            {name: _past_loaded(past, metered, since) for name, past in one.past.items()},
        )
        for pk, one in others.items()
    }


def _past_loaded(past: Past, metered: Callable[[float], float], since: datetime) -> Past:
    stretches = [
        replace(
            stretch,
            lowest=_loaded(stretch.lowest, metered),
            highest=_loaded(stretch.highest, metered),
        )
        if stretch.ends_at > since
        else stretch
        for stretch in past.stretches
    ]
    return replace(past, stretches=tuple(stretches))


def _loaded(value: Value, metered: Callable[[float], float]) -> Value:
    return value if isinstance(value, bool | str) else metered(value)
