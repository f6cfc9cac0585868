"""Strikes of lightning that programs push: what the feed lightning_nowcast looks at."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import Described, problems
from core.api.refusals import Unfit
from core.api.resource import Resource
from core.feeds._strikes import Strike, read_strike
from core.models.access import Right
from core.tasks.forecasts.store import AHEAD
from core.tasks.forecasts.strikes import MOST_STRIKES, store_strikes

WRONG = "It must have a time that is not ahead, and either both degrees or no place."


class StrikeSent(Described):
    time = serializers.DateTimeField(help_text="When it struck: `2026-08-09T21:36:40Z`.")
    latitude = serializers.FloatField(
        required=False, allow_null=True, min_value=-90, max_value=90, help_text="In degrees."
    )
    longitude = serializers.FloatField(
        required=False, allow_null=True, min_value=-180, max_value=180, help_text="In degrees."
    )


class StrikesSent(Described):
    strikes = StrikeSent(
        many=True,
        help_text=(
            f"At most {MOST_STRIKES:,}, in any order. One without a place says that you watched "
            "until then: send it every few minutes while there is no lightning."
        ),
    )


class StrikesStored(Described):
    stored = serializers.IntegerField(help_text="Those that are new, and not older than two hours.")


SOME = OpenApiExample(
    "A strike, and watched until a minute later",
    {
        "strikes": [
            {"time": "2026-08-09T21:36:40Z", "latitude": 34.25, "longitude": -110.03},
            {"time": "2026-08-09T21:37:40Z"},
        ]
    },
    request_only=True,
)


class Strikes(Resource):
    """With the right `ingest` everywhere: strikes concern every device of the home."""

    right_to_write: ClassVar[Right] = Right.INGEST

    @extend_schema(
        operation_id="push_strikes",
        summary="Push strikes of lightning",
        description=(
            "For the feed `lightning_nowcast`. All are stored or none; what is sent again is "
            "stored once. They are kept for two hours."
        ),
        request=StrikesSent,
        responses={200: StrikesStored, **problems(422)},
        examples=[SOME],
    )
    def post(self, request: Request) -> Any:
        if self.access.gateways is not None or self.access.devices is not None:
            raise PermissionDenied("A token that pushes strikes is for all gateways and devices.")
        return Response({"stored": store_strikes(_strikes(request.data), timezone.now())})


def _strikes(body: object) -> list[Strike]:
    """Return what was sent. Raises Unfit, with the place of the first that is wrong."""
    sent = body.get("strikes") if isinstance(body, dict) else None
    if not isinstance(sent, list) or not 1 <= len(sent) <= MOST_STRIKES:
        raise Unfit({"strikes": f"It must be a list of 1 to {MOST_STRIKES:,}."})
    latest = (timezone.now() + AHEAD).timestamp()
    found = []
    for index, one in enumerate(sent):
        strike = _strike(one)
        if strike is None or strike.at > latest:
            raise Unfit({f"strikes.{index}": WRONG})
        found.append(strike)
    return found


def _strike(sent: object) -> Strike | None:
    if not isinstance(sent, dict) or not sent.keys() <= {"time", "latitude", "longitude"}:
        return None
    latitude, longitude = sent.get("latitude"), sent.get("longitude")
    if isinstance(latitude, str) or isinstance(longitude, str):
        return None
    return read_strike(sent.get("time"), latitude, longitude)
