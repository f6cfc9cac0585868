"""Compare what a month left behind with what was to be."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from core.models import Attribute, Run
from core.models.run import Outcome
from core.tasks import runs
from core.tasks.backfill import BACKFILL
from core.views.history import SPANS, history
from tests.soak.month import script
from tests.soak.month.life import Account, Life
from tests.soak.month.script import DECIDE, HUB, MAINS, PLUGS, POLL, SENSORS, TICK

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SILENT_AFTER = 2.5 * TICK
"""So long a time between two answers is a gap; two polls that are missed are one."""
EDGE = timedelta(minutes=5)
WRONG_CLOCKS = (script.at("35:20"), script.at("39:40"))
"""What was stored by a wrong clock may show here."""
WHAT_TO_DO = "Make room on the disk that holds it."
SETTLED = 7
"""Days after which as much is deleted as is stored: hours last, a day after KEEP_HOURLY_DAYS."""
USUAL = 5
"""Days, or three rounds, after which everything comes again at the same time of day."""
MOST_GROWTH, FEW = 1.1, 3
"""From then on: of the database in MB, and of each table in rows, with a few more of small ones."""


class Gap(NamedTuple):
    start: datetime
    end: datetime

    def holds(self, start: datetime, end: datetime) -> bool:
        return self.start + EDGE <= start and end <= self.end - EDGE

    def touches(self, start: datetime, end: datetime) -> bool:
        return start < self.end + EDGE and end > self.start - EDGE


@dataclass
class Month:
    """What was seen; `faults` must be empty."""

    season: str
    has_disk: bool
    days: float = 0
    alerts: int = 0
    messages: int = 0
    polls: int = 0
    refused: int = 0
    """Commands that a full disk refused."""
    missed: int = 0
    columns: int = 0
    empty: int = 0
    """Places of charts that were looked at, and those in which nothing may be drawn."""
    backfilled: int = 0
    megabytes: list[float] = field(default_factory=list)
    """Of the database, day by day. The file of SQLite never shrinks: it is the most there was."""
    rows: dict[str, list[int]] = field(default_factory=dict)
    """Of each table, day by day."""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        disk = "with a full disk" if self.has_disk else "without a small disk"
        return (
            f"{self.days:.1f} days from {self.season} on, {disk}: "
            f"{self.polls:,} polls, {self.missed} missed, "
            f"{self.refused} commands that a full disk refused; {self.alerts} alerts, "
            f"{self.messages} messages; {self.columns:,} places of charts, {self.empty:,} of them "
            f"in gaps; {self.backfilled:,} values of the past; "
            f"{', '.join(f'{size:.1f}' for size in self.megabytes)} MB day by day"
        )

    def look(self, life: Life, now: datetime) -> None:
        """Look at a day that is over, before the next begins."""
        self.megabytes.append(_megabytes())
        for table, count in _rows().items():
            self.rows.setdefault(table, []).append(count)
        filled = Run.objects.of(BACKFILL).filter(started_at__gt=now - DAY)
        self.backfilled += sum(run.counts.get("stored", 0) for run in filled)
        self._count_missed(life, now)
        for gateway in (*PLUGS, HUB):
            self._look_at_charts(life, gateway, now)

    def judge(self, life: Life, now: datetime) -> None:
        """Compare all that was told until now with what was to be."""
        account, begins_at = life.account, life.begins_at
        self.days = (now - begins_at) / DAY
        self.alerts, self.messages = len(account.alerts), len(account.messages)
        self.polls = account.done[POLL]
        self.refused = len(account.refused)
        times = list(script.timed(begins_at, now))
        if self.has_disk:
            times += script.timed_of_disks(begins_at, now, account.polled)
        self._compare("alert", script.alerts(times), account.alerts.values())
        self._compare("message", script.messages(times, account.looks), account.messages)
        twice = [one for one, count in account.delivered.items() if count > 1]
        self.faults += [f"sent twice: {one}" for one in twice]
        self._judge_runs(account)
        unclear = [said for said in account.refused if not said.endswith(WHAT_TO_DO)]
        self.faults += [f"a full disk is told as: {said}" for said in unclear]
        self.judge_size()

    def _compare(self, what: str, expected: Iterable[object], found: Iterable[object]) -> None:
        wanted, there = Counter(expected), Counter(found)
        for words, those in (("missing", wanted - there), ("not expected", there - wanted)):
            for one in sorted(those.elements(), key=str):
                self.faults.append(f"{what} {words}: {one}")

    def _judge_runs(self, account: Account) -> None:
        for command in (POLL, DECIDE):
            done, pinged = account.done[command], account.pings[command]
            if done != pinged:
                self.faults.append(f"{done} runs of {command} were done, {pinged} pinged so")
        if Run.objects.filter(outcome=Outcome.RUNNING).exists():
            self.faults.append("a run never ended")

    def judge_size(self) -> None:
        """Note what has grown since the days after which nothing may."""
        self._judge_growth("MB of the database", self.megabytes)
        for table, by_day in self.rows.items():
            self._judge_growth(f"rows of {table}", by_day, FEW)

    def _judge_growth(self, what: str, by_day: Sequence[float], few: int = 0) -> None:
        usual, later = by_day[SETTLED:][:USUAL], by_day[SETTLED + USUAL :]
        if later and max(later) > MOST_GROWTH * max(usual) + few:
            self.faults.append(f"{what} grow: {by_day}")

    def _count_missed(self, life: Life, now: datetime) -> None:
        """Compare what was missed in the last day with the pings that runs sent."""
        tasks = {POLL: runs.POLL, DECIDE: runs.DECIDE}
        for minutes, command in script.COMMANDS[:2]:
            begun = {_minute(at) for at in life.account.begun[command]}
            first = now - DAY + minutes * timedelta(minutes=1)
            # The newest slot of a crontab may still be about to run.
            slots = DAY // TICK - (command == DECIDE)
            missed = sum(first + TICK * number not in begun for number in range(slots))
            said = runs.missed_of_a_day(tasks[command], now)
            self.missed += missed
            if said != missed:
                self.faults.append(f"{now}: {missed} of {command} were missed, {said} are told")

    def _look_at_charts(self, life: Life, gateway: str, now: datetime) -> None:
        """Compare a chart of the day with the times at which the gateway answered."""
        if gateway == HUB:
            charted = [(name, "temperature", _sensor_gaps(life, name)) for name in SENSORS]
        else:
            charted = [(gateway, ATTRIBUTES[gateway], _gaps(life, gateway))]
        # Nothing is known since it was last heard, and no history was asked yet.
        open_one = Gap(life.account.heard[gateway][-1], now + HOUR)
        for device, name, gaps in charted:
            attribute = Attribute.objects.get(device__name=device, name=name)
            chart = history(attribute, SPANS["day"], now).chart
            assert chart
            # Its first hours hold what may be too old to be kept.
            for column in chart.columns[20:-5]:
                start, end = column.at, column.at + DAY / len(chart.columns)
                if _is_by_a_wrong_clock(life, start):
                    continue
                self.columns += 1
                if any(gap.holds(start, end) for gap in (*gaps, open_one)):
                    self.empty += 1
                    if column.value is not None:
                        self.faults.append(f"{device}: {column.value} is drawn in a gap, {start}")
                elif column.value is None and not _is_near(start, end, (*gaps, open_one)):
                    self.faults.append(f"{device}: nothing is drawn at {start}")


ATTRIBUTES = dict.fromkeys(PLUGS, "power") | {"Living room": "temperature"}


def _gaps(life: Life, gateway: str) -> list[Gap]:
    """Return when nothing is known: what the meter's history closes is."""
    silent = _between(life.account.heard[gateway])
    if gateway != MAINS:
        return silent
    lost = [Gap(*(datetime.fromtimestamp(at, UTC) for at in span)) for span in life.home.meter.lost]
    return [gap for gap in lost if any(other.holds(*gap) for other in silent)]


