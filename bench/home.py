"""Rows to measure with: gateways, devices, attributes, and years of history in seconds."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from core.models import Attribute, Device, Gateway, Run
from core.models.run import Outcome
from core.readings import AttributeSpec, DeviceSpec, Kind
from core.tasks import runs
from core.tasks.events.outbox import publishing

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

SPECS = (
    AttributeSpec("on", Kind.BOOLEAN, writable=True),
    AttributeSpec("power", unit="W"),
    AttributeSpec("energy", unit="kWh"),
    AttributeSpec("temperature", unit="°C"),
    AttributeSpec("humidity", unit="%"),
)
"""Of a plug with a sensor."""

OBSERVATIONS = {
    "sqlite": """
        WITH RECURSIVE moment(number) AS (
            SELECT 0 UNION ALL SELECT number + 1 FROM moment WHERE number < %s - 1)
        INSERT INTO core_observation (attribute_id, observed_at, number)
        SELECT attribute.id,
            strftime('%%Y-%%m-%%d %%H:%%M:%%S', %s + moment.number * %s, 'unixepoch'),
            CASE attribute.kind WHEN 'boolean' THEN moment.number %% 2
                ELSE 20 + moment.number %% 50 / 10.0 END
        FROM moment CROSS JOIN core_attribute AS attribute""",
    "postgresql": """
        INSERT INTO core_observation (attribute_id, observed_at, number)
        SELECT attribute.id, to_timestamp(%s + moment * %s),
            CASE attribute.kind WHEN 'boolean' THEN moment %% 2 ELSE 20 + moment %% 50 / 10.0 END
        FROM generate_series(0, %s - 1) AS moment CROSS JOIN core_attribute AS attribute
        ORDER BY moment""",
}
"""In the order of time, as polls store them: what belongs to one attribute lies far apart."""


def database() -> str:
    return DATABASES[connection.vendor]


def gateways(specs: Sequence[tuple[str, Sequence[DeviceSpec]]]) -> list[Gateway]:
    """Store gateways, by address, with their devices, as `add_gateway` would one at a time."""
    stored = Gateway.objects.bulk_create(
        [Gateway(vendor="shelly", name=address, address=address) for address, _ in specs]
    )
    devices, attributes = [], []
    for gateway, (_, device_specs) in zip(stored, specs, strict=True):
        for spec in device_specs:
            device = Device(
                gateway=gateway, vendor_id=spec.vendor_id, name=spec.name, model=spec.model
            )
            devices.append(device)
            attributes += [Attribute.of(device, attribute) for attribute in spec.attributes]
    # Sets the primary keys that the attributes refer to.
    Device.objects.bulk_create(devices)
    Attribute.objects.bulk_create(attributes)
    return stored


def plugs(count: int) -> None:
    """Store so many gateways, each with one plug that has a sensor: `SPECS`."""
    specs = [DeviceSpec(f"d{number}", f"Device {number:04}", SPECS) for number in range(count)]
    gateways([(f"http://127.0.0.1/{spec.vendor_id}", [spec]) for spec in specs])


def history(moments: int, start: datetime, step: timedelta) -> None:
    """Store an observation of every attribute at so many moments.

    Not by record(), which would note that hours are to be summed up anew.
    """
    Attribute.objects.update(rolled_until=None)
    times = (start.timestamp(), step.total_seconds())
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA cache_size = -500000")
            cursor.execute(OBSERVATIONS["sqlite"], (moments, int(times[0]), int(times[1])))
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # The default, which is what we measure with.
            cursor.execute("PRAGMA cache_size = -2000")
        else:
            cursor.execute(OBSERVATIONS["postgresql"], (*times, moments))
            cursor.execute("VACUUM ANALYZE")  # as the server does by itself, some time later
            cursor.execute("CHECKPOINT")


def heard(now: datetime | None = None) -> None:
    """Set what a poll that has just ended would have set."""
    now = now or timezone.now()
    Device.objects.update(heard_at=now)
    Attribute.objects.update(heard_at=now, observed_at=now, number=1)
    with publishing():
        Run.objects.create(task=runs.POLL, outcome=Outcome.DONE, started_at=now, finished_at=now)
