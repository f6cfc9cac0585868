"""What `cleanest_hours` says is checked against its own inputs, minute by minute."""

import re
from datetime import timedelta
from random import Random

import pytest

from core.planning.forecast import Outlook, Rung
from core.planning.precedence import Limits
from tests.core.rules.situations import decide, slots, utc

EVENING, DEADLINE = utc("2026-06-01 20:00"), utc("2026-06-02 07:00")
MINUTE = timedelta(minutes=1)
SENTENCE = re.compile(
    r"(?:it waits for (?P<start>[\d:]+): )?"
    r"(?P<best>the cleanest )?(?:the remaining )?(?P<span>(?:\d+ h ?)?(?:\d+ min)?)"
    r"(?P<one> in one run)? before 07:00(?: for the rest)? are (?:planned for )?(?P<times>[^;]+?): "
    r"(?P<value>[-\d.]+) gCO2/kWh(?: \(at best (?P<least>[-\d.]+)\))?"
    r"(?: instead of (?P<at_once>[-\d.]+) at once)?(?P<notes>(?:; [^;]+)*)"
)


def rounded(value):
    """Match a number of the sentence: it is said in whole numbers."""
    return pytest.approx(value, abs=0.5 + 1e-6)


def minutes_in(span):
    hours, minutes = (re.search(rf"(\d+) {unit}", span) for unit in ("h", "min"))
    return 60 * int(hours[1] if hours else 0) + int(minutes[1] if minutes else 0)


def shown_at(clock):
    """A time of this night as minutes after 20:00."""
    hour, minute = map(int, clock.split(":"))
    return (hour - 20) % 24 * 60 + minute


class Night:
    """The value of each minute from a time until the deadline; where none is known, their mean."""

    def __init__(self, known, now):
        ahead = [slot for slot in known if slot.ends_at > now and slot.starts_at < DEADLINE]
        mean = sum(slot.value for slot in ahead) / len(ahead)
        self.first = (now - EVENING) // MINUTE
        self.values, self.is_known = [], True
        for minute in range(self.first, (DEADLINE - EVENING) // MINUTE):
            at = EVENING + minute * MINUTE
            found = [slot.value for slot in ahead if slot.starts_at <= at < slot.ends_at]
            self.values.append(found[0] if found else mean)
            self.is_known = self.is_known and bool(found)

    def mean(self, runs):
        values = [value for start, end in runs for value in self.of(start, end)]
        return sum(values) / len(values)

    def of(self, start, end):
        return self.values[start - self.first : end - self.first]

    def least(self, size, in_one_run):
        if in_one_run:
            starts = range(len(self.values) - size + 1)
            return min(sum(self.values[start : start + size]) for start in starts) / size
        return sum(sorted(self.values)[:size]) / size


def check(reason, known, now, contiguous, left, least_on):
    said, night = SENTENCE.fullmatch(reason), Night(known, now)
    assert said, reason
    size, times = minutes_in(said["span"]), re.findall(r"([\d:]+) to ([\d:]+)", said["times"])
    runs = [(shown_at(start), shown_at(end)) for start, end in times]
    if " runs from " not in said["times"]:
        assert sum(end - start for start, end in runs) == size, reason
        assert float(said["value"]) == rounded(night.mean(runs)), reason
    assert runs[0][0] == (shown_at(said["start"]) if said["start"] else night.first), reason
    assert size <= max(left, least_on) + 1, reason
    assert ("do not fit" in said["notes"]) == (size < left - 0.5), reason
    assert ("the mean is assumed" in said["notes"]) != night.is_known, reason
    least, at_once = night.least(size, contiguous), sum(night.values[:size]) / size
    assert bool(said["one"]) == contiguous
    if said["best"]:
        assert float(said["value"]) == rounded(least), reason
        assert " runs from " in said["times"] or night.mean(runs) == pytest.approx(least), reason
    else:
        assert " runs from " in said["times"] or night.mean(runs) > least, reason
    assert float(said["least"] or said["value"]) == rounded(least), reason
    if said["at_once"]:
        assert float(said["at_once"]) == rounded(at_once), reason
        assert float(said["at_once"]) > float(said["value"]), reason


def live(known):
    return Outlook(known[0].signal, tuple(known), Rung.LIVE, issued_at=known[0].issued_at)


def forecast_of(random, at, means, spread, reach):
    """A forecast as it is revised: the same night with other noise."""
    values = [round(mean * random.uniform(1 - spread, 1 + spread), 1) for mean in means]
    known = slots("2026-06-01 20:00", values[:reach])
    return [slot for slot in known if slot.ends_at > at]


@pytest.mark.parametrize("seed", range(40))
def test_every_number_and_claim_of_the_sentence_is_true_of_its_inputs(seed):
    random = Random(seed)
    contiguous, minutes = random.random() < 0.4, random.choice([25, 60, 180, 300])
    means = [random.choice([40, 90, 100, 150, 200]) for _ in range(22)]
    spread, reach = random.choice([0, 0.05, 0.3]), random.choice([22, 22, 9])
    limit = random.choice([0, 0, 20, 45])
    limits = Limits(limit * MINUTE, limit * MINUTE)
    options = {"minutes": minutes, "contiguous": "yes" if contiguous else "no"}
    at, is_on, since, plan, delivered, told = EVENING, False, None, None, 0.0, 0
    while at < DEADLINE:
        known = forecast_of(random, at, means, spread, reach)
        decision = decide(
            at.isoformat()[:16],
            "cleanest_hours",
            *([live(known)] if known else []),
            is_on=is_on,
            options=options,
            plan=plan,
            delivered=delivered,
            changed_at=since,
            limits=limits,
        )
        plan = decision.plan
        if not re.match("(it waits for [0-9:]+: )?(no forecast|done|no time)", decision.reason):
            left = minutes - (plan.job.delivered if plan else delivered)
            check(decision.reason, known, at, contiguous, left, limit)
            told += 1
        # Now and then a person has switched it, or a round was missed.
        wanted = decision.value if random.random() < 0.9 else is_on
        if wanted is not is_on:
            is_on, since = wanted, at
        step = random.choice([10, 10, 10, 3, 40])
        delivered += step if is_on else 0
        at += step * MINUTE
    assert told
