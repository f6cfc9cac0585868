"""Try a model on the past: at each time with what was known then, next to two simple forecasts.

Walking forward, each frame is cut by when its values were known here, not by what they are of.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from core import feeds, formatting
from core.feeds import Frame, Model
from core.net.errors import ApiError
from core.planning import accuracy
from core.planning.accuracy import KnownForecast, LeadScore
from core.planning.forecast import outlook
from core.planning.score import WarningScore
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.frames import frame_for, measured_of, source_of
from core.tasks.forecasts.regions import Region
from core.tasks.score_feeds import event_threshold, event_words, score_events
from core.tasks.scorecard import warned_json, warned_words

Progress = Callable[[int, int], None]
MODEL, PERSISTENCE, TYPICAL = "model", "persistence", "typical day"


@dataclass(frozen=True)
class Trial:
    """Errors by lead time, of the model and of what it has to beat. `made`: so many forecasts.

    Of a signal that tells of events, `warned` are the scores of each as a warning of values from
    `threshold` on.
    """

    region: Region
    unit: str
    made: int
    scores: dict[str, list[LeadScore]]
    threshold: float | None = None
    warned: dict[str, WarningScore] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "model": str(self.region),
            "unit": self.unit,
            "forecasts": self.made,
            "scores": {name: [lead.as_json() for lead in leads] for name, leads in self._used()},
            **self._events(),
        }

    def _events(self) -> dict[str, Any]:
        if self.threshold is None:
            return {}
        scores = {name: warned_json(score) for name, score in self.warned.items()}
        return {"events": {"threshold": self.threshold, "scores": scores}}

    def in_words(self) -> str:
        rows = [("ahead", *(f"{part}, {name}" for name in self.scores for part in ("MAE", "bias")))]
        for leads in zip(*self.scores.values(), strict=True):
            if leads[0].count:
                cells = (
                    text for lead in leads for text in (_text(lead.mae), _text(lead.bias, "+"))
                )
                rows.append((leads[0].hours, *cells))
        lines = [f"    {line}" for line in formatting.table(rows)]
        for name, score in self.warned.items():
            event = event_words(self.threshold, self.unit)
            lines.append(f"    {event}, {name}: {warned_words(score)}")
        return "\n".join([f"{self.region}, {self.unit}: {self.made:,} forecasts", *lines])

    def _used(self) -> Iterator[tuple[str, list[LeadScore]]]:
        for name, leads in self.scores.items():
            yield name, [lead for lead in leads if lead.count]


def do_some_science(
    region: Region,
    since: datetime,
    until: datetime,
    now: datetime,
    every: timedelta = timedelta(hours=1),
    progress: Progress | None = None,
) -> Trial:
    """Let a model forecast at each `every` from `since` up to `until`, and score it.

    Raises LookupError or ValueError with a sentence: no such model, nothing known, wrong times;
    ApiRefused where it is not clear from what it learns; and whatever the model raises.
    """
    model = feeds.load(region.feed)
    if not issubclass(model, Model):
        raise LookupError(f"{region.feed} is a feed and no model: score_feeds shows how it did.")
    if until <= since:
        raise ValueError("--to is not after --from: swap them.")
    made: dict[str, list[KnownForecast]] = {MODEL: [], PERSISTENCE: [], TYPICAL: []}
    count, unit = (until - since) // every, ""
    for place in range(count):
        at = since + place * every
        if progress:
            progress(place, count)
        try:
            frame = frame_for(region, model, at)
        except ApiError:  # nothing was known then
            continue
        unit = frame.unit
        predicted = model(frame=frame).predict(frame, at)
        slots = [replace(slot, issued_at=at) for slot in predicted]
        made[MODEL].append(KnownForecast(at, slots))
        made[PERSISTENCE].append(KnownForecast(at, _persistence(frame, slots)))
        typical = outlook(frame.signal, at, frame.until, (), frame.measured, model.every)
        made[TYPICAL].append(KnownForecast(at, typical.slots))
    if not made[MODEL]:
        days = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
        raise LookupError(f"From {days} nothing was known yet of {source_of(region)}.")
    source, signal = source_of(region), model.signals[0]
    measured = measured_of(source, signal, AsOf(now), since, until + model.ahead, model.every)
    scores = {name: accuracy.by_lead(known, measured) for name, known in made.items()}
    threshold, warned = event_threshold(signal) if measured else None, {}
    if threshold is not None:
        # Of an event after the last forecast nobody could warn.
        during = [slot for slot in measured if slot.starts_at < until]
        for name, known in made.items():
            if score := score_events(known, during, threshold, every, min(until, now)):
                warned[name] = score
    return Trial(region, unit, len(made[MODEL]), scores, threshold, warned)


def _persistence(frame: Frame, slots: Sequence[feeds.Slot]) -> list[feeds.Slot]:
    """It stays as it was last measured."""
    return [replace(slot, value=frame.measured[-1].value) for slot in slots]


def _text(number: float | None, sign: str = "") -> str:
    return "–" if number is None else f"{number:{sign}.3g}"
