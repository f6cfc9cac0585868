"""Dynamic programming for the cheapest runs with minimum times. Times and lengths are whole numbers.

What a minute costs beyond the best use of it is its *penalty*: running when it is dearer than the level at which the cheapest
minutes make up the job, or not running when it is cheaper. The sum of penalties orders answers of one length as their costs do,
but no penalty is negative: what is already worse than allowed, with the least that is still to come, is not continued.

At most (minutes until the deadline) x (minutes of the job) steps; if one run would do, mostly a hundredth of that.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import gcd, inf

from core.planning.contiguous import single
from core.planning.curve import Curve, Span, length, merged

Trail = tuple["Trail", int, int] | tuple[()]
"""The last run, after those before it."""
Label = tuple[int, int, int, int, Trail]
"""Penalty, runs begun, a sum that is less the earlier (or later) they are, when the run that is on began, the runs that are over.
Of labels of the same time and length the smallest is the best."""
Labels = dict[int, Label]
SHARES = (64, 16, 4, 1)
"""Of what a known answer costs above the least there can be, so small a share is allowed first, then more."""


@dataclass(frozen=True, slots=True)
class Search:
    """`forced`: for how long what runs at 0 must go on at least; None if nothing runs."""

    curve: Curve
    amount: int
    min_on: int
    min_off: int
    forced: int | None
    latest: bool

    def best(self) -> list[Span]:
        """Of exactly that length in all, or the shortest that is longer, or else the longest."""
        end, known = self.curve.pieces[-1][1], self.known()
        if known:
            grid = Grid(self, self.times(end))
            least = (
                grid.idle[0]
                if self.forced is None
                else grid.on[self.forced] + grid.busy[self.forced]
            )
            spare = grid.penalty(known) - least
            for share in SHARES:
                answers = grid.answers(least + spare // share, self.wanted)
                if self.wanted in answers:
                    return runs_of(answers[self.wanted])
        answers = Grid(self, range(end + 1)).answers(inf, self.wanted + self.min_on)
        return (
            runs_of(answers[min(answers, key=lambda x: (x < self.wanted, abs(x - self.wanted)))])
            if answers
            else []
        )

    @property
    def wanted(self) -> int:
        return max(self.amount, self.min_on if self.forced is None else self.forced)

    def known(self) -> Span | None:
        """An answer with one run."""
        if self.forced is not None:
            return (0, self.wanted) if self.curve.covers((0, self.wanted)) else None
        runs = single(self.curve, self.wanted)
        return runs[0] if length(runs) == self.wanted else None

    def times(self, end: int) -> list[int]:
        """When a cheapest answer may switch: in whole steps from where pieces begin, where the curve begins or ends or the
        first run may stop, or from what makes up the sum if all other switches are at such times."""
        bounds = {time for start, end, _ in self.curve.pieces for time in (start, end)}
        base, *others = sorted(bounds - {0, end}) or [0]
        step = gcd(self.min_on, self.min_off, *(time - base for time in others)) or 1
        first, last, stop = (time - base for time in (0, end, self.forced or 0))
        sums = {self.wanted + a - b - c for a in (0, first) for b in (0, last) for c in (0, stop)}
        rests = {
            (time + base) % step for time in (0, first, last, stop, *sums, *(-one for one in sums))
        }
        return sorted(
            start + rest
            for start in range(0, end + 1, step)
            for rest in rests
            if start + rest <= end
        )

    def level(self) -> int:
        """The rate at which the cheapest pieces make up what is wanted."""
        by_rate = sorted((rate, end - start) for start, end, rate in self.curve.pieces)
        sums = accumulate(size for _, size in by_rate)
        return next(
            (rate for (rate, _), made in zip(by_rate, sums, strict=True) if made >= self.wanted),
            by_rate[-1][0],
        )


class Grid:
    """The times at which to switch, and how to get from each to the next."""

    def __init__(self, search: Search, times: Sequence[int]) -> None:
        self.search, self.end = search, times[-1]
        level = search.level()
        self.on, self.off = _penalties(search.curve, level, 1), _penalties(search.curve, level, -1)
        self.moves: list[tuple[int, int, int, int]] = []
        """Time, the next one, until when the rate is known without a gap, when a run that starts now may stop."""
        # The least penalty still to come, whatever the length: if a run may start, if one may stop, and if it does.
        self.idle: dict[int, int] = {}
        self.busy: dict[int, int] = {}
        self.stop: dict[int, int] = {}
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

    def penalty(self, run: Span) -> int:
        start, end = run
        return self.off[start] + self.on[end] - self.on[start] + self.off[-1] - self.off[end]

    def answers(self, allowed: float, most: int) -> Labels:
        """By length in all, up to the most: the best runs whose penalty is no more than allowed."""
        # Penalties of the idle and the busy are without those of the time until now: waiting and going on change nothing.
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
        """The idle by length so far, the busy by length less time; those that are idle or busy from a time on, by length."""
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
        again, change, to_end = (
            time + self.search.min_off,
            self.on[time] - self.off[time],
            self.off[-1],
        )
        room, moment = allowed - self.on[time] - self.stop[time], self._moment(time)
        for y, label in busy.items():
            if label[0] <= room:
                penalty, begun, tie, since, trail = label
                over: Trail = (trail, since, time) if since < time else trail
                stopped = (penalty + change, begun, tie + moment, 0, over)
                if stopped[0] + to_end <= allowed:
                    _offer(finished, y + time, stopped)
                if again < self.end and y + time < most:
                    _offer(due_idle[again], y + time, stopped)

    def _start(
        self, time: int, ready: int, idle: Labels, due_busy: Labels, allowed: float, most: int
    ) -> None:
        change, moment = self.off[time] - self.on[time], self._moment(time)
        room, longest = allowed - change - self.on[ready] - self.busy[ready], most - ready + time
        for x, label in idle.items():
            if label[0] <= room and x <= longest:
                penalty, begun, tie, _, trail = label
                _offer(
                    due_busy,
                    x + ready - time,
                    (penalty + change, begun + 1, tie - moment, time, trail),
                )

    def _moment(self, time: int) -> int:
        return -time * time if self.search.latest else time * time


def _penalties(curve: Curve, level: int, sign: int) -> list[int]:
    """Of running (1) or not running (-1) from 0 until each time."""
    each = [0] * curve.pieces[-1][1]
    for start, end, rate in curve.pieces:
        each[start:end] = [max(0, sign * (rate - level))] * (end - start)
    return [0, *accumulate(each)]


def _offer(labels: Labels, x: int, label: Label) -> None:
    if x not in labels or label < labels[x]:
        labels[x] = label


def runs_of(label: Label) -> list[Span]:
    spans, trail = [], label[-1]
    while trail:
        trail, start, end = trail
        spans.append((start, end))
    return merged(spans)
