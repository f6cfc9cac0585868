"""Measure `record()` for a gateway that answers for 1,000 devices with 3 attributes each, next to
ways of storing less."""

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.db import connection, transaction
from django.utils import timezone

from bench import home
from bench.table import Row, is_quick, show
from core.models import Attribute, Gateway, Observation
from core.readings import AttributeSpec, DeviceSpec, Kind, Reading
from core.tasks.polling.record import GatewayAnswer, record

DEVICES = 1000
VALUES = {"temperature": 21.5, "on": True, "mode": "heat"}
SPECS = (
    AttributeSpec("temperature", unit="°C", minimum=-100, maximum=1000),
    AttributeSpec("on", Kind.BOOLEAN, writable=True),
    AttributeSpec("mode", Kind.CHOICE, choices=("heat", "cool", "off"), writable=True),
)
STORED = {"temperature": (21.5, None), "on": (1.0, None), "mode": (None, "heat")}

Way = Callable[[datetime], float]


def main() -> None:
    quick = is_quick()
    rounds, moments = (4, 50) if quick else (10, 800)
    [gateway] = home.gateways(
        [("http://127.0.0.1", [DeviceSpec(f"d{k}", f"Device {k}", SPECS) for k in range(DEVICES)])]
    )
    connection.set_autocommit(True)
    for rows in (0, moments * DEVICES * len(SPECS)):
        if rows:
            home.history(moments, timezone.now() - timedelta(days=400), timedelta(minutes=10))
        title = f"{home.database()}, {rows:,} observations stored before: best of {rounds}"
        measure(title, ways(gateway), rounds, has_target=rows > 0 or connection.vendor != "sqlite")


def measure(title: str, found: dict[str, Way], rounds: int, has_target: bool) -> None:
    """Measure and show. The ways take turns, each with times of its own, so that all of them store
    rows that are new. An empty SQLite file has no target: nothing is in an index yet, and a file is
    like that for a day."""
    best = dict.fromkeys(found, float("inf"))
    for number in range(rounds):
        for name, way in found.items():
            if name == "bulk" and number:  # it takes two seconds
                continue
            best[name] = min(best[name], way(timezone.now()))
    raw, ours, bulk = best.values()
    count = DEVICES * len(SPECS)
    show(
        f"Recording, {title}",
        [
            Row("raw `executemany`, observations only", f"{count / raw:,.0f} observations/s"),
            Row(
                "`record()`, with latest values, devices, gateway",
                f"{count / ours:,.0f} observations/s",
                f"{100 * raw / ours:.0f}% of raw",
                ">= 50%" if has_target else "",
                raw / ours >= 0.5 if has_target else None,
            ),
            Row(
                "Django's `bulk_create` and `bulk_update`",
                f"{count / bulk:,.0f} observations/s",
                f"{bulk / ours:.1f} x slower",
            ),
        ],
    )


def ways(gateway: Gateway) -> dict[str, Way]:
    attributes = list(Attribute.objects.order_by("pk"))
    vendor_ids = [f"d{k}" for k in range(DEVICES)]
    readings = [
        Reading(vendor_id, name, value)
        for vendor_id in vendor_ids
        for name, value in VALUES.items()
    ]

    def raw(at: datetime) -> float:
        """The driver's own, into the same table, rows made before the clock starts."""
        is_sqlite = connection.vendor == "sqlite"
        observed_at = at.replace(tzinfo=None).isoformat(" ") if is_sqlite else at
        rows = [(attribute.pk, observed_at, *STORED[attribute.name]) for attribute in attributes]
        marks = ", ".join(["?" if is_sqlite else "%s"] * 4)
        columns = "attribute_id, observed_at, number, text"
        sql = f"INSERT INTO core_observation ({columns}) VALUES ({marks})"

        def store() -> None:
            with transaction.atomic():
                connection.connection.cursor().executemany(sql, rows)

        return timed(store)

    def ours(at: datetime) -> float:
        answer = GatewayAnswer(gateway.pk, at, vendor_ids, readings)
        return timed(lambda: record([answer]))

    def bulk(at: datetime) -> float:
        """Rows made before the clock starts, and what `record()` reads and locks left out."""
        rows = [
            Observation(
                attribute=attribute,
                observed_at=at,
                number=STORED[attribute.name][0],
                text=STORED[attribute.name][1],
            )
            for attribute in attributes
        ]
        for attribute in attributes:
            attribute.number, attribute.text = STORED[attribute.name]
            attribute.observed_at = attribute.heard_at = at

        def store() -> None:
            with transaction.atomic():
                Observation.objects.bulk_create(rows, ignore_conflicts=True)
                Attribute.objects.bulk_update(
                    attributes, ["number", "text", "observed_at", "heard_at", "available"], 500
                )

        return timed(store)

    connection.ensure_connection()
    return {"raw": raw, "ours": ours, "bulk": bulk}


def timed(store: Callable[[], Any]) -> float:
    before = Observation.objects.count() if connection.vendor == "sqlite" else None
    began = time.perf_counter()
    store()
    seconds = time.perf_counter() - began
    assert before is None or Observation.objects.count() == before + DEVICES * len(SPECS)
    return seconds


if __name__ == "__main__":
    main()
