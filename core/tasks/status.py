"""What the status command prints: devices, gateways that fail, and whether polling works."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from core import formatting, serializers
from core.models import Device, Gateway, Site
from core.tasks import relay, runs
from core.tasks.runs import Health
from core.tasks.site import clock_in_words

MOST_DEVICES = 10_000
MOST_GATEWAYS = 100
SHOWN_ATTRIBUTES = 3
EMPTY = (
    "No devices yet. Add a gateway: python manage.py add_gateway VENDOR URL, "
    "or see simulated ones: make demo"
)


@dataclass(frozen=True)
class Overview:
    """All devices, worst first; enabled gateways that fail; the health of polling.

    Of more than MOST_DEVICES devices, `more` is how many are left out.
    """

    now: datetime
    devices: list[Device]
    more: int
    failing: list[Gateway]
    health: Health
    site: Site
    relay: str
    """Why open pages do not hear of changes through the hosted relay, or nothing."""

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
                serializers.device_json(device, device.attributes.all(), self.now, self.site)
                for device in self.devices
            ],
            "devices_left_out": self.more,
            "relay": self.relay or None,
        }

    def in_words(self) -> str:
        if not self.devices:
            return f"{EMPTY}\n{self._polling()}"
        titles = ("", "device", "state", "heard", "values")
        head, *rows = formatting.table([titles, *map(self._row, self.devices)])
        lines = [head]
        for device, row in zip(self.devices, rows, strict=True):
            lines.append(row)
            if device.decision:
                lines.append(
                    f"     {device.rule or device.guard or 'last decision'}: {device.decision}"
                )
        if self.more:
            lines.append(f"and {self.more:,} more")
        for gateway in self.failing:
            lines.append(f"{gateway} fails: {gateway.error} {self._asked_again(gateway)}")
        if not self.site.zone and any(device.has_decider for device in self.devices):
            lines.append(clock_in_words(self.site))
        return "\n".join([*lines, "", self._polling()])

    def _row(self, device: Device) -> tuple[str, ...]:
        attributes = list(device.attributes.all())
        shown = [attribute for attribute in attributes if attribute.is_switch]
        shown += formatting.foremost(attributes, SHOWN_ATTRIBUTES)
        values = ", ".join(formatting.named_value(attribute) for attribute in shown)
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
        last = self.health.last_poll
        if not last:
            return " ".join(filter(None, [self.health.reason, self.relay]))
        sentences = [f"Last poll {formatting.ago(last.finished_at or last.started_at, self.now)}."]
        if missed := self.health.missed:
            were = "was" if missed == 1 else "were"
            polls = formatting.counted(missed, "poll")
            sentences.append(f"{polls} of the last day {were} missed.")
        if not self.health.ok:
            sentences.append(self.health.reason)
        sentences += filter(None, [self.relay])
        return " ".join(sentences)


def overview() -> Overview:
    now = timezone.now()
    present = Device.objects.present().worst_first(now).select_related("gateway")
    found = present.prefetch_related("attributes__device__gateway")
    devices = list(found[: MOST_DEVICES + 1])
    more = found.count() - MOST_DEVICES if len(devices) > MOST_DEVICES else 0
    failed = Gateway.objects.active().filter(failures__gt=0).with_hearing()
    failing = list(failed[:MOST_GATEWAYS])
    health, home = runs.health(now), Site.home()
    return Overview(now, devices[:MOST_DEVICES], more, failing, health, home, relay.problem())
