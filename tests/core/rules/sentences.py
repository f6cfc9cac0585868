"""Check what `cleanest_hours` says against its own inputs, minute by minute."""

import re
from datetime import timedelta

import pytest

MINUTE = timedelta(minutes=1)
SENTENCE = re.compile(
    r"(?:it waits for (?P<start>[\d:]+): )?"
    r"(?P<best>the cleanest )?(?:the remaining )?(?P<span>(?:\d+ h ?)?(?:\d+ min)?)"
    r"(?P<one> in one run)? before 07:00(?: for the rest)? are (?:planned for )?(?P<times>[^;]+?): "
    r"(?P<value>[-\d.]+) gCO2/kWh(?: \(at best (?P<least>[-\d.]+)\))?"
    r"(?: instead of (?P<at_once>[-\d.]+) at once)?"
    r"(?P<notes>(?:; [^;]+?)*)(?:, by .*?)?(?: \((?:times: |replayed)[^)]*\))?"
)


def is_of_a_forecast(reason):
    return not re.match("(it waits for [0-9:]+: )?(no forecast|done|no time)", reason)


def check(reason, known, now, deadline, contiguous=False, left=None, least_on=0):
    """`known` are the slots of the forecast; `left` is how many minutes are still to run.

    In UTC. Whole minutes count: where now is none, numbers may be a little off.
    """
    said, night = SENTENCE.fullmatch(reason), Night(known, now, deadline)
    assert said, reason
    size, times = minutes_in(said["span"]), re.findall(r"([\d:]+) to ([\d:]+)", said["times"])
    runs = [(night.minute(start), night.minute(end)) for start, end in times]
    are_all_told = " runs from " not in said["times"]
    if are_all_told:
        assert sum(end - start for start, end in runs) == size, reason
        assert float(said["value"]) == night.rounded(night.mean(runs)), reason
    assert runs[0][0] == (night.minute(said["start"]) if said["start"] else 0), reason
    if left is not None:
        assert size <= max(left, least_on) + 1, reason
        assert ("do not fit" in said["notes"]) == (size < left - 0.5), reason
    assert ("the mean is assumed" in said["notes"]) != night.is_known, reason
    least, at_once = night.least(size, contiguous), sum(night.values[:size]) / size
    assert bool(said["one"]) == contiguous
    if said["best"]:
        assert float(said["value"]) == night.rounded(least), reason
        if are_all_told:
            assert night.mean(runs) == pytest.approx(least, rel=night.error + 1e-6), reason
    elif are_all_told:
        assert night.mean(runs) * (1 + night.error) > least, reason
    assert float(said["least"] or said["value"]) == night.rounded(least), reason
    if said["at_once"]:
        assert float(said["at_once"]) == night.rounded(at_once), reason
        assert float(said["at_once"]) > float(said["value"]), reason


class Night:
    """The value of each minute from now until the deadline; where none is known, their mean."""

    def __init__(self, known, now, deadline):
        ahead = [slot for slot in known if slot.ends_at > now and slot.starts_at < deadline]
        weights = [(slot.ends_at - slot.starts_at) / MINUTE for slot in ahead]
        weighted = [slot.value * weight for slot, weight in zip(ahead, weights, strict=True)]
        self.now = now.replace(second=0, microsecond=0)
        self.error = 0 if now == self.now else 0.01
        self.values, self.is_known = [], True
        for minute in range((deadline - self.now) // MINUTE):
            at = self.now + minute * MINUTE
            found = [slot.value for slot in ahead if slot.starts_at <= at < slot.ends_at]
            self.values.append(found[0] if found else sum(weighted) / sum(weights))
            self.is_known = self.is_known and bool(found)

    def minute(self, clock):
        """A time as minutes from now."""
        hour, minute = map(int, clock.split(":"))
        return (60 * (hour - self.now.hour) + minute - self.now.minute) % (24 * 60)

    def mean(self, runs):
        values = [value for start, end in runs for value in self.values[start:end]]
        return sum(values) / len(values)

    def least(self, size, in_one_run):
        if in_one_run:
            starts = range(len(self.values) - size + 1)
            return min(sum(self.values[start : start + size]) for start in starts) / size
        return sum(sorted(self.values)[:size]) / size

    def rounded(self, value):
        """Match a number of the sentence: it is said in whole numbers."""
        return pytest.approx(value, abs=0.5 + 1e-6 + self.error * abs(value))


def minutes_in(span):
    hours, minutes = (re.search(rf"(\d+) {unit}", span) for unit in ("h", "min"))
    return 60 * int(hours[1] if hours else 0) + int(minutes[1] if minutes else 0)
