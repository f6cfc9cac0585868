"""What happens in a round of 40 hours, and what is told of it: eighteen rounds are a month.

A round begins sixteen hours later in the day than the one before, so that the same things happen
by day and by night. Times are hours and minutes since its beginning, by a true clock.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

ROUND = timedelta(hours=40)
TICK = timedelta(minutes=10)
ZONE = ZoneInfo("Europe/Berlin")
BEGINNINGS = {
    # Clocks are put forward, or back, 13 hours after it.
    "spring": datetime(2026, 3, 28, 12, tzinfo=UTC),
    "autumn": datetime(2026, 10, 24, 12, tzinfo=UTC),
}
QUIET = (time(22), time(7))

KITCHEN, ROOM, CHARGER, HEATER = "Kitchen appliances", "Living room", "Car charger", "Heater"
MAINS, PUMP, HUB = "Mains", "Pump", "Hub"
ATTIC, CELLAR, LOFT, PORCH = "Attic", "Cellar", "Loft", "Porch"
PLUGS = (HEATER, CHARGER, KITCHEN, ROOM, MAINS, PUMP)
SENSORS = (ATTIC, CELLAR, LOFT, PORCH)

POLL, DECIDE, ALERTS = "poll_devices", "do_something_awesome", "send_alerts"
COMMANDS = ((0, POLL), (2, DECIDE), (6, ALERTS))
"""Minutes after each tick, as the lines of a crontab have it."""


def at(text: str) -> timedelta:
    hours, minutes = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))


class Happening(NamedTuple):
    """What is so from `since` up to, not including, `until`. `of`: a gateway, sensor or command."""

    since: str
    until: str
    what: str
    of: str = ""

    def holds(self, offset: timedelta) -> bool:
        return at(self.since) <= offset < at(self.until)

    def begins(self, offset: timedelta) -> bool:
        return at(self.since) == offset


HAPPENINGS = (
    Happening("0:30", "3:30", "away", KITCHEN),
    Happening("0:40", "0:50", "away", ROOM),
    Happening("1:00", "1:20", "away", CHARGER),
    # The mains' meter keeps what it measures, but for the hour in which it has no power.
    Happening("1:30", "4:30", "away", MAINS),
    Happening("3:00", "4:00", "without power", MAINS),
    Happening("1:00", "30:00", "dead", CELLAR),
    Happening("2:00", "3:00", "unavailable", ATTIC),
    *(Happening("3:30", "5:00", "unavailable", sensor) for sensor in (ATTIC, LOFT, PORCH)),
    Happening("5:30", "5:40", "switched off", HEATER),
    Happening("6:00", "7:00", "lying", HEATER),
    Happening("6:00", "6:10", "pressed", HEATER),
    Happening("6:30", "7:00", "away", PUMP),
    Happening("6:30", "6:40", "pressed, not sent", PUMP),
    Happening("7:00", "7:10", "pressed", HEATER),
    Happening("7:30", "9:30", "feed away"),
    *(Happening("10:00", "12:00", "not run", command) for _, command in COMMANDS),
    Happening("12:30", "14:00", "not run", POLL),
    Happening("14:30", "16:30", "not run", DECIDE),
    Happening("17:00", "17:30", "away", KITCHEN),
    Happening("17:20", "17:25", "receiver away"),
    Happening("18:00", "18:10", "killed", POLL),
    Happening("18:30", "19:30", "disk nearly full"),
    Happening("19:30", "20:30", "disk full"),
    Happening("20:30", "21:00", "disk nearly full"),
    *(Happening("22:00", "24:00", "away", one) for one in (*PLUGS, HUB)),
    Happening("24:30", "27:00", "away", HUB),
    *(Happening("33:00", "34:30", "away", one) for one in (*PLUGS, HUB)),
    Happening("33:00", "34:30", "feed away"),
    Happening("36:00", "36:30", "clock ahead"),
    Happening("37:30", "38:00", "clock behind"),
)
WRONG_BY = {"clock ahead": timedelta(hours=3), "clock behind": timedelta(hours=-2)}


class Told(NamedTuple):
    """An alert, from when to when. `waits`: its message could not be sent at once.

    Without an end it is told of afterwards, in one message.
    """

    title: str
    opens: str
    ends: str = ""
    is_urgent: bool = False
    waits: str = "0:00"
    by_clock: str = ""
    """What is wrong with the clock when it opens."""


TOLD = (
    # It rests longer after each failure, so that its end is seen at the sixth time it is asked.
    Told(f"{KITCHEN} does not answer", "0:50", "5:00"),
    Told(f"{MAINS} does not answer", "1:50", "6:00"),
    Told(f"{ATTIC} is not reached by its gateway", "2:20", "3:00"),
    Told(f"3 devices behind {HUB} are silent", "3:50", "5:00"),
    Told(f"{HEATER}: an order for on is unconfirmed", "6:10", "7:06"),
    Told(f"{PUMP} does not answer", "6:50", "7:20"),
    # The silent gateway explained it before; a day after it was given it is told of no more.
    Told(f"{PUMP}: an order for on is expired", "7:20", "30:36"),
    Told("The feed local:13 fails", "7:52", "9:32"),
    Told("Nothing was polled for 2 h 10 min", "12:00"),
    Told("Polls are late", "12:52", "14:00", is_urgent=True),
    Told("Decisions are late", "15:06", "16:32", is_urgent=True),
    Told(f"{KITCHEN} does not answer", "17:20", "17:50", waits="0:06"),
    Told("The home network is away", "22:20", "24:00"),
    Told(f"{HUB} does not answer", "24:50", "29:00"),
    # It is dead for a day at 24:50, when its gateway is the one that is silent.
    Told(f"{CELLAR} has told nothing new for long", "29:00", "30:00"),
    Told("Nothing answers: is the network of this machine away?", "33:20", "35:00"),
    Told("Nothing was polled for 3 h 10 min", "36:00", by_clock="clock ahead"),
    Told("Nothing was polled for 40 min", "36:30"),
    # By a clock that is behind, its forecasts are of the future.
    Told("The feed local:13 fails", "37:52", "38:02", by_clock="clock behind"),
    Told("Nothing was polled for 40 min", "38:00"),
)
NEARLY_FULL = Told("The disk is nearly full", "18:30", "21:00", is_urgent=True)
DISK = (at("18:30"), at("21:00"))
LONGEST_PAUSE = timedelta(minutes=35)
"""Of polls; what is longer is told of."""


class Look(NamedTuple):
    """When alerts were looked for and sent: by a true clock, and by that of the machine."""

    true: datetime
    machine: datetime


class Timed(NamedTuple):
    """What is told, by a true clock. `ended_at` None: not yet."""

    told: Told
    opened_at: datetime
    ended_at: datetime | None

    @property
    def by_machine(self) -> datetime:
        return self.opened_at + WRONG_BY.get(self.told.by_clock, timedelta())


class Alert(NamedTuple):
    """What is to be in the ledger, by the machine's clock."""

    title: str
    opened_at: datetime
    ended_at: datetime | None


