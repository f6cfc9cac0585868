"""Find the cheapest runs with minimum times, by dynamic programming over whole numbers.

What a minute costs beyond the best use of it is its *penalty*: running when it is dearer than the
level at which the cheapest minutes make up the job, or not running when it is cheaper. The sum of
penalties orders answers of one length as their costs do, but no penalty is negative: what is
already worse than allowed, with the least that is still to come, is not continued.

At most (minutes until the deadline) x (minutes of the job) steps; if one run would do, mostly a
hundredth of that.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import gcd, inf

from core.planning.contiguous import contiguous_run
from core.planning.curve import Curve, Span, length, merged

Trail = tuple["Trail", int, int] | tuple[()]
"""The runs of an answer as a linked list: those before the last run, its start, its end."""
Label = tuple[int, int, int, int, Trail]
"""Penalty, number of runs begun, tie-break, start of the run that is on, runs that are over.

The tie-break is a sum that is less the earlier (or later) the runs are. Of two labels at the same
time and of the same length the smaller one is better, as tuples compare."""
Labels = dict[int, Label]
SHARES = (64, 16, 4, 1)
"""Divisors of the spare penalty: a small share of it is allowed first, then more."""


@dataclass(frozen=True, slots=True)
class Search:
    """`forced`: how long a run that is on at 0 must still last; None if it is off."""

    curve: Curve
    amount: int
    min_on: int
    min_off: int
    forced: int | None
    latest: bool

    def best(self) -> list[Span]:
        """Return runs of `wanted` in all, or the shortest that are longer, or else the longest."""
        end, one_run = self.curve.pieces[-1][1], self.one_run()
        if one_run:
            grid = Grid(self, self.times(end))
            least = grid.least()
            spare = grid.penalty(one_run) - least
            # One run is an answer, so no best answer has a larger penalty. Mostly the best is far
            # better, and a small bound leaves little to search. An answer within a bound is the
            # best of all: what the bound cut off is worse. The last bound allows the one run.
            for share in SHARES:
                answers = grid.answers(least + spare // share, self.wanted)
                if self.wanted in answers:
                    return runs_of(answers[self.wanted])
        # No single run is long enough: then no bound is given, and every minute is tried.
        answers = Grid(self, range(end + 1)).answers(inf, self.wanted + self.min_on)
        if not answers:
            return []
        nearest = min(answers, key=lambda x: (x < self.wanted, abs(x - self.wanted)))
        return runs_of(answers[nearest])

    @property
    def wanted(self) -> int:
        return max(self.amount, self.min_on if self.forced is None else self.forced)

    def one_run(self) -> Span | None:
        """Return an answer with one run, if there is one."""
        if self.forced is not None:
            return (0, self.wanted) if self.curve.covers((0, self.wanted)) else None
        runs = contiguous_run(self.curve, self.wanted)
        return runs[0] if length(runs) == self.wanted else None

    def times(self, end: int) -> list[int]:
        """Return when a cheapest answer may switch.

        That is in whole steps from where pieces begin, where the curve begins or ends or the first
        run may stop, or from what makes up the sum if all other switches are at such times.
        """
        bounds = {time for start, end, _ in self.curve.pieces for time in (start, end)}
        base, *others = sorted(bounds - {0, end}) or [0]
        step = gcd(self.min_on, self.min_off, *(time - base for time in others)) or 1
        first, last, stop = (time - base for time in (0, end, self.forced or 0))
        sums = {self.wanted + a - b - c for a in (0, first) for b in (0, last) for c in (0, stop)}
        anchors = {0, first, last, stop, *sums, *(-total for total in sums)}
        rests = {(time + base) % step for time in anchors}
        every = {start + rest for start in range(0, end + 1, step) for rest in rests}
        return sorted(time for time in every if time <= end)

    def level(self) -> int:
        """Return the rate at which the cheapest pieces make up what is wanted."""
        by_rate = sorted((rate, end - start) for start, end, rate in self.curve.pieces)
        total = 0
        for rate, size in by_rate:
            total += size
            if total >= self.wanted:
                return rate
        return by_rate[-1][0]


class Grid:
    """The times at which to switch, and how to get from each to the next."""

    def __init__(self, search: Search, times: Sequence[int]) -> None:
        self.search, self.end = search, times[-1]
        level = search.level()
        self.on, self.off = _penalties(search.curve, level, 1), _penalties(search.curve, level, -1)
        self.moves: list[tuple[int, int, int, int]] = []
        """Time, the next time, the end of its stretch of rates, when a run that starts may stop."""
        # The least penalty still to come, whatever the length: when off and free to start, when on
        # and free to stop, and when it stops. As lower bounds they cut off no best answer.
        self.idle: dict[int, int] = {}
        self.busy: dict[int, int] = {}
        self.stop: dict[int, int] = {}
        # Backwards, because what is still to come at a time follows from the times after it.
        after, stretches = self.end + 1, list(search.curve.stretches)
        for time in reversed(times):
            while len(stretches) > 1 and time < stretches[-1][0]:
                stretches.pop()
            reach = stretches[-1][1] if time >= stretches[-1][0] else 0
            self.moves.append((time, after, reach, max(time + search.min_on, after)))
            self._look_ahead(*self.moves[-1])
            after = time
        self.moves.reverse()

    def _look_ahead(self, time: int, after: int, reach: int, ready: int) -> None:
        on, off, again = self.on, self.off, time + self.search.min_off
        idle = off[after] - off[time] + self.idle[after] if time < self.end else 0
        if ready <= reach:
            idle = min(idle, on[ready] - on[time] + self.busy[ready])
        stop = off[-1] - off[time]
        if again < self.end:
            stop = idle if again == time else off[again] - off[time] + self.idle[again]
        self.idle[time], self.stop[time] = idle, stop
        self.busy[time] = (
            min(stop, on[after] - on[time] + self.busy[after]) if after <= reach else stop
        )

    def least(self) -> int:
        """Return a bound: no answer has a smaller penalty."""
        forced = self.search.forced
        return self.idle[0] if forced is None else self.on[forced] + self.busy[forced]

    def penalty(self, run: Span) -> int:
        """Return the penalty of an answer with one run."""
        start, end = run
        return self.off[start] + self.on[end] - self.on[start] + self.off[-1] - self.off[end]

    def answers(self, allowed: float, most: int) -> Labels:
        """Return the best answers whose penalty is allowed, by length in all, up to `most`."""
        # Penalties of idle (busy) labels are without what being off (on) cost until now, and busy
        # lengths without the time: so waiting and going on change no label, only a switch does.
        idle, busy, due_idle, due_busy = self._begin()
        finished: Labels = {}
        for time, after, reach, ready in self.moves:
            for x, label in due_busy.pop(time, {}).items():
                _offer(busy, x - time, label)
            if busy:
                self._stop(time, busy, due_idle, finished, allowed, most)
                room = allowed - self.on[after] - self.busy[after] if after <= reach else -inf
                busy = {
                    y: label for y, label in busy.items() if label[0] <= room and y + after <= most
                }
            for x, label in due_idle.pop(time, {}).items():
                _offer(idle, x, label)
            if idle and ready <= reach:
                self._start(time, ready, idle, due_busy[ready], allowed, most)
        return finished

    def _begin(self) -> tuple[Labels, Labels, dict[int, Labels], dict[int, Labels]]:
        """Return labels: idle by length so far, busy by length less time, and those due later.

        The latter by the time from which they may start or stop, then by length so far.
        """
        forced, due_busy = self.search.forced, defaultdict[int, Labels](dict)
        label: Label = (0, 0, 0, 0, ())
        if forced is not None and self.search.curve.covers((0, max(1, forced))):
            due_busy[forced][forced] = label
        return {} if forced is not None else {0: label}, {}, defaultdict(dict), due_busy

    def _stop(
        self,
        time: int,
        busy: Labels,
        due_idle: dict[int, Labels],
        finished: Labels,
        allowed: float,
        most: int,
    ) -> None:
        again = time + self.search.min_off
        change, to_end = self.on[time] - self.off[time], self.off[-1]
        room, tie_break = allowed - self.on[time] - self.stop[time], self._tie_break(time)
        for y, label in busy.items():
            if label[0] <= room:
                penalty, begun, tie, since, trail = label
                over: Trail = (trail, since, time) if since < time else trail
                stopped = (penalty + change, begun, tie + tie_break, 0, over)
                if stopped[0] + to_end <= allowed:
                    _offer(finished, y + time, stopped)
                if again < self.end and y + time < most:
                    _offer(due_idle[again], y + time, stopped)

    def _start(
        self, time: int, ready: int, idle: Labels, due_busy: Labels, allowed: float, most: int
    ) -> None:
        change, tie_break = self.off[time] - self.on[time], self._tie_break(time)
        room, longest = allowed - change - self.on[ready] - self.busy[ready], most - ready + time
        for x, label in idle.items():
            if label[0] <= room and x <= longest:
                penalty, begun, tie, _, trail = label
                started = (penalty + change, begun + 1, tie - tie_break, time, trail)
                _offer(due_busy, x + ready - time, started)

    def _tie_break(self, time: int) -> int:
        # Squares: end² - start² of a run of fixed length is less the earlier it is.
        return -time * time if self.search.latest else time * time


def _penalties(curve: Curve, level: int, sign: int) -> list[int]:
    """Return the penalty of running (sign 1) or not running (-1) from 0 until each time."""
    each = [0] * curve.pieces[-1][1]
    for start, end, rate in curve.pieces:
        each[start:end] = [max(0, sign * (rate - level))] * (end - start)
    return [0, *accumulate(each)]


def _offer(labels: Labels, x: int, label: Label) -> None:
    # One label for each time and length is enough: what follows depends on nothing else. This is
    # what bounds the work by times x lengths.
    if x not in labels or label < labels[x]:
        labels[x] = label


def runs_of(label: Label) -> list[Span]:
    """Return the runs of an answer in order of time."""
    spans, trail = [], label[-1]
    while trail:
        trail, start, end = trail
        spans.append((start, end))
    return merged(spans)
