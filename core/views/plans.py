"""The plan of a device with forecast and measurements: a chart, and the same as a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from core import charts, feeds, formatting, rules
from core.charts import Band, Chart, Column
from core.feeds import Signal, Slot
from core.models import Attribute, Device, Observation, Plan, Site
from core.models.attribute import main_switch
from core.planning import Window, timeline
from core.planning.forecast import Outlook
from core.planning.timeline import Piece
from core.tasks.decisions import plans
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region, region_for

BACK = timedelta(hours=12)
AHEAD = timedelta(hours=24)
LEAST_BACK = timedelta(hours=1)
TABLE_ROWS = 200
NARROWEST_LABEL = 4
"""In percent: a window narrower than this has no word in it, only in the legend."""
NEAREST_DEADLINE = 30
"""In percent: of a deadline nearer to now, the word stands lower, as it would touch "now"."""


@dataclass(frozen=True)
class PlanRow:
    """A line of the table: what was expected and measured from a time on.

    `issued` is what the feed said, where that was corrected.
    """

    at: datetime
    expected: float | None
    issued: float | None
    measured: float | None
    does: str


@dataclass(frozen=True)
class Readout:
    column: Column
    words: str


@dataclass(frozen=True)
class Planned:
    """All that the plan section shows. `expected`, `issued` and `measured` share a scale.

    `issued` is the forecast as the feed issued it, None where nothing was corrected. Places are in
    percent of the width; `at` is the index of the column that contains now.
    """

    plan: Plan | None
    windows: tuple[Window, ...]
    signal: str
    unit: str
    start: datetime
    end: datetime
    expected: Chart
    issued: Chart | None
    measured: Chart
    planned: list[Band]
    ran: list[Band]
    now: float
    deadline: float | None
    at: int
    readouts: list[Readout]
    table: list[PlanRow]
    kind: str
    issued_at: datetime | None
    source: str
    is_known: bool

    @property
    def job(self) -> str:
        """What is to be done: 3 h of running, 1 h 35 min of it done."""
        minutes = self.plan.job.get("minutes") if self.plan else None
        if self.plan is None or not isinstance(minutes, int | float):
            return ""
        done = formatting.span_text(self.plan.delivered) if self.plan.delivered else "nothing"
        return f"{formatting.span_text(minutes)} of running, {done} of it done so far"

    @property
    def deadline_is_near(self) -> bool:
        return self.deadline is not None and self.deadline - self.now < NEAREST_DEADLINE

    @property
    def labelled(self) -> list[Band]:
        """Windows with room for a word that the line of now does not cross."""
        return [
            band
            for band in self.planned
            if band.width >= NARROWEST_LABEL and abs(band.middle - self.now) > 2
        ]


@dataclass(frozen=True)
class _Lines:
    """What is drawn, in pieces."""

    expected: list[Piece]
    issued: list[Piece]
    measured: list[Piece]
    ran: list[Piece]
    windows: tuple[Window, ...]


def planned(
    device: Device, plan: Plan | None, attributes: Sequence[Attribute], now: datetime
) -> Planned | None:
    """Return the plan section; None where no forecast concerns the device.

    Raises LookupError or ValueError with a sentence for people where it cannot be shown.
    """
    if (looks := _looks(device, plan)) is None:
        return None
    signal, region = looks
    start = min(plan.opens_at, now - LEAST_BACK) if plan else now - BACK
    end = plan.deadline if plan else now + AHEAD
    known = AsOf(now)
    ahead = known.outlook(region, signal, end)
    before = AsOf(plan.made_at if plan else start).outlook(region, signal, now)
    measured = known.measurements(region, signal, start, now)
    lines = _Lines(
        expected=[*_pieces(before.slots, start, now), *_pieces(ahead.slots, now, end)],
        issued=[*_pieces(before.issued, start, now), *_pieces(ahead.issued, now, end)],
        measured=_pieces(measured, start, now),
        ran=_ran(main_switch(attributes), start, now),
        windows=plans.unpack_windows(plan.windows) if plan else (),
    )
    return _drawn(plan, ahead, lines, start, end, now)


def _looks(device: Device, plan: Plan | None) -> tuple[Signal, Region] | None:
    """Return the signal to draw and its region.

    The plan's, else the first that its rule or guard uses and a feed provides.
    """
    if plan:
        return feeds.signal(plan.signal), Region(*plan.region.partition(":")[::2])
    signals, site = list(_signals(device)), Site.home()
    for signal in signals:
        if region := region_for(device, signal, site):
            return signal, region
    if signals and not _names_devices(device):
        raise LookupError(f"No feed provides the {signals[0].meaning}: name one in FEEDS.")
    return None


def _names_devices(device: Device) -> bool:
    """Whether its rule looks at another device, and can do without a forecast."""
    return bool(device.rule and rules.load(device.rule).named(device.options))


def _signals(device: Device) -> Iterator[Signal]:
    for name, options in ((device.rule, device.options), (device.guard, device.guard_options)):
        if name:
            rule = rules.load(name)
            yield from rule.signals(rule.read(options))


def _pieces(slots: Sequence[Slot], start: datetime, end: datetime) -> list[Piece]:
    cut = ((max(slot.starts_at, start), min(slot.ends_at, end), slot.value) for slot in slots)
    return [Piece(begin, until, value) for begin, until, value in cut if begin < until]


def _ran(switch: Attribute | None, start: datetime, now: datetime) -> list[Piece]:
    """Return when it was on. Sampled, so that the cost does not depend on the history."""
    if switch is None or switch.heard_at is None or switch.heard_at <= start:
        return []
    until = min(now, switch.heard_at)
    times = [
        start + (until - start) * place / charts.COLUMNS for place in range(charts.COLUMNS + 1)
    ]
    values = Observation.objects.all().sample([switch.pk], times)[switch.pk]
    found: list[Piece] = []
    for piece in timeline.from_samples(times, values):
        if piece.value and found and found[-1].end == piece.start:
            found[-1] = Piece(found[-1].start, piece.end, piece.value)
        elif piece.value:
            found.append(piece)
    return found


def _drawn(
    plan: Plan | None, ahead: Outlook, lines: _Lines, start: datetime, end: datetime, now: datetime
) -> Planned:
    together = [*lines.expected, *lines.issued, *lines.measured]
    expected, issued, measured = (
        charts.draw(line, start, end, beside=together)
        for line in (lines.expected, lines.issued, lines.measured)
    )
    unit = ahead.slots[0].unit if ahead.slots else plan_unit(plan)
    columns = zip(expected.columns, issued.columns, measured.columns, strict=True)
    return Planned(
        plan=plan,
        windows=lines.windows,
        signal=ahead.signal.meaning,
        unit=unit,
        start=start,
        end=end,
        expected=expected,
        issued=issued if lines.issued else None,
        measured=measured,
        planned=charts.bands(((one.starts_at, one.ends_at) for one in lines.windows), start, end),
        ran=charts.bands(((one.start, one.end) for one in lines.ran), start, end),
        now=charts.place(now, start, end),
        deadline=charts.place(plan.deadline, start, end) if plan else None,
        at=int(charts.COLUMNS * ((now - start) / (end - start))),
        readouts=[Readout(three[0], _readout(three, lines)) for three in columns],
        table=_table(lines, now),
        kind=ahead.kind,
        issued_at=ahead.issued_at,
        source=ahead.origin(now),
        is_known=bool(lines.expected or lines.measured),
    )


def plan_unit(plan: Plan | None) -> str:
    return f"{plan.unit}/kWh" if plan else ""


def _readout(columns: tuple[Column, Column, Column], lines: _Lines) -> str:
    """Without the unit: it stands beside it."""
    values = [
        f"{name} {formatting.number_text(column.value)}"
        for name, column in zip(("forecast", "as issued", "measured"), columns, strict=True)
        if column.value is not None
    ]
    does = _does(lines, columns[0].at)
    return ", ".join([*(values or ["no data"]), *([does] if does else [])])


def _does(lines: _Lines, at: datetime) -> str:
    is_planned = any(one.starts_at <= at < one.ends_at for one in lines.windows)
    ran = any(one.start <= at < one.end for one in lines.ran)
    return " and ".join([*(["planned"] if is_planned else []), *(["was on"] if ran else [])])


def _table(lines: _Lines, now: datetime) -> list[PlanRow]:
    """A row for each slot, thinned out where there are many."""
    starts = sorted({piece.start for piece in (*lines.expected, *lines.measured)} - {now})
    every = max(1, ceil(len(starts) / TABLE_ROWS))
    rows = []
    for at in starts[::every]:
        expected, issued, measured = (
            _value(line, at) for line in (lines.expected, lines.issued, lines.measured)
        )
        rows.append(PlanRow(at, expected, issued, measured, _does(lines, at)))
    return rows


def _value(pieces: Sequence[Piece], at: datetime) -> float | None:
    return next((piece.value for piece in pieces if piece.start <= at < piece.end), None)
