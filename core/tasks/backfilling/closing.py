"""Close gaps: take from a device's silences what its vendor's history tells of them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from django.db.models import F

from core.models import Attribute, Device, Silence
from core.models.freshness import late_after
from core.readings import Reading
from core.tasks.backfilling.gaps import Span
from core.tasks.polling.silences import roll_up_again


class Moment(NamedTuple):
    """What an attribute has from a time on: a value, or none that is known."""

    at: datetime
    is_known: bool


Known = Mapping[str, Collection[Span]]
"""The times at which the value of an attribute is known, by its name."""


def known_times(readings: Iterable[Reading], refused: Collection[Reading], span: Span) -> Known:
    """Say when values are known: each lasts until the next reading, the last until the end.

    What was refused, when it was to be stored, is not known.
    """
    moments: dict[str, list[Moment]] = {}
    nonsense = {(reading.attribute, reading.observed_at) for reading in refused}
    for reading in readings:
        at = reading.observed_at
        if at is not None and span.since <= at < span.until:
            is_known = reading.value is not None and (reading.attribute, at) not in nonsense
            moments.setdefault(reading.attribute, []).append(Moment(at, is_known))
    return {name: list(_spans(sorted(found), span.until)) for name, found in moments.items()}


def _spans(moments: Iterable[Moment], until: datetime) -> Iterator[Span]:
    for moment, following in pairwise([*moments, Moment(until, False)]):
        if moment.is_known and following.at > moment.at:
            yield Span(moment.at, following.at)


def close(device_pk: int, span: Span, known: Known) -> bool:
    """Take the known times from the silences of a device, and note that this time was asked for.

    Return whether a silence changed. Call it inside publishing(); it locks the device, as
    `record()` does, whose readings end silences too.
    """
    # Read for its lock only.
    list(Device.objects.select_for_update(no_key=True).filter(pk=device_pk).values_list("pk"))
    overlapping = Silence.objects.filter(
        attribute__device=device_pk, starts_at__lt=span.until, ends_at__gt=span.since
    )
    silences = list(overlapping.select_related("attribute"))
    left = [piece for one in silences for piece in _left(one, span, known)]
    # Made anew: of one silence several may be left, or none.
    Silence.objects.filter(pk__in=[silence.pk for silence in silences]).delete()
    Silence.objects.bulk_create(left)
    # Without `asked_until`: that it was asked for changes nothing in the history.
    before = [(one.attribute_id, one.starts_at, one.ends_at) for one in silences]
    changed = sorted(before) != sorted(
        (one.attribute_id, one.starts_at, one.ends_at) for one in left
    )
    if changed:
        roll_up_again(silences)
        Device.objects.filter(pk=device_pk).update(history_version=F("history_version") + 1)
    return changed


def _left(silence: Silence, span: Span, known: Known) -> Iterator[Silence]:
    """Yield what is left of a silence: as everywhere, what is shorter than two polls is none.

    What lies before the span and was not asked for becomes a silence of its own.
    """
    starts_at = silence.starts_at
    attribute: Attribute = silence.attribute
    if max(starts_at, silence.asked_until or starts_at) < span.since:
        yield Silence(
            attribute=attribute,
            starts_at=starts_at,
            ends_at=span.since,
            asked_until=silence.asked_until,
        )
        starts_at = span.since
    # The empty one at the end brings out what is left after the last known time.
    for piece in (*known.get(attribute.name, ()), Span(silence.ends_at, silence.ends_at)):
        if piece.until < starts_at:
            continue
        ends_at = min(piece.since, silence.ends_at)
        if ends_at - starts_at > late_after():
            asked_until = min(ends_at, span.until) if starts_at < span.until else None
            yield Silence(
                attribute=attribute, starts_at=starts_at, ends_at=ends_at, asked_until=asked_until
            )
        starts_at = max(starts_at, piece.until)
