"""Measure reads of the API next to bare views, and a million observations as CSV next to COPY."""

import csv
import io
import os
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from statistics import mean, quantiles
from typing import NamedTuple
from urllib.parse import urlencode

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import override_settings
from django.utils import timezone

from bench import home
from bench.serving import serving
from bench.table import Row, is_quick, show
from core.models import Attribute, Observation, User
from core.models.access import Right
from core.tasks import tokens

DEVICES = 1000
STEP = timedelta(minutes=10)
DAY = timedelta(days=1)
MEBIBYTE = 1024 * 1024


class Cost(NamedTuple):
    """Of one request: processor time, and the wall clock's at which 99 of 100 were answered."""

    processor: float
    p99: float

    def __str__(self) -> str:
        a_second = 1 / self.processor
        return f"{1000 * self.processor:.1f} ms, {a_second:.0f}/s, p99 {1000 * self.p99:.1f} ms"


@override_settings(
    ROOT_URLCONF="bench.api_bare",
    MIDDLEWARE=[name for name in settings.MIDDLEWARE if "Static" not in name],
)
def main() -> None:
    quick = is_quick()
    rounds, moments = (10, 20) if quick else (60, 200)
    home.plugs(DEVICES)
    now = timezone.now()
    home.history(moments, now - STEP * moments, STEP)
    home.heard(now)
    person = User.objects.create(username="bench")
    token = tokens.issue(person, "bench", [Right.READ]).text
    headers = {"authorization": f"Bearer {token}"}
    client = Client(SERVER_NAME="localhost", headers=headers)

    power = Attribute.objects.filter(name="power").earliest("pk")
    # Also where all others have less, a day is a day.
    Observation.objects.bulk_create(
        Observation(attribute=power, observed_at=now - STEP * (moment + 0.5), number=moment)
        for moment in range(moments, DAY // STEP)
    )
    since = (now - DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = urlencode({"attribute": power.pk, "since": since, "limit": 1000})
    rows = []
    # The short one ten times as often: one collection of garbage must not decide.
    for what, path, times in (
        (f"{DEVICES:,} devices", "devices/?limit=1000", rounds),
        ("a day of observations", f"observations/?{wanted}", 10 * rounds),
    ):
        ours, plain, rest = in_turn(
            client, [f"/api/v1/{path}", f"/django/{path}", f"/rest/{path}"], times
        )
        ratio = ours.processor / plain.processor
        rows += [
            Row(f"{what}: a bare Django view", str(plain)),
            Row(
                f"{what}: a bare view of REST framework",
                str(rest),
                f"{rest.processor / plain.processor:.2f}",
            ),
            Row(f"{what}: the API, with a token", str(ours), f"{ratio:.2f}", "<= 2", ratio <= 2),
        ]
    rows += stream(client)
    latest = (now - STEP * 1.5).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows += memory(headers, "&" + urlencode({"name": "power", "since": latest}))
    stored = Observation.objects.count()
    each = f"{rounds} each, {10 * rounds} of a day"
    show(f"API, {home.database()}, {stored:,} observations: processor time, {each}", rows)


def in_turn(client: Client, paths: list[str], rounds: int) -> list[Cost]:
    """Ask each in turn, so that a busy moment hits all."""
    processor: list[list[float]] = [[] for _ in paths]
    wall: list[list[float]] = [[] for _ in paths]
    sizes = set()
    for number in range(rounds + 2):
        for place, path in enumerate(paths):
            began, began_wall = time.process_time(), time.perf_counter()
            response = client.get(path)
            spent, spent_wall = time.process_time() - began, time.perf_counter() - began_wall
            assert response.status_code == 200, response.content[:500]
            sizes.add(len(response.json()["results"]))
            if number >= 2:  # the first fill caches
                processor[place].append(spent)
                wall[place].append(spent_wall)
    assert len(sizes) == 1, f"they do not answer the same: {sizes}"
    return [
        Cost(mean(spent), quantiles(spent_wall, n=100)[-1])
        for spent, spent_wall in zip(processor, wall, strict=True)
    ]


def stream(client: Client) -> list[Row]:
    """All as CSV, in turn with the bare way: wall time, the best of three."""

    def ours() -> Iterable[bytes]:
        response = client.get("/api/v1/observations/?format=csv")
        assert response.status_code == 200
        return response.streaming_content

    bare = copied if connection.vendor == "postgresql" else written
    took = [(drained(bare), drained(ours)) for _ in range(3)]
    (bare_seconds, bare_bytes), (seconds, sent) = map(min, zip(*took, strict=True))
    ratio = bare_seconds / seconds
    name = "COPY through Python" if connection.vendor == "postgresql" else "csv.writer on a cursor"
    return [
        Row(f"all as CSV: {name}", f"{bare_seconds:.2f} s, {bare_bytes / MEBIBYTE:.0f} MiB"),
        Row(
            "all as CSV: the API",
            f"{seconds:.2f} s, {sent / MEBIBYTE:.0f} MiB",
            f"{ratio:.2f}",
            ">= 0.33",
            ratio >= 0.33,
        ),
    ]


def drained(make: Callable[[], Iterable[bytes]]) -> tuple[float, int]:
    """Take all of it; return the seconds that it took, and the bytes."""
    began = time.perf_counter()
    size = sum(map(len, make()))
    return time.perf_counter() - began, size


def memory(headers: dict[str, str], few: str) -> list[Row]:
    """The most that the server's process occupied, after some rows and after all."""
    with serving() as web:
        rows = [
            (f"{lines:,} rows as CSV: peak memory of the server's process", web.peak_memory)
            for query in (few, "")
            for lines in [received(web.port, f"/api/v1/observations/?format=csv{query}", headers)]
        ]
    (small, before), (large, after) = rows
    growth = after - before
    return [
        Row(small, f"{before / MEBIBYTE:.0f} MiB"),
        Row(
            large,
            f"{after / MEBIBYTE:.0f} MiB",
            f"{growth / MEBIBYTE:+.0f} MiB",
            "<= +16 MiB",
            growth <= 16 * MEBIBYTE,
        ),
    ]


def received(port: int, path: str, headers: dict[str, str]) -> int:
    """Return how many rows come, without keeping them."""
    with closing(HTTPConnection("localhost", port, timeout=600)) as server:
        server.request("GET", path, headers=headers)
        response = server.getresponse()
        assert response.status == 200, response.status
        return sum(piece.count(b"\n") for piece in iter(lambda: response.read(65536), b"")) - 1


ROWS = (
    "SELECT attribute_id, device_id, name, unit, observation.observed_at, observation.number, "
    "observation.text "
    "FROM core_observation AS observation JOIN core_attribute AS attribute "
    "ON attribute.id = attribute_id ORDER BY attribute_id, observation.observed_at"
)


def copied() -> Iterable[bytes]:
    with connection.cursor() as cursor, cursor.copy(f"COPY ({ROWS}) TO STDOUT (FORMAT csv)") as out:
        for block in out:
            yield bytes(block)


def written() -> Iterable[bytes]:
    with connection.cursor() as cursor:
        cursor.execute(ROWS)
        while rows := cursor.fetchmany(5000):
            file = io.StringIO()
            csv.writer(file).writerows(rows)
            yield file.getvalue().encode()


if __name__ == "__main__":
    main()
