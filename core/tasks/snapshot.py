"""How everything is now, for whoever begins to follow: devices in JSON, in pages."""

import json
from collections.abc import Collection

from django.db.models import Q
from django.utils import timezone

from core import wire
from core.models import Device

PAGE = 25
"""Devices, some 40 KiB: what is kept at least for a client that does not read."""


def snapshot(
    everything: bool, device_pks: Collection[int] = (), gateway_pks: Collection[int] = (), page: int = PAGE
) -> list[list[str]]:
    """Present devices as readers may see them, all or these, each a JSON text; at least one page."""
    now = timezone.now()
    wanted = Q() if everything else Q(pk__in=device_pks) | Q(gateway__in=gateway_pks)
    devices = Device.objects.present().filter(wanted).order_by("pk").select_related("gateway").prefetch_related("attributes")
    texts = []
    for device in devices:
        attributes = sorted(device.attributes.all(), key=lambda one: one.pk)
        for attribute in attributes:
            attribute.device = device
        texts.append(json.dumps(wire.public_device(device, attributes, now), separators=(",", ":")))
    return [texts[start : start + page] for start in range(0, len(texts), page)] or [[]]
