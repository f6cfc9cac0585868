"""A device for backtests: it obeys at once, and remembers what the database would have of it."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any

from core import rules
from core.feeds import Signal
from core.models import Plan
from core.planning import Window, precedence, score
from core.planning.precedence import HOUR, Limits
from core.readings import Source
from core.rules import Decision, Other, Rule, Situation
from core.tasks.backtesting.others import OtherDevices, with_load
from core.tasks.backtesting.past import SignalHistory
from core.tasks.decisions import plans

SWITCH = "on"


@dataclass(frozen=True)
class BacktestSettings:
    """What to replay: `rule` decides at each `every` from `since` up to `until` (UTC).

    `zone` is the device's.
    """

    rule: Rule
    options: Any
    since: datetime
    until: datetime
    every: timedelta = timedelta(minutes=10)
    zone: tzinfo = UTC
    limits: Limits = Limits(most_switches_an_hour=12)

    @property
    def watts(self) -> float:
        return float(getattr(self.options, "watts", 1000))


class ReplayedDevice:
    """A device that a rule switches, tick by tick.

    `others` are those that options of the rule name, None if they name none.
    `on` is when it ran, `held` when its rule held it off as a guard, `rows` its plans, one a
    deadline, not saved; `informed` the deadlines of those that were planned by any data.
    """

    def __init__(
        self,
        settings: BacktestSettings,
        histories: Mapping[Signal, SignalHistory],
        others: OtherDevices | None = None,
    ) -> None:
        self.settings, self.histories, self.others = settings, histories, others
        self.is_on = False
        self.changed_at: datetime | None = None
        self.switched: list[datetime] = []
        self.on: list[Window] = []
        self.held: list[Window] = []
        self.held_off_since: datetime | None = None
        self.held_off_until: datetime | None = None
        self.row: Plan | None = None
        self.rows: list[Plan] = []
        self.informed: set[datetime] = set()
        self.undecided = self.waited = 0
        self.bought = 0.0
        """In kWh: of what it used, by a meter that it looks at."""

    def tick(self, now: datetime) -> None:
        """Decide and switch, and count what is bought until the next tick. Raises what _decide()
        does."""
        self._decide(now)
        if self.is_on and self.others and self.settings.rule.metered:
            self._count_bought(self.others.at(now), self.settings.rule.metered)

    def _count_bought(
        self, others: Mapping[int, Other], metered: Callable[[Any, float], float]
    ) -> None:
        hours = self.settings.every / HOUR
        for other in others.values():
            for value in other.values.values():
                if isinstance(value, bool | str):
                    continue
                loaded = metered(self.settings.options, value)
                # Where more load makes the number smaller, what is fed in is positive.
                before, after = (value, loaded) if loaded > value else (-value, -loaded)
                self.bought += (max(0.0, after) - max(0.0, before)) * hours / 1000

    def _decide(self, now: datetime) -> None:
        """Raises ValueError if the rule sets something else than a switch."""
        try:
            decision = self._decision(now)
        except rules.Undecided:
            self.undecided += 1
            self._hold(None, now)
            return
        self._follow_plan(decision, now)
        self._hold(decision, now)
        if decision is not None:
            self._switch(bool(decision.value), Source.GUARD if decision.guard else Source.RULE, now)
        elif self.settings.rule.is_guard:
            # Nothing to avert: the device runs, as it would without a guard.
            self._switch(True, Source.RULE, now)

    def _decision(self, now: datetime) -> Decision | None:
        decision = self.settings.rule.decide(self._situation(now))
        if decision is None:
            return None
        if not isinstance(decision.value, bool) or decision.attribute not in ("", SWITCH):
            raise ValueError(
                "A backtest can only follow a rule that switches, and "
                f"{self.settings.rule.name} sets something else."
            )
        return decision

    def _situation(self, now: datetime) -> Situation:
        settings = self.settings
        if self.row and self.row.deadline <= now:
            self.row = None
        delivered = self._minutes(self.row.opens_at, now) if self.row else 0
        if self.row:
            self.row.delivered = delivered
        return Situation(
            now=now,
            device="the device",
            values={SWITCH: self.is_on},
            switch=SWITCH,
            outlooks={signal: history.outlook(now) for signal, history in self.histories.items()},
            options=settings.options,
            zone=settings.zone,
            changed_at=self.changed_at,
            plan=plans.of_row(self.row) if self.row else None,
            delivered=delivered,
            held_off_since=self.held_off_since,
            held_off_until=self.held_off_until,
            limits=settings.limits,
            others=self._others(now),
        )

    def _others(self, now: datetime) -> Mapping[int, Other]:
        if self.others is None:
            return {}
        found, metered = self.others.at(now), self.settings.rule.metered
        if metered is None or not self.is_on or self.changed_at is None:
            return found
        return with_load(partial(metered, self.settings.options), found, self.changed_at)

    def _minutes(self, since: datetime, now: datetime) -> float:
        """Return how long it ran since then."""
        running = [Window(self.changed_at, now)] if self.is_on and self.changed_at else []
        # A year has thousands of them: those that were over are not looked at.
        first = bisect_left(self.on, since, key=lambda window: window.ends_at)
        return score.minutes_of(score.within([*self.on[first:], *running], since, now))

    def _follow_plan(self, decision: Decision | None, now: datetime) -> None:
        if decision is None or decision.plan is None:
            return
        row = plans.store(self.row, 0, decision.plan, {"predicted_at_once": None}, now)
        if row is not self.row:
            self.rows.append(row)
        self.row = row
        if any(history.outlook(now).slots for history in self.histories.values()):
            self.informed.add(row.deadline)

    def _hold(self, decision: Decision | None, now: datetime) -> None:
        is_held = decision is not None and decision.guard and decision.value is False
        if is_held:
            self.held_off_since = self.held_off_since or now
        elif self.held_off_since:
            self.held.append(Window(self.held_off_since, now))
            self.held_off_since = None
        self.held_off_until = decision.until if decision and is_held else None

    def _switch(self, wanted: bool, source: Source, now: datetime) -> None:
        if wanted == self.is_on:
            return
        recent = len(self.switched) - bisect_left(self.switched, now - HOUR)
        if precedence.waits(
            self.settings.limits, source, self.is_on, wanted, self.changed_at, recent, now
        ):
            self.waited += 1
            return
        if self.is_on and self.changed_at:
            self.on.append(Window(self.changed_at, now))
        self.is_on, self.changed_at = wanted, now
        self.switched.append(now)

    def stop(self, now: datetime) -> None:
        """End what is under way, so that `on` and `held` are complete."""
        self._hold(None, now)
        if self.is_on and self.changed_at and self.changed_at < now:
            self.on.append(Window(self.changed_at, now))
        self.is_on = False
