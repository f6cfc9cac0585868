"""Data of feeds: forecasts by the time they were issued, and what was measured."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.cache import kept
from core.api.described import ForecastPage, ForecastShown, MeasurementPage
from core.api.pagination import ListQuery
from core.api.query import Moment
from core.api.resource import Json, Resource, Row
from core.feeds import signals
from core.models import FeedSource, Forecast, Measurement
from core.models.forecast import OF_A_DEVICE
from core.serializers import anonymous_series_json, forecast_json, measurement_json

ISSUES = {"-issued_at": ("-issued_at", "-pk"), "issued_at": ("issued_at", "pk")}
TIMES = {"starts_at": ("starts_at", "pk"), "-starts_at": ("-starts_at", "-pk")}


class SeriesQuery(ListQuery):
    feed = serializers.CharField(required=False, max_length=40)
    region = serializers.CharField(
        required=False, max_length=60, help_text="As the feed calls it. Needs a log-in."
    )
    signal = serializers.ChoiceField(required=False, choices=list(map(str, signals())))
    known_by = Moment(required=False, help_text="Only what had arrived by then.")


class ForecastQuery(SeriesQuery):
    issued_since = Moment(required=False, help_text="Issued after this time.")
    issued_until = Moment(required=False, help_text="Issued at this time or before.")
    order = serializers.ChoiceField(default="-issued_at", choices=list(ISSUES))


class MeasurementQuery(SeriesQuery):
    since = Moment(required=False, help_text="Of times that begin after this one.")
    until = Moment(required=False, help_text="Of times that begin at this one or before.")
    order = serializers.ChoiceField(default="starts_at", choices=list(TIMES))


class SeriesResource(Resource):
    def seen(self, found: QuerySet[Row]) -> QuerySet[Row]:
        """Leave out what devices measured, for those who are limited to some devices."""
        found = found.select_related("series__source")
        if self.access.is_limited:
            found = found.exclude(series__source__region__startswith=OF_A_DEVICE)
        return found

    def filters(self, **lookups: str) -> dict[str, Any]:
        """Make the conditions: the fields of a series, and these by the name of their parameter."""
        if "region" in self.wanted and not self.has_log_in:
            self.permission_denied(self.request)
        return self.conditions(
            feed="series__source__feed",
            region="series__source__region",
            signal="series__signal",
            known_by="known_at__lte",
            **lookups,
        )

    def kept_page(
        self,
        found: QuerySet[Row],
        keys: Sequence[str],
        shown: Callable[[list[Row]], list[Json]],
    ) -> Response:
        """Answer the page, or the one of before while no source has told anything since."""
        sources = list(FeedSource.objects.order_by("pk").values_list("pk", "history_version"))
        # The statement holds whatever somebody may not see, by any filter.
        statement = found.query.sql_with_params()
        made_from = (self.request.build_absolute_uri(), self.has_log_in, statement, sources)
        return Response(kept(made_from, lambda: self.page(found, keys, shown).data))

    def publicly(self, bodies: list[Json]) -> list[Json]:
        return bodies if self.has_log_in else [anonymous_series_json(body) for body in bodies]


class ForecastList(SeriesResource):
    query = ForecastQuery

    @extend_schema(
        operation_id="list_forecasts",
        summary="Forecasts by the time they were issued",
        description=(
            "Each with all its slots. With `known_by`, what could be known at a time: for models "
            "that are tried on the past. The region is told with a log-in only."
        ),
        parameters=[ForecastQuery],
        responses=ForecastPage,
    )
    def get(self, request: Request) -> Response:
        found = self.seen(Forecast.objects.all()).filter(
            **self.filters(issued_since="issued_at__gt", issued_until="issued_at__lte")
        )
        return self.kept_page(found, ISSUES[self.wanted["order"]], self.shown)

    def shown(self, forecasts: list[Forecast]) -> list[Json]:
        return self.publicly([forecast_json(one) for one in forecasts])


class OneForecast(SeriesResource):
    @extend_schema(
        operation_id="read_forecast",
        summary="One forecast",
        description="",
        responses=ForecastShown,
    )
    def get(self, request: Request, pk: int) -> Response:
        forecast = self.one(self.seen(Forecast.objects.all()), pk=pk)
        return Response(self.publicly([forecast_json(forecast)])[0])


class MeasurementList(SeriesResource):
    query = MeasurementQuery

    @extend_schema(
        operation_id="list_measurements",
        summary="What was measured of a signal",
        description=(
            "Sources revise values: each revision is a row, with the time since which it is known. "
            "The region is told with a log-in only."
        ),
        parameters=[MeasurementQuery],
        responses=MeasurementPage,
    )
    def get(self, request: Request) -> Response:
        found = self.seen(Measurement.objects.all()).filter(
            **self.filters(since="starts_at__gt", until="starts_at__lte")
        )
        return self.kept_page(found, TIMES[self.wanted["order"]], self.shown)

    def shown(self, measurements: list[Measurement]) -> list[Json]:
        return self.publicly([measurement_json(one) for one in measurements])
