"""Stores what tests.soak.hostile kept, as discovery and polls would: `python -m` this, a file for
the rows, and the files.

The same files give the same rows on every database. Rows are written as JSON, a line each, sorted;
what record() counted is said.
"""

import json
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

import time_machine  # noqa: E402 (needs what stands above)
from django.core.management import call_command  # noqa: E402
from django.db import models  # noqa: E402

from core.models import Attribute, Device, Gateway, Observation, Silence  # noqa: E402
from core.tasks import discovery  # noqa: E402
from core.tasks.events.outbox import publishing  # noqa: E402
from core.tasks.polling.record import GatewayAnswer, record  # noqa: E402
from tests.soak.hostile import Output  # noqa: E402

NOW = datetime(2026, 12, 1, tzinfo=UTC)
"""The clock stands still, so that both databases find the same times in the future."""
STEP = timedelta(minutes=2)
ROWS: tuple[tuple[type[models.Model], tuple[str, ...]], ...] = (
    (
        Observation,
        ("attribute__device__vendor_id", "attribute__name", "observed_at", "number", "text"),
    ),
    (Device, ("vendor_id", "name", "model", "available", "heard_at", "measured_at")),
    (
        Attribute,
        ("device__vendor_id", "name", "kind", "unit", "minimum", "maximum", "choices", "writable")
        + ("number", "text", "observed_at", "heard_at", "available"),
    ),
    (Silence, ("attribute__device__vendor_id", "attribute__name", "starts_at", "ends_at")),
)


def main(rows: Path, *kept: Path) -> None:
    call_command("migrate", verbosity=0)
    outputs: list[Output] = [output for file in kept for output in pickle.loads(file.read_bytes())]  # noqa: S301 (written by a process of this proof)
    with time_machine.travel(NOW, tick=False):
        sums = Counter()
        for number, output in enumerate(outputs):
            sums += store(output, NOW - STEP * (len(outputs) - number))
    rows.write_text("\n".join(sorted(lines())))
    print(json.dumps(sums))


def store(output: Output, asked_at: datetime) -> Counter[str]:
    with publishing() as outbox:
        address = f"http://{output.vendor}"
        gateway, _ = Gateway.objects.get_or_create(
            vendor=output.vendor, address=address, name=output.vendor
        )
        discovery.store(gateway, discovery.acceptable(output.devices), False, outbox)
    recorded = record([GatewayAnswer(gateway.pk, asked_at, output.vendor_ids, output.readings)])
    return Counter(
        {
            name: getattr(recorded, name)
            for name in ("stored", "duplicates", "unavailable", "unknown", "refused")
        }
    )


def lines() -> Iterator[str]:
    for model, names in ROWS:
        for row in model.objects.values_list(*names).iterator(5_000):
            yield json.dumps([model.__name__, *map(plain, row)])


def plain(value: Any) -> Any:
    """A number as it is to the last bit, a time in full."""
    return (
        {"number": value.hex()}
        if isinstance(value, float)
        else value.isoformat()
        if isinstance(value, datetime)
        else value
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
