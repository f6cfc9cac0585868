"""Gateways, and how polling them goes."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import GatewayPage, GatewayShown
from core.api.pagination import BY_ID_OR_NAME, ListQuery
from core.api.resource import Json, Resource
from core.models import Gateway
from core.models.gateway import GatewayQuerySet
from core.serializers import anonymous_gateway_json, gateway_json, public_gateway_json


class GatewayQuery(ListQuery):
    vendor = serializers.CharField(required=False, max_length=40)
    failing = serializers.BooleanField(
        required=False, help_text="Those that did not answer when last asked, or that did."
    )
    order = serializers.ChoiceField(default="id", choices=list(BY_ID_OR_NAME))


class GatewayResource(Resource):
    def gateways(self) -> GatewayQuerySet:
        return self.access.limit_gateways(Gateway.objects.present().with_hearing())

    def shown(self, gateways: list[Gateway]) -> list[Json]:
        show = gateway_json if self.sees_all else public_gateway_json
        bodies = [show(gateway) for gateway in gateways]
        return bodies if self.has_log_in else [anonymous_gateway_json(body) for body in bodies]


class GatewayList(GatewayResource):
    query = GatewayQuery

    @extend_schema(
        operation_id="list_gateways",
        summary="Gateways, and how polling them goes",
        description="Only an administrator sees addresses.",
        parameters=[GatewayQuery],
        responses=GatewayPage,
    )
    def get(self, request: Request) -> Response:
        wanted = self.wanted
        found = self.gateways().filter(**self.conditions(vendor="vendor"))
        if "failing" in wanted:
            found = found.filter(failures__gt=0) if wanted["failing"] else found.filter(failures=0)
        return self.page(found, BY_ID_OR_NAME[wanted["order"]], self.shown)


class OneGateway(GatewayResource):
    @extend_schema(
        operation_id="read_gateway",
        summary="One gateway",
        description="Only an administrator sees its address.",
        responses=GatewayShown,
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(self.shown([self.one(self.gateways(), pk=pk)])[0])
