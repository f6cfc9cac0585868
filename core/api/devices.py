"""Devices, each with its attributes and their latest values."""

from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import DevicePage, DeviceShown
from core.api.pagination import BY_ID_OR_NAME, ListQuery
from core.api.query import Key
from core.api.resource import Json, Resource
from core.models import Device, Freshness, Site
from core.models.device import DeviceQuerySet
from core.serializers import anonymous_device_json, device_json, public_device_json


class DeviceQuery(ListQuery):
    q = serializers.CharField(
        required=False,
        max_length=200,
        help_text="Words that occur in its name, place, model, ID or gateway's name.",
    )
    gateway = Key(required=False, help_text="Of this gateway.")
    freshness = serializers.ChoiceField(
        required=False,
        choices=[state.value for state in Freshness],
        help_text="In this state.",
    )
    rule = serializers.CharField(
        required=False, max_length=40, help_text="With this rule or guard."
    )
    order = serializers.ChoiceField(default="id", choices=list(BY_ID_OR_NAME))


class DeviceResource(Resource):
    """What list and detail share: which devices may be seen, and how each is shown."""

    def devices(self) -> DeviceQuerySet:
        return super().devices().select_related("gateway")

    def shown(self, devices: Iterable[Device]) -> list[Json]:
        now, site = timezone.now(), Site.home()
        show = device_json if self.sees_all else public_device_json
        bodies = []
        for device in devices:
            attributes = sorted(device.attributes.all(), key=lambda one: one.pk)
            for attribute in attributes:
                attribute.device = device
            body = show(device, attributes, now, site)
            bodies.append(body if self.has_log_in else anonymous_device_json(body))
        return bodies


class DeviceList(DeviceResource):
    query = DeviceQuery

    @extend_schema(
        operation_id="list_devices",
        summary="Devices with their latest values",
        description="Each with its attributes. Only an administrator sees where they are.",
        parameters=[DeviceQuery],
        responses=DevicePage,
    )
    def get(self, request: Request) -> Response:
        wanted = self.wanted
        found = self.devices().filter(**self.conditions(gateway="gateway"))
        if "q" in wanted:
            found = found.matching(wanted["q"])
        if "freshness" in wanted:
            found = found.in_state(Freshness(wanted["freshness"]), timezone.now())
        if "rule" in wanted:
            found = found.filter(rule=wanted["rule"]) | found.filter(guard=wanted["rule"])
        found = found.prefetch_related("attributes")
        return self.page(found, BY_ID_OR_NAME[wanted["order"]], self.shown)


class OneDevice(DeviceResource):
    @extend_schema(
        operation_id="read_device",
        summary="One device",
        description="Only an administrator sees where it is.",
        responses=DeviceShown,
    )
    def get(self, request: Request, pk: int) -> Response:
        device: Any = self.one(self.devices().prefetch_related("attributes"), pk=pk)
        return Response(self.shown([device])[0])
