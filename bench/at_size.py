"""Measure pages and the API with a million and with ten million observations stored, and summed up
by the hour.

`BENCH_OBSERVATIONS` is another number than ten million, such as 100000000: for each of them some
200 bytes of disk, and 20 us to sum it up.
"""

import os
import shutil
import time
from datetime import timedelta
from urllib.parse import urlencode

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import override_settings
from django.utils import timezone

from bench import home
from bench.table import Row, is_quick, show
from core.models import Attribute, Observation, User
from core.models.access import Right
from core.tasks import tokens
from core.tasks.roll_up import roll_up

DEVICES = 40
STEP = timedelta(minutes=10)
BYTES = 200
"""Of disk for each observation, with its index, its share of an hour, and what is written before
it is stored for good."""
MOST_TIMES = 1.5
"""What the larger history may cost, of the same range of time: its rows lie further apart."""


# Without `collectstatic`: where the style sheet lies makes no difference here.
@override_settings(
    STORAGES=settings.STORAGES
    | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    MIDDLEWARE=[name for name in settings.MIDDLEWARE if "whitenoise" not in name],
)
def main() -> None:
    quick = is_quick()
    wanted = int(os.environ.get("BENCH_OBSERVATIONS") or 10_000_000)
    look_for_room(wanted)
    attributes = DEVICES * len(home.SPECS)
    rounds, few_moments, many_moments = (7, 5_000, wanted // attributes)
    if quick:
        rounds, few_moments, many_moments = (3, 500, 2_000)
    home.plugs(DEVICES)
    token = tokens.issue(User.objects.create(username="bench"), "bench", [Right.READ]).text
    client = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {token}"})
    now = timezone.now()
    home.history(few_moments, now - STEP * few_moments, STEP)
    home.heard(now)
    roll_up()
    few_stored = Observation.objects.count()
    few = {what: best(client, path, rounds) for what, path in paths().items()}
    # Before the others in time, so that the same range has as many rows as it had.
    older = many_moments - few_moments
    home.history(older, now - STEP * many_moments - timedelta(seconds=7), STEP)
    roll_up()
    many = {what: best(client, path, rounds) for what, path in paths().items()}
    rows = [compare(what, few[what], many[what], few_stored) for what in few]
    # They read more with a larger history, and have nothing to be compared with.
    for what, path in long_paths().items():
        rows.append(Row(what, f"{1000 * best(client, path, rounds):.0f} ms"))
    stored = Observation.objects.count()
    show(f"At size, {home.database()}, {stored:,} observations: best of {rounds}", rows)


def paths() -> dict[str, str]:
    device = f"/devices/{Attribute.objects.order_by('pk')[0].device_id}/"
    return {
        "the status page": "/",
        "a device's page, 24 hours": device,
        "a device's page, 30 days": f"{device}?span=month",
        "API: 1,000 observations": observations(days=30, limit=1000),
        "API: 30 days by the hour": observations(every="1h", days=30, limit=1000),
        "API: 30 days by the day": observations(every="1d", days=30),
    }


def long_paths() -> dict[str, str]:
    device = f"/devices/{Attribute.objects.order_by('pk')[0].device_id}/"
    return {
        "a device's page, 12 months": f"{device}?span=year",
        "API: 400 days by the day": observations(every="1d", days=400),
    }


def look_for_room(count: int) -> None:
    """Stop before the disk of a server on this machine is full."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        [folder] = cursor.fetchone()
    if os.path.isdir(folder) and (free := shutil.disk_usage(folder).free) < count * BYTES:
        raise SystemExit(f"{count:,} observations need {count * BYTES:,} bytes; {free:,} are free.")


def observations(days: int, **wanted: str | int) -> str:
    attribute = Attribute.objects.filter(name="temperature").order_by("pk")[0]
    since = (timezone.now() - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return "/api/v1/observations/?" + urlencode(
        {"attribute": attribute.pk, "since": since, **wanted}
    )


def best(client: Client, path: str, rounds: int) -> float:
    """Return the seconds of the fastest answer, made anew each time."""
    seconds = []
    for _ in range(rounds + 2):
        cache.clear()
        began = time.perf_counter()
        response = client.get(path)
        seconds.append(time.perf_counter() - began)
        assert response.status_code == 200, (path, response.content[:500])
    return min(seconds)


def compare(what: str, few: float, many: float, few_stored: int) -> Row:
    ratio = many / few
    return Row(
        what,
        f"{1000 * many:.0f} ms",
        f"{ratio:.2f} x that of {few_stored:,} observations",
        f"<= {MOST_TIMES}",
        ratio <= MOST_TIMES,
    )


if __name__ == "__main__":
    main()
