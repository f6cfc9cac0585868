"""What a backtest did, as a drawing that stands alone: the last week of it, readable on light and on dark ground."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from xml.sax.saxutils import escape

from core import charts
from core.feeds import Signal, Slot
from core.planning import Window, score
from core.tasks.backtesting.backtest import Result
from core.tasks.backtesting.past import Past

LONGEST = timedelta(days=7)
WIDTH, HEIGHT = 1000, 380
LEFT, RIGHT, TOP, BOTTOM = 60, 980, 70, 320
STRIP = 14
"""The height of the bars below the lines."""

STYLE = """
svg { --ground: #ffffff; --ink: #1c2530; --faint: #d5dbe1; --forecast: #0a66c2; --on: #2e8b57; --held: #b5441f }
@media (prefers-color-scheme: dark) {
  svg { --ground: #14191f; --ink: #e6eaee; --faint: #37414c; --forecast: #6cb4ff; --on: #4fc383; --held: #ff8a5c }
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


def svg(result: Result, pasts: Mapping[Signal, Past]) -> str:
    """Of the first signal: forecast and actual, and when the device ran or was held off. Strict XML, with its own style."""
    past = next(iter(pasts.values()))
    frame = _Frame(result, past)
    rule, zone = result.terms.rule.name, result.terms.zone
    title = f"{rule.replace('_', ' ')}, {frame.since.astimezone(zone):%-d %B %Y} to {frame.last_day:%-d %B %Y}"
    body = [
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="26">{escape(title)}</text>',
        *frame.legend(),
        *frame.grid(),
        *frame.bars("on", result.on),
        *frame.bars("held", result.held),
        f'<path class="forecast" d="{frame.line(past.forecasted)}"/>',
        f'<path class="actual" d="{frame.line(past.measured)}"/>',
    ]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>', *body, "</svg>", ""]
    )


class _Frame:
    def __init__(self, result: Result, past: Past) -> None:
        self.result, self.zone = result, result.terms.zone
        self.until = result.terms.until
        self.since = max(result.terms.since, self.until - LONGEST)
        self.last_day = (self.until - timedelta(minutes=1)).astimezone(self.zone)
        shown = [slot for slot in (*past.measured, *past.forecasted) if self._holds(slot)]
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
        """Steps; broken where nothing is known."""
        path: list[str] = []
        end: datetime | None = None
        for slot in filter(self._holds, slots):
            move = "V" if slot.starts_at == end else f"M{self.x(slot.starts_at)} "
            path.append(f"{move}{self.y(slot.value)}H{self.x(slot.ends_at)}")
            end = slot.ends_at
        return "".join(path)

    def bars(self, name: str, windows: Sequence[Window]) -> Iterator[str]:
        for window in score.within(windows, self.since, self.until):
            place = f'class="{name}" x="{self.x(window.starts_at)}"'
            width = max(self.x(window.ends_at) - self.x(window.starts_at), 1.0)
            yield f'<rect {place} y="{BOTTOM}" width="{width:.1f}" height="{STRIP}"/>'
            yield f'<g class="shade"><rect {place} y="{TOP}" width="{width:.1f}" height="{BOTTOM - TOP}"/></g>'

    def grid(self) -> Iterator[str]:
        for level in self.levels:
            yield f'<path class="grid" d="M{LEFT} {self.y(level)}H{RIGHT}"/>'
            yield f'<text class="end" x="{LEFT - 8}" y="{self.y(level) + 4}">{level:g}</text>'
        for midnight in self._midnights():
            yield f'<path class="grid" d="M{self.x(midnight)} {TOP}V{BOTTOM + STRIP}"/>'
            yield f'<text x="{self.x(midnight) + 4}" y="{BOTTOM + STRIP + 18}">{midnight:%a} {midnight.day} {midnight:%b}</text>'

    def legend(self) -> Iterator[str]:
        yield f'<text x="{LEFT}" y="50">{escape(self.unit)}</text>'
        shown = [("forecast", "forecast"), ("actual", "measured"), ("on", "the device was on")]
        shown += [("held", "held off by the guard")] if self.result.held else []
        for place, (name, words) in enumerate(shown):
            x = LEFT + 110 + 160 * place
            mark = f'<rect class="{name}" x="{x}" y="40" width="26" height="11"/>'
            if name in ("forecast", "actual"):
                mark = f'<path class="{name}" d="M{x} 46H{x + 26}"/>'
            yield f'{mark}<text x="{x + 34}" y="50">{words}</text>'

    def _midnights(self) -> Iterator[datetime]:
        day = self.since.astimezone(self.zone).date()
        while (midnight := datetime.combine(day, time(), self.zone)) < self.until:
            if midnight >= self.since:
                yield midnight
            day += timedelta(days=1)

    def _holds(self, slot: Slot) -> bool:
        return slot.starts_at < self.until and slot.ends_at > self.since
