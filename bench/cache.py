"""Measure an aggregate of the API that is kept, next to the same one made anew."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from statistics import mean
from urllib.parse import urlencode

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.test.utils import override_settings
from django.utils import timezone

from bench import home
from bench.table import Row, is_quick, show
from core.models import Attribute, Observation, User
from core.models.access import Right
from core.readings import AttributeSpec, DeviceSpec
from core.tasks import tokens

REDIS = os.environ.get("BENCH_REDIS_URL") or "redis://127.0.0.1:6379/14"
DAY = timedelta(days=1)
STEP = timedelta(seconds=30)
BACKENDS = {
    "in memory": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "in Redis": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS,
        "OPTIONS": {"serializer": "core.api.cache.Bytes"},
    },
}


@override_settings(
    DEBUG=False, MIDDLEWARE=[name for name in settings.MIDDLEWARE if "Static" not in name]
)
def main() -> None:
    rounds, days = (5, 1) if is_quick() else (40, 7)
    spec = DeviceSpec("d1", "Device", (AttributeSpec("power", unit="W"),))
    home.gateways([("http://127.0.0.1/d1", [spec])])
    now = timezone.now()
    home.history(days * (DAY // STEP), now - days * DAY, STEP)
    home.heard(now)
    token = tokens.issue(User.objects.create(username="bench"), "bench", [Right.READ]).text
    client = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {token}"})
    since = (now - days * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    attribute = Attribute.objects.get()
    path = "/api/v1/observations/?" + urlencode(
        {"attribute": attribute.pk, "since": since, "every": "1h", "limit": 1000}
    )

    def ask() -> bytes:
        response = client.get(path)
        assert response.status_code == 200, response.content[:500]
        return bytes(response.content)

    made = spent(ask, rounds, cache.clear)
    rows = [Row("made anew", f"{1000 * made:.1f} ms")]
    for name, backend in BACKENDS.items():
        with override_settings(CACHES={"default": backend}):
            cache.clear()
            found = spent(ask, rounds)
            cache.clear()
        ratio = found / made
        rows.append(Row(f"kept {name}", f"{1000 * found:.1f} ms", f"{ratio:.3f}"))
    stored = Observation.objects.count()
    show(
        f"{days} days by the hour, {home.database()}, {stored:,} observations: processor time", rows
    )


def spent(ask: Callable[[], bytes], rounds: int, before: Callable[[], object] = int) -> float:
    """Return the mean processor time of one answer; all have to be the same."""
    answers, seconds = {ask()}, []
    for _ in range(rounds):
        before()
        began = time.process_time()
        answers.add(ask())
        seconds.append(time.process_time() - began)
    assert len(answers) == 1
    return mean(seconds)


if __name__ == "__main__":
    main()
