"""Geometry of charts: pure functions from values in time to SVG paths, ticks and readouts.

Every line is a step: a value holds until the next. Where there is no data the line breaks.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from core.planning.timeline import Piece

WIDTH = 1000
HEIGHT = 1000
COLUMNS = 240
"""Readouts side by side in one chart."""
WIDEST_ZONE = timedelta(hours=14)
HOUR = timedelta(hours=1)
TICK_STEPS = tuple(HOUR * hours for hours in (1, 2, 4, 6, 12, 24, 48, 120, 240, 1440))


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled grid line. `place` is in percent of the width, or of the height from the top."""

    place: float
    label: str
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """The readout at a place of the chart: last, least and greatest value. None: a gap."""

    place: float
    width: float
    at: datetime
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time across the chart, in percent of its width."""

    place: float
    width: float

    @property
    def middle(self) -> float:
        return round(self.place + self.width / 2, 3)


@dataclass(frozen=True, slots=True)
class Around:
    """The least and the greatest value of each piece: as many as there are pieces."""

    lows: Sequence[Piece]
    highs: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Chart:
    """`band` lies between the least and the greatest values, where these are told."""

    line: str
    area: str
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    columns: list[Column]
    band: str = ""


def sparkline(values: Sequence[float | None]) -> str:
    """Return an SVG path of evenly spaced samples in a box of 100 by 100; "" without values."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    across = 100 / max(1, len(values) - 1)
    path: list[str] = []
    previous: float | None = None
    for place, value in enumerate(values):
        if value is not None:
            # A margin of 5 above and below, so that a thick line is not cut off.
            y = 50.0 if high == low else 95 - 90 * (value - low) / (high - low)
            x = _short(place * across)
            # h0 has no length: round ends make a dot of a sample without neighbours.
            path.append(f"H{x}V{_short(y)}" if previous is not None else f"M{x} {_short(y)}h0")
        # A missing sample is kept too: the one after it begins a new line.
        previous = value
    return "".join(path)


def draw(
    pieces: Sequence[Piece],
    start: datetime,
    end: datetime,
    words: tuple[str, str] | None = None,
    beside: Sequence[Piece] = (),
    around: Around | None = None,
) -> Chart:
    """Return the whole chart.

    `words` are the labels of 0 and 1, for a switch. `beside` shares the scale. With `around` the
    pieces are means.
    """
    lows, highs = (around.lows, around.highs) if around else (pieces, pieces)
    scale = round_levels(*_range([*pieces, *lows, *highs, *beside]))
    levels = (
        [(0.0, words[0]), (1.0, words[1])] if words else [(level, _plain(level)) for level in scale]
    )
    # At the very edge half of a line is cut off: a switch gets room on both sides.
    low, high = (-0.15, 1.15) if words else (levels[0][0], levels[-1][0])

    def x(time: datetime) -> float:
        return (time - start) / (end - start)

    def y(value: float) -> float:
        return 1 - (value - low) / (high - low)

    # An area reaches down to zero, or to the bottom if the scale begins above zero.
    runs = list(_runs(pieces))
    return Chart(
        line="".join(_line(run, x, y) for run in runs),
        # Where there is a band, it says more than an area below the line.
        area="" if around else "".join(_area(run, x, y, y(max(low, 0.0))) for run in runs),
        y_ticks=[Tick(round(100 * y(level), 2), label) for level, label in levels],
        x_ticks=time_ticks(start, end),
        columns=list(_columns(pieces, lows, highs, start, end)),
        band=_band(lows, highs, x, y) if around else "",
    )


def place(time: datetime, start: datetime, end: datetime) -> float:
    """Where a time is, in percent of the width."""
    return round(100 * ((time - start) / (end - start)), 3)


def bands(
    stretches: Iterable[tuple[datetime, datetime]], start: datetime, end: datetime
) -> list[Band]:
    """What of these stretches of time is to be seen between `start` and `end`."""
    seen = [(max(begin, start), min(until, end)) for begin, until in stretches]
    wide = end - start
    return [
        Band(place(begin, start, end), round(100 * ((until - begin) / wide), 3))
        for begin, until in seen
        if begin < until
    ]


