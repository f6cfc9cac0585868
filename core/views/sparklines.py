"""Sparklines: the last day of an attribute."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core import charts, formatting
from core.models import Attribute, Observation
from core.models.freshness import late_after

DAY = timedelta(days=1)
SPARK_POINTS = 48


@dataclass(frozen=True)
class Spark:
    """The last day of an attribute as an SVG path, and the same in words.

    The page's script extends it, for which it needs `attribute` and the range.
    """

    path: str
    words: str
    attribute: Attribute | None = None
    low: float = 0.0
    high: float = 0.0

    @property
    def label(self) -> str:
        return formatting.label(self.attribute) if self.attribute else ""


def sparks_of(attributes: Sequence[Attribute], now: datetime) -> dict[int, Spark]:
    """Return sparklines by attribute, from one bounded query."""
    times = [now - DAY + DAY * place / (SPARK_POINTS - 1) for place in range(SPARK_POINTS)]
    samples = Observation.objects.all().sample([attribute.pk for attribute in attributes], times)
    return {
        attribute.pk: _spark(attribute, times, samples[attribute.pk]) for attribute in attributes
    }


def _spark(
    attribute: Attribute, times: Sequence[datetime], values: Sequence[float | None]
) -> Spark:
    until = attribute.heard_at + late_after() if attribute.heard_at else times[0]
    kept = [value if time <= until else None for time, value in zip(times, values, strict=True)]
    known = [value for value in kept if value is not None]
    if not known:
        return Spark("", f"{formatting.label(attribute)}: no data in the last day")
    extent = " to ".join(
        dict.fromkeys(
            formatting.value_text(_as_told(attribute, value), attribute.unit)
            for value in (min(known), max(known))
        )
    )
    said = f"{formatting.label(attribute)}, last day: {extent}"
    return Spark(charts.sparkline(kept), said, attribute, min(known), max(known))


def _as_told(attribute: Attribute, number: float) -> float | bool:
    return bool(number) if attribute.kind == "boolean" else number
