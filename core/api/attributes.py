"""Attributes of devices: what each is, and its latest value."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import AttributeOfDevice, AttributePage
from core.api.pagination import BY_ID_OR_NAME, ListQuery
from core.api.query import Key
from core.api.resource import Json, Resource
from core.models import Attribute
from core.models.attribute import AttributeQuerySet
from core.readings import Kind
from core.serializers import attribute_json

ORDERS = BY_ID_OR_NAME | {"device": ("device_id", "pk")}


class AttributeQuery(ListQuery):
    device = Key(required=False, help_text="Of this device.")
    gateway = Key(required=False, help_text="Of the devices of this gateway.")
    name = serializers.CharField(required=False, max_length=120, help_text="Such as temperature.")
    kind = serializers.ChoiceField(required=False, choices=[kind.value for kind in Kind])
    writable = serializers.BooleanField(required=False, help_text="Whether it takes orders.")
    order = serializers.ChoiceField(default="id", choices=list(ORDERS))


class AttributeResource(Resource):
    def attributes(self) -> AttributeQuerySet:
        return super().attributes().select_related("device__gateway")

    def shown(self, attributes: list[Attribute]) -> list[Json]:
        now = timezone.now()
        return [{"device": one.device_id, **attribute_json(one, now)} for one in attributes]


class AttributeList(AttributeResource):
    query = AttributeQuery

    @extend_schema(
        operation_id="list_attributes",
        summary="Attributes with their latest values",
        description="",
        parameters=[AttributeQuery],
        responses=AttributePage,
    )
    def get(self, request: Request) -> Response:
        conditions = self.conditions(
            device="device",
            gateway="device__gateway",
            name="name",
            kind="kind",
            writable="writable",
        )
        found = self.attributes().filter(**conditions)
        return self.page(found, ORDERS[self.wanted["order"]], self.shown)


class OneAttribute(AttributeResource):
    @extend_schema(
        operation_id="read_attribute",
        summary="One attribute",
        description="",
        responses=AttributeOfDevice,
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(self.shown([self.one(self.attributes(), pk=pk)])[0])