def _sensor_gaps(life: Life, sensor: str) -> list[Gap]:
    """Return when it was unavailable: the hub's history tells the rest."""
    found = []
    for one in script.HAPPENINGS:
        if (one.what, one.of) == ("unavailable", sensor):
            for start in script.starts(life.begins_at, life.home.now):
                found.append(Gap(start + script.at(one.since), start + script.at(one.until)))
    return found


def _is_near(start: datetime, end: datetime, gaps: Iterable[Gap]) -> bool:
    return any(gap.touches(start, end) for gap in gaps)


def _between(times: list[datetime]) -> list[Gap]:
    return [Gap(*pair) for pair in pairwise(times) if pair[1] - pair[0] > SILENT_AFTER]


def _is_by_a_wrong_clock(life: Life, at: datetime) -> bool:
    begin, end = WRONG_CLOCKS
    return begin <= (at - life.begins_at) % script.ROUND < end


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _megabytes() -> float:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM")  # which autovacuum does, in time that here does not pass
            cursor.execute("SELECT pg_database_size(current_database())")
            [size] = cursor.fetchone()
            return float(size) / 1e6
    return Path(settings.DATABASES["default"]["NAME"]).stat().st_size / 1e6


def _rows() -> dict[str, int]:
    """Count those of each table."""
    counts = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")  # noqa: S608
            [counts[table]] = cursor.fetchone()
    return counts
