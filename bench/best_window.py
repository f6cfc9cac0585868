"""Measure best-window over the API next to a bare view that asks the same planner."""

import os
import time
from datetime import timedelta
from statistics import mean, quantiles

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import include, path
from django.utils import timezone

from bench import home
from bench.table import Row, is_quick, show
from core.feeds import Signal
from core.models import Site, User
from core.models.access import Right
from core.tasks import tokens
from core.tasks.best_window import best_window, best_window_json, region_of
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.regions import Region

HOURS = 12
TARGET = 2.0


def bare(request: HttpRequest) -> JsonResponse:
    now, signal = timezone.now(), Signal.CARBON_INTENSITY
    region = region_of(signal, Site.home())
    before = now + timedelta(hours=HOURS)
    return JsonResponse(
        best_window_json(best_window(now, region, signal, minutes=120, before=before))
    )


urlpatterns = [path("bare", bare), path("", include("iotapp.urls"))]


@override_settings(
    ROOT_URLCONF="bench.best_window",
    FEEDS=["replay"],
    MIDDLEWARE=[name for name in settings.MIDDLEWARE if "Static" not in name],
)
def main() -> None:
    rounds = 20 if is_quick() else 200
    fetch_regions([Region("replay", "")])
    user = User.objects.create(username="bench")
    token = tokens.issue(user, "bench", [Right.READ]).text
    client = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {token}"})
    before = (timezone.now() + timedelta(hours=HOURS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    paths = ["/bare", f"/api/v1/best-window/?duration=120&before={before}"]
    spent: dict[str, list[tuple[float, float]]] = {each: [] for each in paths}
    for _ in range(rounds):
        for each in paths:  # in turn, so that a busy moment hits both
            began, began_wall = time.process_time(), time.perf_counter()
            response = client.get(each)
            ended = time.process_time() - began, time.perf_counter() - began_wall
            assert response.json()["optimalDataPoints"], response.content
            spent[each].append(ended)
    plain, ours = (mean(processor for processor, _ in spent[each]) for each in paths)
    ratio = ours / plain
    rows = [
        Row("a bare Django view", _said(spent[paths[0]])),
        Row(
            "the API, with a token",
            _said(spent[paths[1]]),
            f"{ratio:.2f}",
            f"<= {TARGET:g}",
            ratio <= TARGET,
        ),
    ]
    title = f"best-window, {home.database()}: two hours of the next {HOURS}, {rounds} each"
    show(f"{title}: processor time", rows)


def _said(spent: list[tuple[float, float]]) -> str:
    processor = mean(each for each, _ in spent)
    p99 = quantiles([wall for _, wall in spent], n=100)[-1]
    return f"{1000 * processor:.1f} ms, {1 / processor:.0f}/s, p99 {1000 * p99:.1f} ms"


if __name__ == "__main__":
    main()
