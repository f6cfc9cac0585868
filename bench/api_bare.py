"""What the API is measured against: the same answers from views without anything around them."""

from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.models import Attribute, Device, Observation, Site
from core.serializers import Json, observation_json, public_device_json


def devices() -> Json:
    now, site, bodies = timezone.now(), Site.home(), []
    found = Device.objects.present().select_related("gateway").prefetch_related("attributes")
    for device in found.order_by("pk")[:1000]:
        attributes = sorted(device.attributes.all(), key=lambda one: one.pk)
        for attribute in attributes:
            attribute.device = device
        bodies.append(public_device_json(device, attributes, now, site))
    return {"results": bodies, "next": None}


def day(pk: str, since: str) -> Json:
    attribute = Attribute.objects.get(pk=pk)
    found = Observation.objects.filter(attribute=attribute, observed_at__gt=parse_datetime(since))
    rows = found.order_by("observed_at").values_list("observed_at", "number", "text")[:1000]
    return {"results": [observation_json(attribute, *row) for row in rows], "next": None}


def django_devices(request: HttpRequest) -> JsonResponse:
    return JsonResponse(devices())


def django_day(request: HttpRequest) -> JsonResponse:
    return JsonResponse(day(request.GET["attribute"], request.GET["since"]))


class RestDevices(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response(devices())


class RestDay(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response(day(request.query_params["attribute"], request.query_params["since"]))


urlpatterns = [
    path("django/devices/", django_devices),
    path("django/observations/", django_day),
    path("rest/devices/", RestDevices.as_view()),
    path("rest/observations/", RestDay.as_view()),
    path("", include("iotapp.urls")),
]
