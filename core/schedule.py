"""When tasks run: every so many minutes, or by a line of a crontab; and times of day by the clock
of a place. Pure: it reads no clock and no settings.

A slot is a time at which a task is to run. Beat, the count of missed runs, the pages and what is
called late all ask here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FURTHEST_DAYS = 8 * 366
"""Between two of the 29th of February may lie eight years."""
LEAST_MINUTES, MOST_MINUTES = 0.05, 1440
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class Schedule(Protocol):
    """When a task runs. All times are aware, and those returned in UTC."""

    def previous(self, now: datetime) -> datetime:
        """Return the newest slot up to `now`."""

    def next(self, now: datetime) -> datetime:
        """Return the first slot after `now`."""

    def gap(self, now: datetime) -> timedelta:
        """Return how far the slots around `now` lie apart."""

    def late_after(self, now: datetime) -> timedelta:
        """Return for how long nothing was done if two runs were missed."""

    @property
    def usual_gap(self) -> timedelta:
        """How far slots lie apart while there are any: pauses such as a night do not count."""


@dataclass(frozen=True)
class Every:
    """At each multiple of a time span since 1970. A scheduler of its own may keep another beat."""

    span: timedelta

    def previous(self, now: datetime) -> datetime:
        return now - (now - EPOCH) % self.span

    def next(self, now: datetime) -> datetime:
        return self.previous(now) + self.span

    def gap(self, now: datetime) -> timedelta:
        return self.span

    def late_after(self, now: datetime) -> timedelta:
        # Two runs and some room for one that begins late.
        return 2.5 * self.span

    @property
    def usual_gap(self) -> timedelta:
        return self.span


@dataclass(frozen=True)
class Crontab:
    """The five fields of a crontab line, by the clock of `zone`.

    A time of day that the clock skips in spring is an hour later, one that it shows twice in autumn
    counts once. Where the hour is `*`, slots go on through both.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    every_hour: bool
    zone: ZoneInfo
    written: str = field(default="", compare=False)

    def previous(self, now: datetime) -> datetime:
        return _around(self, _minute(now))[2]

    def next(self, now: datetime) -> datetime:
        return _around(self, _minute(now))[3]

    def gap(self, now: datetime) -> timedelta:
        return self.next(now) - self.previous(now)

    def late_after(self, now: datetime) -> timedelta:
        return now - _around(self, _minute(now))[0]

    @property
    def usual_gap(self) -> timedelta:
        first = self.next(EPOCH)
        second, third = islice(slots(self, first, datetime.max.replace(tzinfo=UTC)), 2)
        # One of the two may be a pause, such as a night, and the other is not.
        return min(second - first, third - second)

    def is_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        is_day, is_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        # As cron has it: where both fields are restricted, either is enough.
        return is_day or is_weekday if self.either_day else is_day and is_weekday

    def slots_of(self, day: date) -> list[datetime]:
        """Return the slots of a day of the zone, in order."""
        if not self.is_on(day):
            return []
        found = set()
        for hour in self.hours:
            for minute in self.minutes:
                # In autumn an hour is shown twice; fold tells the two apart.
                for fold in (0, 1) if self.every_hour else (0,):
                    local = datetime.combine(day, time(hour, minute, fold=fold), self.zone)
                    slot = local.astimezone(UTC)
                    # A time that the clock leaves out in spring does not come back the same.
                    is_skipped = slot.astimezone(self.zone).replace(fold=0) != local.replace(fold=0)
                    if not (self.every_hour and is_skipped):
                        found.add(slot)
        return sorted(found)