class Message(NamedTuple):
    at: datetime
    title: str


def timed(begins_at: datetime, now: datetime) -> Iterator[Timed]:
    """Yield what is told until now of all but the disk."""
    for start in starts(begins_at, now):
        for told in TOLD:
            yield from _until(now, told, start)


def timed_of_disks(
    begins_at: datetime, now: datetime, polled: Sequence[datetime]
) -> Iterator[Timed]:
    """Yield what is told of a disk that was full. `polled` are the polls that came to their end: on
    a full disk some may, where rows that were deleted have left room."""
    for start in starts(begins_at, now):
        yield from _until(now, NEARLY_FULL, start)
        near = [at for at in polled if start + DISK[0] <= at < start + DISK[1]]
        for before, after in pairwise(near):
            if after - before > LONGEST_PAUSE:
                minutes = (after - before) // timedelta(minutes=1)
                yield Timed(Told(f"Nothing was polled for {minutes} min", ""), after, None)


def starts(begins_at: datetime, now: datetime) -> Iterator[datetime]:
    """Yield when rounds began."""
    while begins_at < now:
        yield begins_at
        begins_at += ROUND


def alerts(times: Iterable[Timed]) -> Iterator[Alert]:
    for one in times:
        is_pause = not one.told.ends
        yield Alert(one.told.title, one.by_machine, one.by_machine if is_pause else one.ended_at)


def messages(times: Iterable[Timed], looks: Sequence[Look]) -> Iterator[Message]:
    """Yield what is to be sent and when, by the rules of docs/alerts.md."""
    for one in times:
        due_at = _due(one.by_machine, one.told.is_urgent)
        waits = at(one.told.waits) if due_at == one.by_machine else timedelta()
        sent = _first(looks, one.opened_at + waits, due_at)
        if one.ended_at is not None and one.ended_at < due_at:
            continue  # over by the morning: nobody is told
        if sent and (one.ended_at is None or sent.true < one.ended_at):
            yield Message(sent.machine, one.told.title)
        if one.ended_at is not None:
            over = _first(looks, one.ended_at, _due(one.ended_at, one.told.is_urgent))
            if over:
                yield Message(over.machine, f"Over: {one.told.title}")


def _first(looks: Sequence[Look], since: datetime, due_at: datetime) -> Look | None:
    """Return the first look since a true time that was not before it was due."""
    return next((one for one in looks if one.true >= since and one.machine >= due_at), None)


def _until(now: datetime, told: Told, start: datetime) -> Iterator[Timed]:
    opened_at = start + at(told.opens)
    ended_at = start + at(told.ends) if told.ends else None
    if opened_at < now:
        yield Timed(told, opened_at, ended_at if ended_at and ended_at < now else None)


def _due(when: datetime, is_urgent: bool) -> datetime:
    """Return when a message of that time is sent: after the quiet hours, by the home's clock."""
    begin, end = QUIET
    local = when.astimezone(ZONE)
    if is_urgent or end <= local.time() < begin:
        return when
    day = local.date() + timedelta(days=local.time() >= begin)
    return datetime.combine(day, end, ZONE).astimezone(UTC)
