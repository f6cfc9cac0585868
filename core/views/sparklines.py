"""A day of one attribute as a small drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core import charts, formatting
from core.models import Attribute, Observation
from core.models.device import late_after

DAY = timedelta(days=1)
SPARK_POINTS = 48


@dataclass(frozen=True)
class Spark:
    """A day of one attribute as a small drawing, and the same in words. With its `attribute` and the range that is drawn it
    is extended in the browser."""

    path: str
    words: str
    attribute: Attribute | None = None
    low: float = 0.0
    high: float = 0.0

    @property
    def label(self) -> str:
        return formatting.label(self.attribute) if self.attribute else ""


def sparks_of(attributes: Sequence[Attribute], now: datetime) -> dict[int, Spark]:
    """The last day of each attribute, from one bounded query."""
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
    told = " to ".join(
        dict.fromkeys(
            formatting.value_text(_as_told(attribute, value), attribute.unit)
            for value in (min(known), max(known))
        )
    )
    said = f"{formatting.label(attribute)}, last day: {told}"
    return Spark(charts.sparkline(kept), said, attribute, min(known), max(known))


def _as_told(attribute: Attribute, number: float) -> float | bool:
    return bool(number) if attribute.kind == "boolean" else number
