"""The time series: the values of attributes by time, and the silences between them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

from django.db import connections, models
from django.db.models import Q

from core.models.attribute import Attribute

# PostgreSQL sorts NaN and infinity above it, so a CHECK against it keeps both out.
LARGEST_FLOAT = 1.7976931348623157e308


def exactly_one_value(prefix: str) -> models.CheckConstraint:
    """Make a constraint: exactly one of number and text is set, and the number is finite."""
    return models.CheckConstraint(
        condition=(
            Q(
                number__isnull=False,
                text=None,
                number__gte=-LARGEST_FLOAT,
                number__lte=LARGEST_FLOAT,
            )
            | Q(number=None, text__isnull=False)
        ),
        name=f"{prefix}_has_one_finite_value",
    )


# For each attribute and time: the number that held then; no row in a silence. Each answer costs two
# index seeks, however long the history. Silences of an attribute do not overlap, so only the latest
# before the time can contain it.
SAMPLE = """
WITH point(place, at) AS (VALUES {points})
SELECT attribute.id, point.place,
    (SELECT observation.number FROM core_observation observation
     WHERE observation.attribute_id = attribute.id AND observation.observed_at <= point.at
     ORDER BY observation.observed_at DESC LIMIT 1)
FROM core_attribute attribute CROSS JOIN point
WHERE attribute.id IN ({attributes}) AND NOT COALESCE(
    (SELECT silence.ends_at FROM core_silence silence
     WHERE silence.attribute_id = attribute.id AND silence.starts_at < point.at
     ORDER BY silence.starts_at DESC LIMIT 1) > point.at, FALSE)
"""


# How many numbers an attribute has from each time up to the next: one walk along the index.
COUNTS = """
WITH edge(at) AS (VALUES {edges}),
    span AS (SELECT at, LEAD(at) OVER (ORDER BY at) AS until FROM edge)
SELECT (SELECT count(*) FROM core_observation observation
    WHERE observation.attribute_id = %s AND observation.number IS NOT NULL
    AND observation.observed_at >= span.at AND observation.observed_at < span.until)
FROM span WHERE span.until IS NOT NULL ORDER BY span.at
"""
MOST_EDGES = 500
"""Times in one query, each a parameter: old versions of SQLite allow 999."""


class ObservationQuerySet(models.QuerySet["Observation"]):
    def between(self, since: datetime, until: datetime) -> Self:
        return self.filter(observed_at__gt=since, observed_at__lte=until).order_by("observed_at")

    def sample(
        self, attribute_pks: Sequence[int], times: Sequence[datetime]
    ) -> dict[int, list[float | None]]:
        """Read each attribute's number at each time: its latest by then, None in a silence.

        One query gives len(attribute_pks) x len(times) answers. The time since an attribute was
        last heard is not stored as a silence yet: callers leave out what lies after `heard_at`.
        """
        samples: dict[int, list[float | None]] = {pk: [None] * len(times) for pk in attribute_pks}
        if not samples or not times:
            return samples
        connection = connections[self.db]
        query = SAMPLE.format(
            points=", ".join(["(%s, %s)"] * len(times)), attributes=", ".join(["%s"] * len(samples))
        )
        points = [
            (place, connection.ops.adapt_datetimefield_value(time))
            for place, time in enumerate(times)
        ]
        with connection.cursor() as cursor:
            cursor.execute(query, [*(part for point in points for part in point), *samples])
            for pk, place, number in cursor.fetchall():
                samples[pk][place] = number
        return samples

    def counts(self, attribute_pk: int, times: Sequence[datetime]) -> list[int]:
        """Count an attribute's numbers from each of these times, in order, up to the next one."""
        connection, found = connections[self.db], list[int]()
        for start in range(0, len(times) - 1, MOST_EDGES - 1):
            part = times[start : start + MOST_EDGES]
            query = COUNTS.format(edges=", ".join(["(%s)"] * len(part)))
            adapted = map(connection.ops.adapt_datetimefield_value, part)
            with connection.cursor() as cursor:
                cursor.execute(query, [*adapted, attribute_pk])
                found += [count for (count,) in cursor.fetchall()]
        return found


class Observation(models.Model):
    """One value at one time. Never changed; only `record()` stores them."""

    attribute = models.ForeignKey(
        Attribute, on_delete=models.CASCADE, related_name="observations", db_index=False
    )
    observed_at = models.DateTimeField()
    number = models.FloatField(null=True)
    text = models.CharField(max_length=255, null=True)  # noqa: DJ001 (null: the value is a number)

    objects = ObservationQuerySet.as_manager()

    class Meta:
        constraints = (
            # Also the index for: the latest before a time, a range of times, of one attribute.
            models.UniqueConstraint(
                fields=["attribute", "observed_at"], name="one_observation_per_time"
            ),
            exactly_one_value("observation"),
        )

    def __str__(self) -> str:
        value = self.number if self.text is None else self.text
        return f"{value} at {self.observed_at:%Y-%m-%d %H:%M:%S}"


class SilenceQuerySet(models.QuerySet["Silence"]):
    def unasked(self) -> Self:
        """Those that the vendor's history was not, or not wholly, asked for."""
        return self.filter(UNASKED)


UNASKED = Q(asked_until=None) | Q(asked_until__lt=models.F("ends_at"))


class Silence(models.Model):
    """A time in which nothing was heard of an attribute: charts show a gap.

    Hearing the same value again is no silence. Where the vendor keeps a history, backfill asks it
    for this time, and takes from it what is known then.
    """

    attribute = models.ForeignKey(
        Attribute, on_delete=models.CASCADE, related_name="silences", db_index=False
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    asked_until = models.DateTimeField(
        null=True, editable=False, help_text="Until then the vendor's history was asked for it"
    )
    failures = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="In a row, of asking the vendor's history for what comes next",
    )

    objects = SilenceQuerySet.as_manager()

    class Meta:
        indexes = (
            # Those of the last days that the vendor's history is still to be asked for.
            models.Index(fields=["ends_at"], condition=UNASKED, name="silence_unasked"),
        )
        constraints = (
            # Also the index for: silences of one attribute that begin before a time.
            models.UniqueConstraint(
                fields=["attribute", "starts_at"], name="one_silence_per_start"
            ),
            models.CheckConstraint(
                condition=Q(starts_at__lt=models.F("ends_at")), name="silence_ends_after_its_start"
            ),
        )

    def __str__(self) -> str:
        return f"silent from {self.starts_at} to {self.ends_at}"


class Span(NamedTuple):
    """What an attribute was from one time to another. `coverage`: of this share it is known.

    `mean` is weighted by time: a value holds until the next one, or until nothing was heard.
    `minutes_on`: so long it was known not to be 0. `observation_count` is from its start up to
    its end; None where that is not known, or was not asked for.
    """

    starts_at: datetime
    ends_at: datetime
    mean: float | None
    minimum: float | None
    maximum: float | None
    coverage: float
    minutes_on: float | None = None
    observation_count: int | None = None
