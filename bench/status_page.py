"""Measure the status page of 1,000 devices: queries, and seconds with little and much history."""

import os
import time
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from bench import home
from bench.table import Row, is_quick, show
from core.models import Observation

DEVICES = 1000
PAGES = {"the first page": "/", "the last page": "/?page=20"}
FEW_MOMENTS = 10


# Without `collectstatic`: where the style sheet lies makes no difference here.
@override_settings(
    STORAGES=settings.STORAGES
    | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    MIDDLEWARE=[name for name in settings.MIDDLEWARE if "whitenoise" not in name],
)
def main() -> None:
    quick = is_quick()
    rounds, many_moments = (5, 100) if quick else (15, 1000)
    home.plugs(DEVICES)
    now = timezone.now()
    home.history(FEW_MOMENTS, now - timedelta(days=1), timedelta(days=1) / FEW_MOMENTS)
    home.heard()
    few = {name: best(path, rounds) for name, path in PAGES.items()}
    few_stored = Observation.objects.count()
    step = timedelta(minutes=10)
    home.history(many_moments - FEW_MOMENTS, now - step * many_moments - timedelta(seconds=7), step)
    home.heard()
    stored = Observation.objects.count()
    rows = []
    for name, path in PAGES.items():
        rows += compare(name, path, few[name], best(path, rounds), stored, few_stored)
    size = f"{DEVICES:,} devices, {stored:,} observations"
    show(f"Status page, {home.database()}, {size}: best of {rounds}", rows)


def compare(
    name: str, path: str, few: float, many: float, stored: int, few_stored: int
) -> list[Row]:
    count, queries = looked_up(path)
    ratio = many / few
    return [
        Row(f"{name}: devices on it", str(count), target="50", met=count == 50),
        Row(f"{name}: queries", str(queries), target="<= 6", met=queries <= 6),
        Row(
            f"{name}: time",
            f"{1000 * many:.0f} ms",
            f"{ratio:.2f} x that of {few_stored:,} observations",
            "about 1",
            ratio <= 1.5,
        ),
    ]


def best(path: str, rounds: int) -> float:
    client = Client(SERVER_NAME="localhost")
    seconds = []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        assert client.get(path).status_code == 200
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def looked_up(path: str) -> tuple[int, int]:
    with CaptureQueriesContext(connection) as queries:
        page = Client(SERVER_NAME="localhost").get(path).content.decode()
    return page.count('<li class="device '), len(queries)


if __name__ == "__main__":
    main()
