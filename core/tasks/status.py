"""What there is and how it does: for the status command."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from core import formatting, serializers
from core.models import Device, Gateway
from core.tasks import runs
from core.tasks.runs import Health

MOST_DEVICES = 10_000
SAID_ATTRIBUTES = 3
EMPTY = "No devices yet. Add a gateway: python manage.py add_gateway VENDOR URL, or see simulated ones: make demo"


@dataclass(frozen=True)
class Overview:
    """Devices worst first, at most 10,000 of them, their attributes loaded; gateways that fail; health of polling."""

    now: datetime
    devices: list[Device]
    more: int
    failing: list[Gateway]
    health: Health

    def as_json(self) -> dict[str, Any]:
        return {
            "at": serializers.utc_text(self.now),
            "healthy": self.health.ok,
            "health": self.health.reason,
            "last_poll": serializers.run_json(self.health.last_poll)
            if self.health.last_poll
            else None,
            "missed_polls": self.health.missed,
            "failing_gateways": [serializers.gateway_json(gateway) for gateway in self.failing],
            "devices": [
                serializers.device_json(device, device.attributes.all(), self.now)
                for device in self.devices
            ],
            "devices_left_out": self.more,
        }

    def in_words(self) -> str:
        if not self.devices:
            return f"{EMPTY}\n{self._polling()}"
        head, *rows = _table(
            [("", "device", "state", "heard", "values"), *map(self._row, self.devices)]
        )
        lines = [head]
        for device, row in zip(self.devices, rows, strict=True):
            lines += [
                row,
                *(
                    [f"     {device.rule or 'before'}: {device.decision}"]
                    if device.decision
                    else []
                ),
            ]
        lines += [f"and {self.more:,} more"] if self.more else []
        lines += [
            f"{gateway} fails: {gateway.error} {self._asked_again(gateway)}"
            for gateway in self.failing
        ]
        return "\n".join([*lines, "", self._polling()])

    def _row(self, device: Device) -> tuple[str, ...]:
        attributes = list(device.attributes.all())
        shown = [one for one in attributes if one.is_switch] + formatting.foremost(
            attributes, SAID_ATTRIBUTES
        )
        values = ", ".join(formatting.named_value(one) for one in shown)
        heard = formatting.ago(device.heard_at, self.now) if device.heard_at else "never"
        return str(device.pk), str(device), device.freshness(self.now).value, heard, values

    def _asked_again(self, gateway: Gateway) -> str:
        if not gateway.retry_at or gateway.retry_at <= self.now:
            return "Asked again at the next poll."
        again = formatting.ago(gateway.retry_at, self.now)
        return (
            f"Asked again {again}, or at once: python manage.py poll_devices --gateway {gateway.pk}"
        )

    def _polling(self) -> str:
        if not self.health.last_poll:
            return self.health.reason
        last = self.health.last_poll
        said = f"Last poll {formatting.ago(last.finished_at or last.started_at, self.now)}."
        missed = (
            f" {self.health.missed} polls of the last day were missed."
            if self.health.missed
            else ""
        )
        return said + missed + ("" if self.health.ok else f" {self.health.reason}")


def overview() -> Overview:
    now = timezone.now()
    found = (
        Device.objects.present()
        .worst_first(now)
        .select_related("gateway")
        .prefetch_related("attributes__device__gateway")
    )
    devices = list(found[: MOST_DEVICES + 1])
    more = found.count() - MOST_DEVICES if len(devices) > MOST_DEVICES else 0
    failing = list(Gateway.objects.active().filter(failures__gt=0)[:100])
    return Overview(now, devices[:MOST_DEVICES], more, failing, runs.health(now))


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows with their columns aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
