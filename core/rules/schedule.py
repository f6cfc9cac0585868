"""On in the windows of a week, by the clock at the device."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from core.planning import Window
from core.rules import Decision, Situation, option
from core.schedule import first_moment, time_of_day

SIGNALS = ()
REACT = True
"""What a power cut changed is put right as soon as the device tells of it."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY = timedelta(days=1)
AHEAD = 8
"""Days: a week, and the rest of one that has begun."""
FURTHER = 3 * AHEAD
"""Days, where the only window of a week falls into an hour that the clock leaves out."""

Span = tuple[timedelta, timedelta]
"""From a time of the day to another one, of the next day if it ends after 24 h."""


@dataclass(frozen=True)
class Options:
    on: str = option(
        "mon-fri 07:00-09:00, 17:30-22:00; sat sun 08:00-23:00",
        "Days and their windows, by the clock at the device; "
        "22:00-06:00 belongs to the day it starts on",
    )

    def __post_init__(self) -> None:
        try:
            week(self.on)
        except ValueError as error:
            raise ValueError(f"on: {error}") from None


def decide(situation: Situation) -> Decision:
    runs = list(_runs(situation, AHEAD)) or list(_runs(situation, FURTHER))
    if not runs:
        return Decision(False, f"the schedule says off: no window in the next {FURTHER} days")
    current = runs[0]
    if current.starts_at > situation.now:
        reason = f"the schedule says off until {situation.clock(current.starts_at)}"
        return Decision(False, reason, until=current.starts_at)
    if current.ends_at - situation.now > (AHEAD - 1) * DAY:
        return Decision(True, "the schedule says on at all times")
    return Decision(
        True,
        f"the schedule says on until {situation.clock(current.ends_at)}",
        until=current.ends_at,
    )


def _runs(situation: Situation, days: int) -> Iterator[Window]:
    """Those that are not over, in order of time, joined where they touch."""
    run: Window | None = None
    for window in sorted(_windows(situation, days), key=lambda window: window.starts_at):
        if run and window.starts_at <= run.ends_at:
            run = Window(run.starts_at, max(run.ends_at, window.ends_at))
            continue
        if run and run.ends_at > situation.now:
            yield run
        run = window
    if run and run.ends_at > situation.now:
        yield run


def _windows(situation: Situation, ahead: int) -> Iterator[Window]:
    """From those of yesterday on, so many days. One that the clock jumps over is none."""
    today, zone = situation.now.astimezone(situation.zone).date(), situation.zone
    spans = week(situation.options.on)
    for day in (today + days * DAY for days in range(-1, ahead + 1)):
        for start, end in spans[day.weekday()]:
            window = Window(first_moment(day, start, zone), _end(day, end, situation))
            if window.starts_at < window.ends_at:
                yield window


def _end(day: date, end: timedelta, situation: Situation) -> datetime:
    return (
        first_moment(day + DAY, end - DAY, situation.zone)
        if end >= DAY
        else first_moment(day, end, situation.zone)
    )


# The text


@lru_cache
def week(text: str) -> tuple[tuple[Span, ...], ...]:
    """The windows of each weekday, Monday first. Raises ValueError with a sentence.

    Parts stand apart by ";". Each holds days (none: every day), then windows, such as
    "mon-fri 07:00-09:00, 17:30-22:00".
    """
    spans: list[list[Span]] = [[] for _ in WEEKDAYS]
    for part in filter(None, (part.strip() for part in text.split(";"))):
        ends = re.split("[-–]", part.lower())
        words = "-".join(end.strip() for end in ends).replace(",", " ").split()
        count = next((place for place, word in enumerate(words) if word[0].isdigit()), len(words))
        days = {day for word in words[:count] for day in _days(word)} or set(range(7))
        if count == len(words):
            raise ValueError(f"{part!r} has no window. Example: mon-fri 07:00-09:00")
        for day in days:
            spans[day] += [_span(word) for word in words[count:]]
    if not any(spans):
        raise ValueError("there is no window. Example: mon-fri 07:00-09:00")
    return tuple(map(tuple, spans))


def _days(word: str) -> list[int]:
    """ "sat", or "fri-mon": to the second one, over the end of the week if need be."""
    first, _, last = word.partition("-")
    start, end = _day(first), _day(last or first)
    return [(start + step) % 7 for step in range((end - start) % 7 + 1)]


def _day(word: str) -> int:
    found = next(
        (place for place, name in enumerate(WEEKDAYS) if len(word) >= 3 and name.startswith(word)),
        None,
    )
    if found is None:
        raise ValueError(f"{word!r} is no day. Days: mon, tue, wed, thu, fri, sat, sun")
    return found


def _span(word: str) -> Span:
    start, dash, end = word.partition("-")
    if not dash:
        raise ValueError(f"{word!r} is no window. Example: 07:00-09:00")
    first, last = time_of_day(start), DAY if end == "24:00" else time_of_day(end)
    if first == last:
        raise ValueError(f"{word!r} ends when it starts. All day is 00:00-24:00")
    return first, last if last > first else last + DAY
