"""Snapshots, shared: of a thousand clients that begin at once, one pays."""

import asyncio
import json
from collections.abc import Collection, Set
from time import monotonic
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from core import serializers
from core.live.follower import follower
from core.live.subscriber import ALL, CHANGES, Topic
from core.live.threads import reading
from core.models import Device, Site

PAGE = 25
"""Devices, some 40 KiB: what is kept at least for a client that does not read."""


def snapshot(
    everything: bool,
    device_pks: Collection[int] = (),
    gateway_pks: Collection[int] = (),
    has_log_in: bool = False,
    limit: frozenset[int] | None = None,
    page: int = PAGE,
) -> list[list[str]]:
    """Return pages of present devices, all or these, each a JSON text as the
    reader may see it; at least one page. `limit` are the gateways of a reader who is limited."""
    now = timezone.now()
    wanted = Q() if everything else Q(pk__in=device_pks) | Q(gateway__in=gateway_pks)
    if limit is not None:
        wanted &= Q(gateway__in=limit)
    devices = (
        Device.objects.present()
        .filter(wanted)
        .order_by("pk")
        .select_related("gateway")
        .prefetch_related("attributes")
    )
    texts, site = [], Site.home()
    for device in devices:
        # order_by() would ignore what was prefetched, and query for each device.
        attributes = sorted(device.attributes.all(), key=lambda one: one.pk)
        for attribute in attributes:
            attribute.device = device
        body = serializers.public_device_json(device, attributes, now, site)
        if not has_log_in:
            body = serializers.anonymous_device_json(body)
        texts.append(json.dumps(body, separators=(",", ":")))
    return [texts[start : start + page] for start in range(0, len(texts), page)] or [[]]


KEPT_SECONDS = 2.0
"""An older snapshot is as good while the events since are kept: the client resumes from it."""
MOST_KEPT = 50


class Snapshot(NamedTuple):
    last: int
    """It holds at least everything up to this event."""
    pages: list[list[str]]


class Wanted(NamedTuple):
    """Readers who want and may see the same share a snapshot."""

    about: frozenset[Topic]
    has_log_in: bool
    limit: frozenset[int] | None


class Snapshots:
    """Makes one at a time: of requests that were given up, at most one waits for the database."""

    def __init__(self) -> None:
        self._kept: dict[Wanted, tuple[float, Snapshot]] = {}
        self._making: asyncio.Task[None] | None = None

    async def of(
        self, topics: Set[Topic], has_log_in: bool, limit: frozenset[int] | None = None
    ) -> Snapshot:
        # Both are about every device; they differ only in the events that follow.
        about = frozenset([ALL]) if {ALL, CHANGES} & topics else frozenset(topics)
        wanted = Wanted(about, has_log_in, limit)
        self._forget()
        while wanted not in self._kept:
            if self._making is None or self._making.done():
                self._making = asyncio.create_task(self._make(wanted))
                await asyncio.shield(self._making)  # others may wait for it too
            else:
                # It does not raise what went wrong for others: then we try ourselves.
                await asyncio.wait([self._making])
        return self._kept[wanted][1]

    async def _make(self, wanted: "Wanted") -> None:
        last = follower.last  # before the rows are read: later changes come again as events
        about, has_log_in, limit = wanted
        devices = [topic.pk for topic in about if topic.kind == "device"]
        gateways = [topic.pk for topic in about if topic.kind == "gateway"]
        pages = await reading(snapshot, ALL in about, devices, gateways, has_log_in, limit)
        self._kept[wanted] = monotonic(), Snapshot(last, pages)

    def _forget(self) -> None:
        """Those that are older than KEPT_SECONDS and, of many, the oldest."""
        now = monotonic()
        for wanted, (made_at, _) in list(self._kept.items()):
            if now - made_at > KEPT_SECONDS or len(self._kept) > MOST_KEPT:
                del self._kept[wanted]


snapshots = Snapshots()
