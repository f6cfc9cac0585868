"""Holds: a device stays as it is, and no rule changes it."""

from datetime import timedelta

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.body import Body, parse_body
from core.api.described import Described, HoldShown
from core.api.problems import NOTHING_HERE
from core.api.resource import Json, Resource
from core.models import Device
from core.models.access import Right
from core.serializers import anonymous_hold_json, hold_json
from core.tasks.orders import holds

LONGEST_MINUTES = 7 * 24 * 60


class HoldOfDevice(Described):
    hold = HoldShown(allow_null=True, help_text="null: its rule decides.")


class Hold(Body):
    minutes = serializers.IntegerField(
        allow_null=True,
        default=None,
        min_value=1,
        max_value=LONGEST_MINUTES,
        help_text="For so long; null: until it is released.",
    )


class HoldResource(Resource):
    @extend_schema(
        operation_id="read_hold",
        summary="Whether a person holds the device, until when and why",
        responses=HoldOfDevice,
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(self._shown(self.device(pk, Right.READ)))

    @extend_schema(
        operation_id="hold",
        summary="Keep rules away from the device",
        description="In place of the hold there is. What a rule ordered and is not sent yet, is "
        "taken back.",
        request=Hold,
        responses=HoldOfDevice,
        examples=[OpenApiExample("For an hour", {"minutes": 60}, request_only=True)],
    )
    def put(self, request: Request, pk: int) -> Response:
        minutes = parse_body(Hold, request)["minutes"]
        until = timezone.now() + timedelta(minutes=minutes) if minutes else None
        device = self.device(pk, Right.CONTROL)
        try:
            return Response(self._shown(holds.hold(device.pk, until, f"held by {request.user}")))
        except Device.DoesNotExist:
            raise NotFound(NOTHING_HERE) from None

    @extend_schema(
        operation_id="release",
        summary="Let rules decide again",
        description="The same if nobody holds it.",
        request=None,
        responses={200: HoldOfDevice},
    )
    def delete(self, request: Request, pk: int) -> Response:
        device = self.device(pk, Right.CONTROL)
        try:
            return Response(self._shown(holds.release(device.pk)))
        except Device.DoesNotExist:
            raise NotFound(NOTHING_HERE) from None

    def _shown(self, device: Device) -> Json:
        hold = hold_json(device, timezone.now())
        return {"hold": hold if self.has_log_in else anonymous_hold_json(hold)}