def _range(pieces: Sequence[Piece]) -> tuple[float, float]:
    """Return least and greatest to show: from zero if that costs at most half the height."""
    low = min((piece.value for piece in pieces), default=0.0)
    high = max((piece.value for piece in pieces), default=1.0)
    # A scale of no height would divide by zero.
    if high - low <= abs(high) * 1e-9:
        margin = abs(high) / 10 or 1.0
        return (low - margin, high + margin) if high else (0.0, 1.0)
    if 0 <= low <= high / 2:
        low = 0.0
    elif low / 2 <= high <= 0:
        high = 0.0
    return low, high


def round_levels(low: float, high: float, about: int = 4) -> list[float]:
    """Return levels at round steps (1, 2, 5 times a power of ten) that enclose low and high."""
    rough = (high - low) / about
    magnitude = 10.0 ** math.floor(math.log10(rough))
    # The slack makes up for rounding: a step that fits but for that is enough.
    step = next(nice * magnitude for nice in (1, 2, 5, 10) if nice * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Twelve digits, so that 3 * 0.1 is 0.3 and not 0.30000000000000004.
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def time_ticks(start: datetime, end: datetime, most: int = 7) -> list[Tick]:
    """Return ticks at round hours or midnights of UTC.

    Those just outside are included, not shown: the script moves all to the reader's zone.
    """
    span = end - start
    step = next((step for step in TICK_STEPS if span / step <= most), TICK_STEPS[-1])
    # Counted from a midnight for round hours, and early enough for any reader's zone.
    midnight = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    time = midnight - math.ceil((WIDEST_ZONE + HOUR) / step) * step
    ticks = []
    while time <= end + WIDEST_ZONE:
        label = f"{time:%H:%M}" if step < 24 * HOUR else f"{time.day} {time:%b}"
        if time >= start - WIDEST_ZONE:
            ticks.append(Tick(round(100 * ((time - start) / span), 3), label, start <= time <= end))
        time += step
    return ticks


def _runs(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces that touch, together."""
    run: list[Piece] = []
    for piece in pieces:
        if run and run[-1].end != piece.start:
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _line(run: Sequence[Piece], x: Callable[[datetime], float], y: Callable[[float], float]) -> str:
    path = [f"M{_short(WIDTH * x(run[0].start))} {_short(HEIGHT * y(run[0].value))}"]
    path.append(f"H{_short(WIDTH * x(run[0].end))}")
    path += [
        f"V{_short(HEIGHT * y(piece.value))}H{_short(WIDTH * x(piece.end))}" for piece in run[1:]
    ]
    return "".join(path)


def _area(
    run: Sequence[Piece], x: Callable[[datetime], float], y: Callable[[float], float], ground: float
) -> str:
    steps = "".join(
        f"V{_short(HEIGHT * y(piece.value))}H{_short(WIDTH * x(piece.end))}" for piece in run
    )
    base = _short(HEIGHT * ground)
    return f"M{_short(WIDTH * x(run[0].start))} {base}{steps}V{base}Z"


def _band(
    lows: Sequence[Piece],
    highs: Sequence[Piece],
    x: Callable[[datetime], float],
    y: Callable[[float], float],
) -> str:
    """Go along the greatest values, and back along the least."""
    path = []
    for low, high in zip(_runs(lows), _runs(highs), strict=True):
        path.append(_line(high, x, y))
        for piece in reversed(low):
            path.append(f"V{_short(HEIGHT * y(piece.value))}H{_short(WIDTH * x(piece.start))}")
        path.append("Z")
    return "".join(path)


def _columns(
    pieces: Sequence[Piece],
    lows: Sequence[Piece],
    highs: Sequence[Piece],
    start: datetime,
    end: datetime,
) -> Iterator[Column]:
    edges = [start + (end - start) * place / COLUMNS for place in range(COLUMNS + 1)]
    first = 0
    for place, (left, right) in enumerate(pairwise(edges)):
        while first < len(pieces) and pieces[first].end < left:
            # Columns only go right, so what ended before this one never comes back.
            first += 1
        past = first
        while past < len(pieces) and pieces[past].start < right:
            past += 1
        yield Column(
            place=round(100 * place / COLUMNS, 3),
            width=round(100 / COLUMNS, 3),
            at=left,
            value=pieces[past - 1].value if first < past else None,
            low=min((piece.value for piece in lows[first:past]), default=None),
            high=max((piece.value for piece in highs[first:past]), default=None),
        )


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _plain(number: float) -> str:
    return f"{number:,.12g}" if abs(number) < 1e9 else f"{number:g}"
