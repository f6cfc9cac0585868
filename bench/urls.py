"""What a page without a socket would poll, and the counters of the follower.

All other addresses are the application's.
"""

from collections import Counter

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from core.models import Event

counts: Counter[str] = Counter()
"""In bench/served.py."""


def events(request: HttpRequest) -> JsonResponse:
    """List the events after one: one query, no session, no log-in."""
    after = int(request.GET["after"])
    events = Event.objects.after(after).values("id", "kind", "device", "gateway", "body")[:500]
    return JsonResponse({"events": list(events)})


def counted(request: HttpRequest) -> JsonResponse:
    return JsonResponse(counts)


urlpatterns = [
    path("bench/events", events),
    path("bench/counted", counted),
    path("", include("iotapp.urls")),
]
