"""The best time to run something: the planner and its forecasts, for whoever asks.

The answer has the names of the Carbon Aware SDK's `EmissionsForecast`, which other schedulers read,
and next to them what that does not tell:
https://github.com/Green-Software-Foundation/carbon-aware-sdk
"""

from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from core import feeds
from core.api.described import Described, Time, problems
from core.api.query import Key, Query
from core.api.refusals import Unfit, Unprocessable
from core.api.resource import Resource
from core.feeds import Signal
from core.models import Site
from core.models.access import Right
from core.schedule import first_moment, time_of_day
from core.tasks.best_window import (
    NoSuchWindow,
    NothingKnown,
    best_window,
    best_window_json,
    region_of,
)
from core.tasks.forecasts.regions import LONGEST_REGION

PLANNED = tuple(str(signal) for signal in feeds.signals() if signal.is_cost)
WEEK_MINUTES = 7 * 24 * 60


class WindowQuery(Query):
    duration = serializers.IntegerField(
        min_value=1, max_value=WEEK_MINUTES, help_text="Minutes it has to run."
    )
    before = serializers.CharField(
        required=False,
        max_length=40,
        help_text="When that has to be done: 2026-11-27T07:00:00Z, or the next 07:00 by the clock "
        "there; else a day from `after`.",
    )
    after = serializers.CharField(
        required=False,
        max_length=40,
        help_text="Not before this: a time, or the last such time of day before `before`; "
        "else now.",
    )
    signal = serializers.ChoiceField(
        default=str(Signal.CARBON_INTENSITY),
        choices=PLANNED,
        help_text="What is to be least.",
    )
    device = Key(
        required=False,
        help_text="For this device: where it is, by its clock, and with its least times.",
    )
    place = serializers.CharField(
        required=False, max_length=40, help_text="Latitude and longitude: 51.50,-0.12"
    )
    region = serializers.CharField(
        required=False, max_length=LONGEST_REGION, help_text="As the feed names it."
    )
    contiguous = serializers.ChoiceField(
        default="true", choices=["true", "false"], help_text="In one run, or in several."
    )
    watts = serializers.IntegerField(
        default=1000, min_value=1, max_value=10**9, help_text="What it draws."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len({"device", "place", "region"} & set(attrs)) > 1:
            raise ValidationError("Name one of device, place and region, or none of them.")
        return attrs


class DataPoint(Described):
    location = serializers.CharField(allow_blank=True)
    timestamp = Time(help_text="When it begins.")
    duration = serializers.FloatField(help_text="Minutes.")
    value = serializers.FloatField(allow_null=True, help_text="The mean, in `unit`.")


class ForecastPoint(DataPoint):
    origin = serializers.ChoiceField(choices=["forecast", "earlier forecast", "typical day"])


class WindowShown(Described):
    generatedAt = Time(allow_null=True, help_text="When the forecast that holds now was issued.")
    requestedAt = Time()
    location = serializers.CharField(allow_blank=True)
    dataStartAt = Time()
    dataEndAt = Time()
    windowSize = serializers.IntegerField(help_text="Minutes asked for.")
    optimalDataPoints = DataPoint(many=True, help_text="When to run: one, or several runs.")
    forecastData = ForecastPoint(many=True, help_text="What it was planned from.")
    feed = serializers.CharField()
    signal = serializers.CharField()
    unit = serializers.CharField()
    forecast = serializers.CharField(help_text="Such as `live forecast` or `typical day`.")
    isReplayed = serializers.BooleanField(help_text="All of it is data of another time.")
    earlierFrom = Time(allow_null=True, help_text="From here on an earlier forecast.")
    typicalFrom = Time(allow_null=True, help_text="From here on a typical day, not a forecast.")
    value = serializers.FloatField(allow_null=True, help_text="The mean over the run.")
    valueAtOnce = serializers.FloatField(allow_null=True, help_text="The same, begun at once.")
    cost = serializers.FloatField(help_text="Of the run, with `watts`, in `costUnit`.")
    costUnit = serializers.CharField()
    shortMinutes = serializers.FloatField(help_text="What no forecast covers in that time.")


EXAMPLE = OpenApiExample(
    "Two hours before seven",
    {
        "generatedAt": "2026-11-26T20:00:00.000Z",
        "requestedAt": "2026-11-26T20:04:11.523Z",
        "location": "13",
        "dataStartAt": "2026-11-26T20:04:11.523Z",
        "dataEndAt": "2026-11-27T07:00:00.000Z",
        "windowSize": 120,
        "optimalDataPoints": [
            {
                "location": "13",
                "timestamp": "2026-11-27T02:30:00.000Z",
                "duration": 120.0,
                "value": 92.5,
            }
        ],
        "forecastData": [
            {
                "location": "13",
                "timestamp": "2026-11-27T02:30:00.000Z",
                "duration": 30.0,
                "value": 94.0,
                "origin": "forecast",
            }
        ],
        "feed": "carbon_intensity_gb",
        "signal": "carbon_intensity",
        "unit": "gCO2/kWh",
        "forecast": "live forecast",
        "isReplayed": False,
        "earlierFrom": None,
        "typicalFrom": None,
        "value": 92.5,
        "valueAtOnce": 181.0,
        "cost": 185.0,
        "costUnit": "gCO2",
        "shortMinutes": 0.0,
    },
    response_only=True,
)


class BestWindow(Resource):
    query: ClassVar[type[Query]] = WindowQuery

    @extend_schema(
        operation_id="best_window",
        summary="The best time to run something",
        description="By the forecasts and the planner that rules use.",
        parameters=[WindowQuery],
        responses={200: WindowShown, **problems(404, 422)},
        examples=[EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        wanted, now, site = self.wanted, timezone.now(), Site.home()
        signal, device = feeds.signal(wanted["signal"]), None
        if "device" in wanted:
            device = self.device(wanted["device"], Right.READ)
        clock = site.clock_of(device) if device else site.clock
        after, before = _between(wanted.get("after"), wanted.get("before"), now, clock)
        try:
            found = best_window(
                now,
                region_of(
                    signal,
                    site,
                    device=device,
                    place=wanted.get("place", ""),
                    region=wanted.get("region", ""),
                ),
                signal,
                minutes=wanted["duration"],
                before=before,
                after=after,
                contiguous=wanted["contiguous"] == "true",
                watts=wanted["watts"],
                device=device,
            )
        except NoSuchWindow as error:
            raise Unprocessable(str(error)) from error
        except NothingKnown as error:
            raise NotFound(str(error)) from error
        return Response(best_window_json(found))


def _between(
    after: str | None, before: str | None, now: datetime, clock: ZoneInfo
) -> tuple[datetime, datetime]:
    """Return the times to plan between. Raises Unfit.

    So 22:00 and 07:00 are one night: at noon the next, at 23:00 the rest of this one.
    """
    if before is None:
        opens_at = now if after is None else _moment("after", after, now, clock)
        return opens_at, opens_at + timedelta(days=1)
    deadline = _moment("before", before, now, clock)
    if after is None:
        return now, deadline
    return _moment("after", after, deadline, clock, is_last=True), deadline


def _moment(
    name: str, written: str, than: datetime, clock: ZoneInfo, *, is_last: bool = False
) -> datetime:
    """Return a time; of a time of day the first later `than` that, or the last earlier.

    Raises Unfit.
    """
    try:
        of_day = time_of_day(written)
    except ValueError:
        return _absolute(name, written)
    day = than.astimezone(clock).date()
    moments = [first_moment(day + timedelta(days=days), of_day, clock) for days in range(-2, 3)]
    if is_last:
        return max(moment for moment in moments if moment < than)
    return min(moment for moment in moments if moment > than)


def _absolute(name: str, written: str) -> datetime:
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        found = None
    # The years at both ends cannot be moved to another zone.
    if found is None or found.tzinfo is None or not 1970 < found.year < 9000:
        # The schema says that it is a text, which it is.
        raise Unfit(
            {name: "It must be a time with a zone, 2026-11-27T07:00:00Z, or a time of day, 07:00."}
        )
    return found
