"""What devices used, and what that cost: kWh, grams of CO2 and money."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import CostPage
from core.api.pagination import USUAL, ListQuery
from core.api.query import Key
from core.api.resource import Json, Resource
from core.models import Device
from core.tasks.costs import (
    MOST_DAYS,
    MOST_MONTHS,
    DeviceCosts,
    Period,
    costs,
    measured_devices,
    total,
)


class CostQuery(ListQuery):
    device = Key(required=False, help_text="This device only.")
    days = serializers.IntegerField(
        default=7, min_value=1, max_value=MOST_DAYS, help_text="So many, today included."
    )
    months = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_MONTHS,
        help_text="So many, this one included, by the month in place of days.",
    )
    limit = serializers.IntegerField(
        default=USUAL, min_value=1, max_value=USUAL, help_text="Devices of a page at most."
    )


class CostList(Resource):
    query = CostQuery
    needs_log_in = True

    costs: list[DeviceCosts]

    @extend_schema(
        operation_id="list_costs",
        summary="What devices used, and what that cost",
        description=(
            "Of those that measure energy or power, by the day or the month of the home's clock. A "
            "counter that begins anew, wraps or is of another device is never a use. Carbon and "
            "money are what was measured of each hour. What is older than observations are kept "
            "is told by hours that are summed up; what is before `known_since` is left out. "
            "`jobs` says how the device's plans of this time came out, as the scorecard does. "
            "`total` is the sum of the devices of this page; a meter of the whole home counts what "
            "its sockets count too. Needs a log-in."
        ),
        parameters=[CostQuery],
        responses=CostPage,
    )
    def get(self, request: Request) -> Response:
        found = measured_devices(self.devices()).filter(**self.conditions(device="pk"))
        answer = self.page(found, ("name", "pk"), self.shown)
        answer.data["total"] = total(one.total for one in self.costs).as_json()
        return answer

    def shown(self, devices: list[Device]) -> list[Json]:
        period = Period.of_days(self.wanted["days"])
        if "months" in self.wanted:
            period = Period.of_months(self.wanted["months"])
        self.costs = costs(devices, timezone.now(), period)
        return [one.as_json() for one in self.costs]