def slots(schedule: Schedule, since: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the slots after `since` up to `until`, in order."""
    slot = schedule.next(since)
    while slot <= until:
        yield slot
        slot = schedule.next(slot)


def read_schedules(text: str, every: Mapping[str, timedelta], zone: str) -> dict[str, Schedule]:
    """Read "poll_devices=*/5 6-22 * * *; do_something_awesome=10": crontab lines, or minutes.

    `every` has all tasks, with the time span of those that are not named. Raises ValueError with a
    sentence.
    """
    read: dict[str, Schedule] = {task: Every(span) for task, span in every.items()}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        task, equals, line = (piece.strip() for piece in part.partition("="))
        if not equals or task not in every:
            raise ValueError(f"{part!r} does not begin with {' or '.join(f'{t}=' for t in every)}")
        read[task] = read_schedule(line, zone)
    return read


def read_schedule(line: str, zone: str) -> Schedule:
    """Read five fields, or a number of minutes. Raises ValueError with a sentence."""
    fields = line.lower().split()
    if len(fields) == 1:
        return Every(timedelta(minutes=_number_of_minutes(line)))
    if len(fields) != 5:
        raise ValueError(f"{line!r} is neither a number of minutes nor five fields of a crontab")
    weekdays = _field(fields[4], 0, 7, WEEKDAYS)
    crontab = Crontab(
        _field(fields[0], 0, 59),
        _field(fields[1], 0, 23),
        _field(fields[2], 1, 31),
        _field(fields[3], 1, 12, MONTHS),
        # 0 and 7 are both Sunday.
        frozenset(day % 7 for day in weekdays),
        # As in cron, */2 counts as not restricted, too.
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
        every_hour=fields[1].startswith("*"),
        zone=ZoneInfo(zone),
        written=" ".join(fields),
    )
    # There is no 30th of February: no next slot would be found.
    if not any(crontab.is_on(date(2000, 1, 1) + number * DAY) for number in range(FURTHEST_DAYS)):
        raise ValueError(f"{line!r} names no day that there is")
    return crontab


def crontab_fields(schedule: Schedule) -> str:
    """Return the five fields of a crontab with which cron runs a task as often, or oftener."""
    if isinstance(schedule, Crontab):
        return schedule.written
    minutes = int(schedule.usual_gap / timedelta(minutes=1))
    if minutes >= 60:
        # Only divisors of a day: */5 would leave 4 hours at its end.
        hours = max(count for count in range(1, 25) if 24 % count == 0 and count <= minutes // 60)
        return {1: "0 * * * *", 24: "0 0 * * *"}.get(hours, f"0 */{hours} * * *")
    step = max(count for count in range(1, 60) if 60 % count == 0 and count <= max(1, minutes))
    return "* * * * *" if step == 1 else f"*/{step} * * * *"


def _number_of_minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:  # NaN is out of every range
        raise ValueError(f"{text!r} is no number of minutes, {LEAST_MINUTES} to {MOST_MINUTES}")
    return minutes


def _field(text: str, least: int, most: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if slash and not (step.isdecimal() and int(step)):
            raise ValueError(f"{part!r} has no step after the /")
        if span == "*":
            begin, end = least, most
        else:
            begin = _value(first, least, names)
            # 5/15 is from 5 on to the end, in steps of 15.
            end = _value(last, least, names) if dash else most if slash else begin
        if not least <= begin <= end <= most:
            raise ValueError(f"{part!r} is not between {least} and {most}")
        found.update(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _value(text: str, least: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + least
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is no value of a field of a crontab")
    return int(text)


def _minute(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(second=0, microsecond=0)


@lru_cache(maxsize=256)
def _around(crontab: Crontab, now: datetime) -> tuple[datetime, datetime, datetime, datetime]:
    """Return the three newest slots up to this minute and the first one after it."""
    today = now.astimezone(crontab.zone).date()
    before: list[datetime] = []
    after: list[datetime] = []
    day = today + DAY  # the slots of a day that is changed may lie in the next
    while len(before) < 3:
        before = [slot for slot in crontab.slots_of(day) if slot <= now] + before
        day -= DAY
    day = today - DAY
    while not after:
        after = [slot for slot in crontab.slots_of(day) if slot > now]
        day += DAY
    third, second, newest = before[-3:]
    return third, second, newest, after[0]


@lru_cache
def time_of_day(written: str) -> timedelta:
    """ "07:30" as the time since midnight. Raises ValueError with a sentence."""
    if found := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", written, re.ASCII):
        return timedelta(hours=int(found[1]), minutes=int(found[2]))
    raise ValueError(f"{written!r} is no time of day. Example: 07:30")


# Asked again for each device, and each moment of a backtest.
@lru_cache(maxsize=1024)
def first_moment(day: date, of_day: timedelta, zone: tzinfo) -> datetime:
    """When the clock of a zone first shows this time of this day, or a later one. Aware, UTC.

    So a time that comes twice is the first of the two, and one that is left out is the moment when
    the clock jumps over it.
    """
    shown = datetime.combine(day, time()) + of_day
    before, after = (shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    if before >= after:
        return after
    # The time is left out: the clock jumps over it at one of these whole minutes.
    for minute in range(int((after - before) / timedelta(minutes=1))):
        at = before + timedelta(minutes=minute)
        if at.astimezone(zone).replace(tzinfo=None) >= shown:
            return at
    return after
