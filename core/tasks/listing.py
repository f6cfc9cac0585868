"""What list_gateways and list_devices print: all that is stored, whether it answers or not."""

from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from core import formatting, serializers
from core.models import Device, Gateway, Site

NO_GATEWAYS = "No gateways yet. Add one: python manage.py add_gateway VENDOR URL"
NO_DEVICES = "No devices. Look for some: python manage.py discover_devices"


def gateways() -> QuerySet[Gateway]:
    """Return every gateway, with the number of its devices as `serves`."""
    serves = Count("devices", filter=Q(devices__removed_at=None))
    return Gateway.objects.present().with_hearing().annotate(serves=serves)


def devices(gateway_pk: int | None = None, *, removed: bool = False) -> QuerySet[Device]:
    """Return the devices of a gateway, or of all; with `removed` those that a person removed."""
    found = Device.objects.filter(gateway__removed_at=None, removed_at__isnull=not removed)
    if gateway_pk is not None:
        found = found.filter(gateway=Gateway.objects.present().get(pk=gateway_pk))
    return found.select_related("gateway").order_by("pk")


def gateways_json() -> list[dict[str, Any]]:
    return [
        {**serializers.gateway_json(gateway), "devices": gateway.serves}  # type: ignore[attr-defined]
        for gateway in gateways()
    ]


def gateways_in_words() -> str:
    rows = [("", "gateway", "vendor", "address", "devices", "state")]
    for gateway in gateways():
        rows.append(
            (
                str(gateway.pk),
                str(gateway),
                gateway.vendor,
                gateway.address,
                str(gateway.serves),  # type: ignore[attr-defined]
                _state(gateway),
            )
        )
    return "\n".join(formatting.table(rows)) if len(rows) > 1 else NO_GATEWAYS


def _state(gateway: Gateway) -> str:
    if not gateway.enabled:
        return "disabled"
    if gateway.failures:
        return f"{'refused' if gateway.refused else 'failing'}: {gateway.error}"
    if gateway.answered_at is None:
        return "nothing heard yet"
    now = timezone.now()
    if gateway.listening_since:
        heard = formatting.ago(gateway.heard_at, now) if gateway.heard_at else "never"
        since = formatting.ago(gateway.listening_since, now)
        return f"listened to, since {since}; heard {heard}"
    return f"answered {formatting.ago(gateway.answered_at, now)}"


def devices_json(found: QuerySet[Device]) -> list[dict[str, Any]]:
    now, site = timezone.now(), Site.home()
    return [
        serializers.device_json(device, device.attributes.all(), now, site)
        for device in found.prefetch_related("attributes__device__gateway")
    ]


def devices_in_words(found: QuerySet[Device]) -> str:
    rows = [("", "device", "place", "gateway", "vendor's id", "rule")]
    for device in found:
        rule = device.rule or device.guard or "none"
        rows.append(
            (
                str(device.pk),
                str(device),
                device.place,
                f"{device.gateway_id} {device.gateway}",
                device.vendor_id,
                rule if device.enabled else "disabled",
            )
        )
    return "\n".join(formatting.table(rows)) if len(rows) > 1 else NO_DEVICES
