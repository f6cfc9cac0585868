"""Find out when switches were on: from what was seen, and over silences from what bounds are known.

A switch that nobody heard for a while may have run all the time. Counted as off, a job would run
longer than asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from core.models import Attribute, DeviceCommand, Observation, Silence
from core.models.device_command import State
from core.planning import timeline
from core.planning.timeline import Piece

METER = "energy"
"""The attribute that counts what a device has used, in any unit."""
LEAST_METERED = timedelta(minutes=5)
"""From less running than this, the power is not known well enough."""

Points = Sequence[tuple[datetime, float]]


@dataclass(frozen=True)
class Evidence:
    """What is known of a silence, besides the state before and after it.

    `changes`: when the switch changed, by the vendor's own times. `meter`: what the energy meter
    said, by time. `timers`: when a timer in the device switched it back. All in order of time.
    """

    changes: Sequence[datetime] = ()
    meter: Points = ()
    timers: Sequence[datetime] = ()


def running(
    switches: Sequence[Attribute], since: datetime, until: datetime
) -> dict[int, list[Piece]]:
    """By attribute: in which pieces of a time each switch was on or off.

    Three queries for any number of switches, and two more where some were silent.
    """
    pks = [switch.pk for switch in switches]
    points = _points(pks, since, until)
    silences = _silences(pks, since, until)
    silent = [switch for switch in switches if silences[switch.pk]]
    meters, timers = _meters(silent, since, until), _timers(silent, since, until)
    found = {}
    for switch in switches:
        # A silence is stored when it ends: after the last answer nothing is known yet.
        heard_until = max(min(until, switch.heard_at or since), since)
        pieces = timeline.held(points[switch.pk], silences[switch.pk], since, heard_until)
        evidence = Evidence(
            changes=[at for at, _ in points[switch.pk]],
            meter=meters.get(switch.device_id, ()),
            timers=timers.get(switch.pk, ()),
        )
        found[switch.pk] = filled(pieces, evidence)
    return found


def minutes_on(pieces: Iterable[Piece], since: datetime, until: datetime) -> float:
    spans = (min(piece.end, until) - max(piece.start, since) for piece in pieces if piece.value)
    return sum(max(span, timedelta()).total_seconds() for span in spans) / 60


def filled(pieces: Sequence[Piece], evidence: Evidence) -> list[Piece]:
    """Add pieces for silences, as far as something tells what the switch did in them."""
    power = _power(pieces, evidence.meter)
    whole = list(pieces[:1])
    for before, after in pairwise(pieces):
        if before.end < after.start:
            whole += _in_silence(before, after, evidence, power)
        whole.append(after)
    return whole


def _in_silence(before: Piece, after: Piece, evidence: Evidence, power: float) -> list[Piece]:
    """Return inferred pieces between two that were seen; none if nothing tells."""
    start, end = before.end, after.start
    first, second = before.value, after.value
    changed_at = _changed_at(before, after, evidence)
    used = _used(evidence.meter, start, end)
    if changed_at is None and used is not None and power:
        # More than its usual power was drawn: even so it ran no longer than the silence.
        on = min(timedelta(seconds=used / power), end - start)
        # Off before, it was switched on later. Else it ran first: when exactly is not known.
        first, second = (0.0, 1.0) if second and not first else (1.0, 0.0)
        changed_at = end - on if second else start + on
    elif changed_at is None and first != second:
        # It changed at an unknown time: nothing is counted.
        return []
    # Without a meter or a change, the same state on both sides is taken to have lasted.
    middle = changed_at or end
    pieces = (Piece(start, middle, first, True), Piece(middle, end, second, True))
    return [piece for piece in pieces if piece.start < piece.end]


def _changed_at(before: Piece, after: Piece, evidence: Evidence) -> datetime | None:
    """When the switch last changed in a silence, by the vendor's own time or a timer's end."""
    changes = [at for at in evidence.changes if before.end < at < after.start]
    if changes:
        return changes[-1]
    is_timed = before.value and not after.value
    timers = [at for at in evidence.timers if before.end < at < after.start]
    return timers[0] if is_timed and timers else None


def _power(pieces: Iterable[Piece], meter: Points) -> float:
    """What the meter counts in a second while the switch is on; 0 if unknown."""
    seconds = used = 0.0
    for piece in pieces:
        if not piece.value:
            continue
        within = [(at, number) for at, number in meter if piece.start <= at <= piece.end]
        for (start, first), (end, last) in pairwise(within):
            # A counter that began anew in between does not tell what was used.
            if last >= first:
                seconds += (end - start).total_seconds()
                used += last - first
    return used / seconds if seconds >= LEAST_METERED.total_seconds() else 0.0


def _used(meter: Points, start: datetime, end: datetime) -> float | None:
    """What the meter counted in a silence; None if it was not read, or began anew."""
    first = next((number for at, number in reversed(meter) if at <= start), None)
    last = next((number for at, number in meter if at >= end), None)
    if first is None or last is None or last < first:
        return None
    return last - first


def _points(
    pks: Sequence[int], since: datetime, until: datetime
) -> dict[int, list[tuple[datetime, float]]]:
    points: dict[int, list[tuple[datetime, float]]] = {pk: [] for pk in pks}
    for pk, [first] in Observation.objects.all().sample(pks, [since]).items():
        # The value that held when the time begins is drawn from there.
        if first is not None:
            points[pk].append((since, first))
    seen = Observation.objects.between(since, until).filter(attribute__in=pks, number__isnull=False)
    for pk, at, number in seen.values_list("attribute_id", "observed_at", "number"):
        points[pk].append((at, number or 0.0))
    return points


def _silences(
    pks: Sequence[int], since: datetime, until: datetime
) -> dict[int, list[tuple[datetime, datetime]]]:
    silences: dict[int, list[tuple[datetime, datetime]]] = {pk: [] for pk in pks}
    silent = Silence.objects.filter(attribute__in=pks, ends_at__gt=since, starts_at__lt=until)
    rows = silent.order_by("starts_at").values_list("attribute_id", "starts_at", "ends_at")
    for pk, start, end in rows:
        silences[pk].append((start, end))
    return silences


def _meters(
    switches: Sequence[Attribute], since: datetime, until: datetime
) -> dict[int, list[tuple[datetime, float]]]:
    """By device: what its energy meter said."""
    meters: dict[int, list[tuple[datetime, float]]] = {}
    if switches:
        seen = Observation.objects.between(since, until).filter(
            attribute__device__in=[switch.device_id for switch in switches],
            attribute__name=METER,
            number__isnull=False,
        )
        for pk, at, number in seen.values_list("attribute__device_id", "observed_at", "number"):
            meters.setdefault(pk, []).append((at, number or 0.0))
    return meters


def _timers(
    switches: Sequence[Attribute], since: datetime, until: datetime
) -> dict[int, list[datetime]]:
    """By attribute: when timers that went with an "on" ran out."""
    timers: dict[int, list[datetime]] = {}
    if switches:
        ended = DeviceCommand.objects.filter(
            attribute__in=[switch.pk for switch in switches],
            number=1,
            # Only what reached the device set its timer.
            state__in=[State.ACCEPTED, State.CONFIRMED],
            reverts_at__gt=since,
            reverts_at__lt=until,
        )
        for command in ended.order_by("reverts_at"):
            if command.reverts_at:
                timers.setdefault(command.attribute_id, []).append(command.reverts_at)
    return timers
