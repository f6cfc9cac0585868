"""Observations: values over time, raw or summed up by spans, as JSON, CSV or JSON by lines."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from core.api.cache import kept
from core.api.described import ObservationPage
from core.api.pagination import WRONG_CURSOR, ListQuery, pack, unpack
from core.api.query import LARGEST_KEY, Key, Keys, Moment
from core.api.rendering import CsvRenderer, JsonRenderer, LinesRenderer
from core.api.resource import Json, Resource
from core.api.streaming import streamed
from core.models import Attribute, Site
from core.models.hourly import EPOCH
from core.readings import Kind
from core.serializers import observation_json, span_json
from core.tasks import export
from core.tasks.observations import (
    BEGINNING,
    DAY,
    END,
    Range,
    edges,
    newest_or_oldest,
    spans,
)

EVERY = {
    **{f"{minutes}m": timedelta(minutes=minutes) for minutes in (1, 5, 10, 15, 30)},
    **{f"{hours}h": timedelta(hours=hours) for hours in (1, 2, 3, 4, 6, 12)},
    **{f"{days}d": timedelta(days=days) for days in (1, 7)},
}
NUMBERS = [kind for kind in Kind if kind.is_number]
FORMATS = ("json", "csv", "ndjson")


class ObservationQuery(ListQuery):
    attribute = Keys(required=False, help_text="Of these attributes: 5 or 5,6,7.")
    device = Keys(required=False, help_text="Of the attributes of these devices: 3 or 3,4.")
    gateway = Key(required=False, help_text="Of the devices of this gateway.")
    name = serializers.CharField(
        required=False, max_length=120, help_text="Of attributes of this name."
    )
    since = Moment(required=False, help_text="After this time. Spans need it.")
    until = Moment(required=False, help_text="At this time or before. By default all there are.")
    every = serializers.ChoiceField(
        required=False,
        choices=list(EVERY),
        help_text=(
            "Spans of this length in place of single values. They begin at whole multiples of it, "
            "in UTC; days at midnight by the clock of the device, weeks on Monday."
        ),
    )
    order = serializers.ChoiceField(
        default="observed_at",
        choices=["observed_at", "-observed_at"],
        help_text="Within each attribute. Spans, CSV and NDJSON are in order of time.",
    )
    format = serializers.ChoiceField(
        required=False, choices=FORMATS, help_text="In place of the header Accept."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "every" in attrs and attrs.get("since", BEGINNING) < EPOCH:
            raise ValidationError("Spans need a time to begin at: since, not before 1970.")
        return attrs


class Place(NamedTuple):
    """Where a page begins: after this time of this attribute."""

    attribute: int
    at: datetime


class Observations(Resource):
    query = ObservationQuery
    renderer_classes = (JsonRenderer, CsvRenderer, LinesRenderer)

    @extend_schema(
        operation_id="list_observations",
        summary="Values over time",
        description=(
            "One row an observation: a value holds until the next. With `every`, one row a span: "
            "the mean weighted by time, and `coverage`, the share of the span in which a value was "
            "known: in a gap the mean is null, and is not drawn. JSON comes in pages; CSV and "
            "NDJSON stream everything at once, whatever `limit` and `cursor` say."
        ),
        parameters=[ObservationQuery],
        responses={
            (200, "application/json"): ObservationPage,
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        self._now = timezone.now()
        form = self.wanted.get("format") or request.accepted_renderer.format
        if form == "csv":
            return self._streamed(self._csv(), "text/csv; charset=utf-8", "observations.csv")
        if form == "ndjson":
            lines = self._lines()
            return self._streamed(lines, "application/x-ndjson", "observations.ndjson")
        if "every" in self.wanted:
            return Response(kept(self._made_from(), lambda: self._page(self._span_rows)))
        return Response(self._page(self._rows))

    # What is asked for

    @property
    def within(self) -> Range:
        return Range(self.wanted.get("since", BEGINNING), self.wanted.get("until", END))

    def wanted_attributes(self, first: int = 0) -> list[Attribute]:
        """Return those that are asked for and may be seen, from this one on."""
        conditions = self.conditions(
            attribute="pk__among",
            device="device__pk__among",
            gateway="device__gateway",
            name="name",
        )
        found = self.attributes().filter(pk__gte=first, **conditions).order_by("pk")
        if "every" in self.wanted:
            return list(found.filter(kind__in=NUMBERS).select_related("device"))
        return list(found.only("device_id", "name", "kind", "unit"))

    # Pages of JSON

    def _made_from(self) -> object:
        """Return all that spans depend on: who may see what is in the list of attributes."""
        attributes = [
            (
                *(attribute.pk, attribute.device_id, attribute.name, attribute.unit),
                *(attribute.device.history_version, attribute.heard_at, self._last(attribute)),
            )
            for attribute in self._asked
        ]
        # A time of hearing that is ahead of our clock counts up to now only.
        is_ahead = any(one.heard_at and one.heard_at > self._now for one in self._asked)
        return self.request.build_absolute_uri(), attributes, self._now if is_ahead else None

    def _last(self, attribute: Attribute) -> object:
        """Return what tells the end of its last span, which moves on with the time."""
        every = EVERY[self.wanted["every"]]
        end = max(EPOCH, min(self.within.until, self._now)) - timedelta(microseconds=1)
        if every < DAY:
            return (end - EPOCH) // every
        zone = self._site.clock_of(attribute.device)
        return zone.key, end.astimezone(zone).date()

    def _page(self, rows: Any) -> Json:
        limit = self.wanted["limit"]
        found: list[tuple[Place, Json]] = []
        for attribute, begins in self._from_the_cursor():
            found += rows(attribute, begins, limit + 1 - len(found))
            if len(found) > limit:
                break
        following = None
        if len(found) > limit:
            place = found[limit - 1][0]
            following = replace_query_param(
                self.request.build_absolute_uri(), "cursor", pack(self._order, place)
            )
        return {"results": [row for _, row in found[:limit]], "next": following}

    def _from_the_cursor(self) -> Iterator[tuple[Attribute, datetime | None]]:
        place = self._place
        for attribute in self._asked:
            if place and attribute.pk == place.attribute:
                yield attribute, place.at
            else:
                yield attribute, None

    @property
    def _order(self) -> str:
        return f"{self.wanted.get('every', '')} {self.wanted['order']}"

    @cached_property
    def _asked(self) -> list[Attribute]:
        return self.wanted_attributes(self._place.attribute if self._place else 0)

    @cached_property
    def _place(self) -> Place | None:
        if "cursor" not in self.wanted:
            return None
        pk, text = unpack(self._order, 2, self.wanted["cursor"])
        try:
            at = parse_datetime(text)
        except (ValueError, TypeError):
            raise WRONG_CURSOR from None
        if at is None or at.tzinfo is None or type(pk) is not int or not 0 < pk <= LARGEST_KEY:
            raise WRONG_CURSOR
        return Place(pk, at)

    def _rows(
        self, attribute: Attribute, after: datetime | None, most: int
    ) -> list[tuple[Place, Json]]:
        is_newest_first = self.wanted["order"].startswith("-")
        found = newest_or_oldest(attribute, self.within, after, most, is_newest_first)
        return [
            (Place(attribute.pk, at), observation_json(attribute, at, number, text))
            for at, number, text in found
        ]

    def _span_rows(
        self, attribute: Attribute, after: datetime | None, most: int
    ) -> list[tuple[Place, Json]]:
        # The cursor is the end of the last span: the next begins there.
        starts = list(islice(self._grid(attribute, after), most + 1))
        return [
            (Place(attribute.pk, span.ends_at), span_json(attribute, span))
            for span in spans(attribute, starts, self._now, with_counts=True)
        ]

    @cached_property
    def _site(self) -> Site:
        return Site.home()

    def _grid(self, attribute: Attribute, after: datetime | None = None) -> Iterator[datetime]:
        since, until = self.within
        zone = self._site.clock_of(attribute.device)
        every = EVERY[self.wanted["every"]]
        return edges(after or since, min(until, self._now), every, zone)

    # Streams

    def _csv(self) -> Iterator[str]:
        if "every" in self.wanted:
            return export.csv_spans(self.wanted_attributes(), self._grid, self._now)
        return export.csv_table(self.wanted_attributes(), self.within)

    def _lines(self) -> Iterator[str]:
        if "every" in self.wanted:
            return export.json_spans(self.wanted_attributes(), self._grid, self._now)
        return export.json_lines(self.wanted_attributes(), self.within)

    def _streamed(self, pieces: Iterator[str], kind: str, filename: str) -> HttpResponseBase:
        return streamed(self.request._request, pieces, kind, filename)
