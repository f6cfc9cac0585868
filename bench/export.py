"""Measure exporting a million observations, next to PostgreSQL's own COPY through Python."""

import os
import time
import tracemalloc
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.db import connection
from django.utils import timezone

from bench import home
from bench.table import Row, is_quick, show
from core.readings import AttributeSpec, DeviceSpec
from core.tasks import export_observations as task
from core.tasks.export_observations import Form, Wanted

ATTRIBUTES = ("temperature", "humidity", "power", "energy")
COPY = """
COPY (SELECT attribute.id, attribute.device_id, attribute.name, attribute.unit,
        to_char(observation.observed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        COALESCE(observation.number::text, observation.text)
    FROM core_observation observation JOIN core_attribute attribute
        ON attribute.id = observation.attribute_id
    ORDER BY attribute.id, observation.observed_at) TO STDOUT WITH (FORMAT csv)"""


def main() -> None:
    devices, moments = (5, 2_500) if is_quick() else (25, 10_000)
    specs = [AttributeSpec(name, unit="W") for name in ATTRIBUTES]
    home.gateways(
        [("http://127.0.0.1", [DeviceSpec(f"d{k}", f"Device {k}", specs) for k in range(devices)])]
    )
    home.history(moments, timezone.now() - timedelta(days=100), timedelta(minutes=10))
    count = devices * moments * len(ATTRIBUTES)
    with TemporaryDirectory() as folder:
        rows = measure(Path(folder) / "table", count)
    show(f"Export, {home.database()}, {count:,} observations to a file: best of 3", rows)


def measure(path: Path, count: int) -> list[Row]:
    attributes = task.attributes_of()
    long, wide = Wanted(attributes), Wanted(attributes, is_wide=True)
    lines = Wanted(attributes, form=Form.NDJSON)
    ways: dict[str, Callable[[], Iterable[str | bytes]]] = {
        "CSV, one row an observation": lambda: task.text_of(long),
        "NDJSON": lambda: task.text_of(lines),
        "CSV, wide": lambda: task.text_of(wide),
    }
    copied = None
    if connection.vendor == "postgresql":
        copied = min(timed(copy, path) for _ in range(3))
    rows = (
        [Row("`COPY` of the same table", f"{count / copied:,.0f} observations/s")] if copied else []
    )
    for name, way in ways.items():
        seconds = min(timed(way, path) for _ in range(3))
        ratio = f"{copied / seconds:.2f} of `COPY`" if copied else ""
        has_target = bool(copied) and name.startswith("CSV, one")
        rows.append(
            Row(
                name,
                f"{count / seconds:,.0f} observations/s, {peak(way):.1f} MB at most",
                ratio,
                ">= 0.33" if has_target else "",
                copied / seconds >= 1 / 3 if copied and has_target else None,
            )
        )
    return rows


def copy() -> Iterable[bytes]:
    with connection.cursor() as cursor, cursor.cursor.copy(COPY) as pieces:
        for piece in pieces:
            yield bytes(piece)


def timed(way: Callable[[], Iterable[str | bytes]], path: Path) -> float:
    began = time.perf_counter()
    with path.open("wb") as file:
        for piece in way():
            file.write(piece if isinstance(piece, bytes) else piece.encode())
    return time.perf_counter() - began


def peak(way: Callable[[], Iterable[str | bytes]]) -> float:
    """What it allocates at most, in MB; slow, so not while time is measured."""
    tracemalloc.start()
    for number, _ in enumerate(way()):
        if number > 400:
            break
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


if __name__ == "__main__":
    main()
