"""Draw the last week of a backtest as an SVG file, readable on light and on dark ground."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from xml.sax.saxutils import escape

from core import charts
from core.feeds import Signal, Slot
from core.planning import Window, score
from core.tasks.backtesting.backtest import BacktestResult
from core.tasks.backtesting.past import SignalHistory

LONGEST = timedelta(days=7)
WIDTH, HEIGHT = 1000, 380
LEFT, RIGHT, TOP, BOTTOM = 60, 980, 70, 320
STRIP = 14
"""The height of the bars below the lines."""

STYLE = """
svg { --ground: #ffffff; --ink: #1c2530; --faint: #d5dbe1 }
svg { --forecast: #0a66c2; --on: #2e8b57; --held: #b5441f }
@media (prefers-color-scheme: dark) {
  svg { --ground: #14191f; --ink: #e6eaee; --faint: #37414c }
  svg { --forecast: #6cb4ff; --on: #4fc383; --held: #ff8a5c }
}
.ground { fill: var(--ground) }
text { fill: var(--ink); font: 13px system-ui, sans-serif }
.title { font-size: 16px; font-weight: 600 }
.end { text-anchor: end }
.grid { stroke: var(--faint); stroke-width: 1 }
.actual, .forecast { fill: none; stroke: var(--ink); stroke-width: 1.6 }
.forecast { stroke: var(--forecast); stroke-dasharray: 5 3 }
.on { fill: var(--on) }
.held { fill: var(--held) }
.shade { opacity: 0.16 }
"""


def draw_svg(result: BacktestResult, histories: Mapping[Signal, SignalHistory]) -> str:
    """Return a drawing of the first signal, as strict XML with its own style.

    It shows forecast and measurements, and when the device ran or was held off. Raises ValueError
    where there is no signal.
    """
    if not histories:
        raise ValueError("--svg: it looks at no price and no forecast that could be drawn.")
    history = next(iter(histories.values()))
    frame = _Frame(result, history)
    rule, zone = result.settings.rule.name, result.settings.zone
    first_day = frame.since.astimezone(zone)
    title = f"{rule.replace('_', ' ')}, {first_day:%-d %B %Y} to {frame.last_day:%-d %B %Y}, {zone}"
    body = [
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="26">{escape(title)}</text>',
        *frame.legend(),
        *frame.grid(),
        *frame.bars("on", result.on),
        *frame.bars("held", result.held),
        f'<path class="forecast" d="{frame.line(history.forecasted)}"/>',
        f'<path class="actual" d="{frame.line(history.measured)}"/>',
    ]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>', *body, "</svg>", ""]
    )


class _Frame:
    def __init__(self, result: BacktestResult, history: SignalHistory) -> None:
        self.result, self.zone = result, result.settings.zone
        self.until = result.settings.until
        self.since = max(result.settings.since, self.until - LONGEST)
        self.last_day = (self.until - timedelta(minutes=1)).astimezone(self.zone)
        shown = [slot for slot in (*history.measured, *history.forecasted) if self._holds(slot)]
        self.unit = shown[0].unit if shown else ""
        values = [slot.value for slot in shown] or [0.0]
        self.levels = charts.round_levels(min(0.0, *values), max(*values, 0.0) or 1.0)

    def x(self, at: datetime) -> float:
        share = (at - self.since) / (self.until - self.since)
        return round(LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0), 1)

    def y(self, value: float) -> float:
        low, high = self.levels[0], self.levels[-1]
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    def line(self, slots: Iterable[Slot]) -> str:
        """Return a path of steps, broken where slots are missing."""
        path: list[str] = []
        end: datetime | None = None
        for slot in filter(self._holds, slots):
            move = "V" if slot.starts_at == end else f"M{self.x(slot.starts_at)} "
            path.append(f"{move}{self.y(slot.value)}H{self.x(slot.ends_at)}")
            end = slot.ends_at
        return "".join(path)

    def bars(self, name: str, windows: Sequence[Window]) -> Iterator[str]:
        for window in score.within(windows, self.since, self.until):
            # At least a pixel wide, so that a short run is seen.
            width = max(self.x(window.ends_at) - self.x(window.starts_at), 1.0)
            bar = f'<rect class="{name}" x="{self.x(window.starts_at)}" y="%s" width="{width:.1f}"'
            yield f'{bar % BOTTOM} height="{STRIP}"/>'
            yield f'<g class="shade">{bar % TOP} height="{BOTTOM - TOP}"/></g>'

    def grid(self) -> Iterator[str]:
        for level in self.levels:
            yield f'<path class="grid" d="M{LEFT} {self.y(level)}H{RIGHT}"/>'
            yield f'<text class="end" x="{LEFT - 8}" y="{self.y(level) + 4}">{level:g}</text>'
        for midnight in self._midnights():
            x, label = self.x(midnight), f"{midnight:%a} {midnight.day} {midnight:%b}"
            yield f'<path class="grid" d="M{x} {TOP}V{BOTTOM + STRIP}"/>'
            yield f'<text x="{x + 4}" y="{BOTTOM + STRIP + 18}">{label}</text>'

    def legend(self) -> Iterator[str]:
        yield f'<text x="{LEFT}" y="50">{escape(self.unit)}</text>'
        shown = [("forecast", "forecast"), ("actual", "measured"), ("on", "the device was on")]
        shown += [("held", "held off by the guard")] if self.result.held else []
        for place, (name, label) in enumerate(shown):
            x = LEFT + 110 + 160 * place
            mark = f'<rect class="{name}" x="{x}" y="40" width="26" height="11"/>'
            if name in ("forecast", "actual"):
                mark = f'<path class="{name}" d="M{x} 46H{x + 26}"/>'
            yield f'{mark}<text x="{x + 34}" y="50">{label}</text>'

    def _midnights(self) -> Iterator[datetime]:
        day = self.since.astimezone(self.zone).date()
        while (midnight := datetime.combine(day, time(), self.zone)) < self.until:
            if midnight >= self.since:
                yield midnight
            day += timedelta(days=1)

    def _holds(self, slot: Slot) -> bool:
        return slot.starts_at < self.until and slot.ends_at > self.since
