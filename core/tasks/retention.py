"""How long values are kept, and deleting those of some attributes that are older.

Of each attribute the value that holds when its days begin stays: a door that last moved before
would otherwise have no value in any chart.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.utils import timezone

from core.models import Attribute, Device, Observation, Run, Silence
from core.models.hourly import hour_of
from core.tasks import runs
from core.tasks.polling.statements import BulkStatement

MOST_DELETED = 5_000
"""Observations of some attributes, in one transaction."""


@dataclass(frozen=True)
class Kept:
    """What is kept, as of `now`: `days` of everything, or what the settings say."""

    now: datetime
    days: int | None = None

    def values_since(self, name: str) -> datetime:
        """Return the hour since when values of attributes of this name are kept.

        `power_2` is kept as long as `power`, unless the setting names it.
        """
        days = self.days
        if days is None:
            of_names = settings.KEEP_DAYS_OF
            base = name.rstrip("_0123456789")
            days = of_names.get(name, of_names.get(base, settings.KEEP_DAYS))
        return hour_of(self.now - timedelta(days=days))

    @property
    def hours_since(self) -> datetime:
        days = max(settings.KEEP_HOURLY_DAYS, settings.KEEP_DAYS)
        return hour_of(self.now - timedelta(days=days))


def trusted_now() -> datetime:
    """Return the time, but no later than two days after the poll of a day ago.

    A clock that runs years ahead would delete all history at once. It is believed after a day of
    polls by it.
    """
    now = timezone.now()
    polls_a_day = int(timedelta(days=1) / runs.schedule(runs.POLL).usual_gap)
    newest = Run.objects.of(runs.POLL).order_by("-pk").values_list("started_at", flat=True)
    earlier = list(newest[: polls_a_day + 1])[-1:]
    return min(now, earlier[0] + timedelta(days=2)) if earlier else now


class Old(NamedTuple):
    """What is before this time of an attribute may go."""

    attribute_id: int
    before: datetime


COLUMNS = (("attribute_id", "bigint"), ("before", "timestamptz"))
OLD_OBSERVATIONS = """DELETE FROM core_observation WHERE id IN (
        SELECT old.id FROM {rows} JOIN core_observation AS old
        ON old.attribute_id = v.attribute_id AND old.observed_at < (
            SELECT max(holding.observed_at) FROM core_observation AS holding
            WHERE holding.attribute_id = v.attribute_id AND holding.observed_at <= v.before)
        LIMIT %d)"""
# They do not overlap, so only the last that begins before then may end after it.
DELETE_SILENCES = BulkStatement(
    COLUMNS,
    """DELETE FROM core_silence WHERE id IN (
        SELECT old.id FROM {rows} JOIN core_silence AS old
        ON old.attribute_id = v.attribute_id AND old.starts_at < v.before
        AND old.ends_at < v.before)""",
)
# The latest by then stays: hours as its end have no row of their own.
DELETE_OLD_HOURS = BulkStatement(
    COLUMNS,
    """DELETE FROM core_hourlystatistics WHERE id IN (
        SELECT old.id FROM {rows} JOIN core_hourlystatistics AS old
        ON old.attribute_id = v.attribute_id AND old.starts_at < (
            SELECT max(lasting.starts_at) FROM core_hourlystatistics AS lasting
            WHERE lasting.attribute_id = v.attribute_id AND lasting.starts_at <= v.before))""",
)


# Before it observations may be gone: from then on the hours alone tell.
# Only ever later: what is gone does not come back when more days are kept.
SET_PRUNED = BulkStatement(
    COLUMNS,
    """UPDATE core_attribute SET pruned_until = v.before FROM {rows}
    WHERE core_attribute.id = v.attribute_id
    AND coalesce(core_attribute.pruned_until < v.before, true)""",
)


def delete_old(old: Sequence[Old], hours_since: datetime) -> Counter[str]:
    """Delete of these attributes what is old: call it in a transaction, with their devices locked.

    At most MOST_DELETED observations go. Return how many rows did, by what they were.
    """
    deleted = Counter[str]()
    if found := _with_something_old(old):
        pks = [one.attribute_id for one in found]
        observations = BulkStatement(COLUMNS, OLD_OBSERVATIONS % MOST_DELETED)
        deleted["observations"] = observations.run(found)
        deleted["silences"] = DELETE_SILENCES.run(found)
        SET_PRUNED.run(found)
        _let_history_grow(pks)
    deleted["hours"] = DELETE_OLD_HOURS.run([Old(one.attribute_id, hours_since) for one in old])
    if deleted["hours"]:
        _let_history_grow([one.attribute_id for one in old])
    # Without what is 0.
    return +deleted


def _with_something_old(old: Sequence[Old]) -> list[Old]:
    """Return those that have any. Nearly always none, or each a little."""
    found = list[Old]()
    for before in {one.before for one in old}:
        pks = [one.attribute_id for one in old if one.before == before]
        holding = Observation.objects.filter(attribute=OuterRef("pk"), observed_at__lte=before)
        older = Observation.objects.filter(
            attribute=OuterRef("pk"), observed_at__lt=OuterRef("holds_since")
        )
        silences = Silence.objects.filter(
            attribute=OuterRef("pk"), starts_at__lt=before, ends_at__lt=before
        )
        attributes = Attribute.objects.filter(pk__in=pks).annotate(
            holds_since=Subquery(holding.order_by("-observed_at").values("observed_at")[:1])
        )
        with_some = attributes.filter(Q(Exists(older)) | Q(Exists(silences)))
        found += [Old(pk, before) for pk in with_some.order_by().values_list("pk", flat=True)]
    return found


def _let_history_grow(attribute_pks: Collection[int]) -> None:
    devices = Device.objects.filter(
        pk__in=Attribute.objects.filter(pk__in=attribute_pks).values("device")
    )
    devices.update(history_version=F("history_version") + 1)
