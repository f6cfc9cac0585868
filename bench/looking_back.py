"""Measure what it costs that rules look at other devices, and at the last minutes.

A thousand devices with the rule `when`, each looking at a sensor of its own that tells something
every minute: situations of all of them, as each round of decisions makes them. What the database
itself takes is not in the time.
"""

import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bench.table import Row, is_quick, show
from core.models import Attribute, Device, Gateway, Observation
from core.readings import Kind
from core.tasks.decisions.inputs import inputs_of
from core.tasks.decisions.situations import Round
from core.tasks.events.outbox import publishing

DEVICES, FEW = 1000, 10
MINUTE = timedelta(minutes=1)
HISTORY = 4 * 60
"""Values of each sensor."""
ROUNDS = 5


def main() -> None:
    count, history = (200, 120) if is_quick() else (DEVICES, HISTORY)
    now = timezone.now()
    make(count, history, now)
    rows = [of(count, minutes, now) for minutes in (0, 10, 60, HISTORY)]
    rows.append(of(FEW, 10, now))
    queries = [row.ratio for row in rows]
    same = queries[1] == queries[-1]
    rows[-1] = Row(rows[-1].what, rows[-1].measured, rows[-1].ratio, "the same", same)
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[connection.vendor]
    show(f"Looking back, {name}, {count * history:,} observations: best of {ROUNDS}", rows)


def make(count: int, history: int, now: datetime) -> None:
    with publishing():
        hub = Gateway.objects.create(vendor="shelly", name="Hub", address="http://127.0.0.1")
        for place in range(count):
            Device.objects.create(gateway=hub, vendor_id=f"fan {place}", name=f"Fan {place}")
            Device.objects.create(gateway=hub, vendor_id=f"sensor {place}", name=f"Sensor {place}")
    shared = {"observed_at": now, "heard_at": now}
    for device in Device.objects.all():
        if device.vendor_id.startswith("fan"):
            on = {"name": "on", "kind": Kind.BOOLEAN, "writable": True, "number": 0.0}
            Attribute.objects.create(device=device, **on, **shared)
        else:
            warm = {"name": "temperature", "kind": Kind.NUMBER, "number": 26.0}
            Attribute.objects.create(device=device, **warm, **shared)
    pks = Attribute.objects.filter(name="temperature").values_list("pk", flat=True)
    for pk in pks:
        Observation.objects.bulk_create(
            Observation(
                attribute_id=pk, observed_at=now - minute * MINUTE, number=26 + minute % 7 / 10
            )
            for minute in range(history)
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def of(count: int, minutes: int, now: datetime) -> Row:
    devices = ruled(count, minutes)
    seconds = []
    for _ in range(ROUNDS):
        with CaptureQueriesContext(connection) as queries:
            began = time.process_time()
            this_round = Round(devices, now)
            seconds.append(time.process_time() - began)
    kept = [inputs_of(state, this_round, {}) for state in this_round.states[:1]]
    told = sum(
        len(past["stretches"])
        for one in kept
        for other in one["others"].values()
        for past in other.get("past", {}).values()
    )
    what = f"{count:,} devices, {f'the last {minutes} min' if minutes else 'no look back'}"
    best = f"{1000 * min(seconds):,.0f} ms of processor time; {told} stretches in a receipt"
    return Row(what, best, f"{len(queries)} queries")


def ruled(count: int, minutes: int) -> Sequence[Device]:
    fans = list(Device.objects.filter(vendor_id__startswith="fan").order_by("pk")[:count])
    sensors = Device.objects.filter(vendor_id__startswith="sensor").order_by("pk")[:count]
    for fan, sensor in zip(fans, sensors, strict=True):
        fan.rule, fan.options = "when", {"device": sensor.pk, "minutes": minutes}
    with publishing():
        Device.objects.bulk_update(fans, ["rule", "options"], batch_size=500)
    found = Device.objects.filter(pk__in=[fan.pk for fan in fans])
    return list(found.select_related("gateway").prefetch_related("attributes"))


if __name__ == "__main__":
    main()
