"""The status page: problems first, then all devices.

Seven queries, whatever the history; one more while a gateway fails.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from math import ceil
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Exists, FilteredRelation, OuterRef, Q, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from core import formatting
from core.forms import FindDevices
from core.live.follower import newest_event
from core.models import (
    Access,
    Attribute,
    Device,
    DeviceCommand,
    Freshness,
    Gateway,
    Site,
    access_of,
)
from core.models.attribute import main_switch
from core.models.device_command import OPEN
from core.models.gateway import GatewayQuerySet
from core.tasks import runs
from core.tasks.polling.clock import AHEAD
from core.views.access import readable
from core.views.forecasts import forecasts_shown
from core.views.sparklines import Spark, sparks_of

DEVICES_A_PAGE = 50
VALUES_A_DEVICE = 4
BROKEN_SHOWN = 5
DAY = timedelta(days=1)


@dataclass(frozen=True)
class DeviceRow:
    """A device as the list shows it."""

    device: Device
    freshness: Freshness
    values: list[Attribute]
    switch: Attribute | None
    spark: Spark | None
    is_held: bool
    is_part: bool = False
    """Whether it stands with others of its hardware; `is_first`: as the first of them."""
    is_first: bool = False

    @property
    def command(self) -> DeviceCommand | None:
        """The last command to its switch, if it is open or of this day."""
        command: DeviceCommand | None = getattr(self.switch, "last_command", None)
        if command and self.switch:
            command.attribute = self.switch
        return command


@dataclass(frozen=True)
class Pages:
    number: int
    total: int
    found: dict[str, Any]

    @property
    def last(self) -> int:
        return max(1, ceil(self.total / DEVICES_A_PAGE))

    @property
    def start(self) -> int:
        return (self.number - 1) * DEVICES_A_PAGE

    @property
    def before(self) -> str:
        return self.link(page=self.number - 1) if self.number > 1 else ""

    @property
    def after(self) -> str:
        return self.link(page=self.number + 1) if self.number < self.last else ""

    def link(self, **changes: Any) -> str:
        wanted = {
            name: value for name, value in {**self.found, "page": None, **changes}.items() if value
        }
        return f"?{urlencode(wanted)}"


@readable
@require_safe
def status(request: HttpRequest) -> HttpResponse:
    # The event id is taken before any query: changes during this request are sent again.
    now, last_event = timezone.now(), newest_event()
    found = FindDevices(request.GET).wanted()
    access = access_of(request.user)
    devices = access.limit_devices(Device.objects.present())
    if found["q"]:
        devices = devices.matching(found["q"])
    if found["gateway"]:
        devices = devices.filter(gateway=found["gateway"])
    counts = devices.count_by_freshness(now)
    state = Freshness(found["state"]) if found["state"] else None
    if state:
        devices = devices.in_state(state, now)
    total = counts[state] if state else sum(counts.values())
    pages = Pages(min(found["page"] or 1, max(1, ceil(total / DEVICES_A_PAGE))), total, found)
    # Annotated on every row: what is about all of them costs no query of its own.
    devices = (
        devices.worst_first(now)
        .select_related("gateway")
        .annotate(
            is_any_broken=Exists(_broken(access)), has_clock=Exists(Site.objects.exclude(zone=""))
        )
    )
    shown = list(devices[pages.start : pages.start + DEVICES_A_PAGE]) if total else []
    may_be_broken = not shown or shown[0].is_any_broken  # type: ignore[attr-defined]
    broken: list[Gateway] = []
    if may_be_broken:
        broken = list(_broken(access).order_by("-refused", "name", "pk")[: BROKEN_SHOWN + 1])
    is_clock_asked = any(
        device.has_decider and not device.has_clock  # type: ignore[attr-defined]
        for device in shown
    )
    health = runs.health(now)
    return render(
        request,
        "core/status.html",
        {
            "now": now,
            "last_event": last_event,
            "rows": together(rows(shown, now)),
            "counts": [
                (freshness, count, pages.link(state=freshness.value))
                for freshness, count in counts.items()
            ],
            "all_link": pages.link(state=None),
            "any_gateway_link": pages.link(gateway=None),
            "first": pages.start + 1,
            "everything": sum(counts.values()),
            "pages": pages,
            "found": found,
            "state": state,
            "broken": broken[:BROKEN_SHOWN],
            "more_broken": len(broken) > BROKEN_SHOWN,
            "health": health,
            "clock": ZoneInfo(settings.TIME_ZONE) if is_clock_asked else None,
            "pace": _pace(health),
            "forecasts": forecasts_shown(now),
        },
    )


def _pace(health: runs.Health) -> float:
    """Seconds from one poll's start to the next's."""
    if health.last_poll is None or health.next_poll_at is None:
        return 0
    return (health.next_poll_at - health.last_poll.started_at).total_seconds()


def _broken(access: Access) -> GatewayQuerySet:
    return access.limit_gateways(Gateway.objects.active().filter(failures__gt=0))


def rows(devices: Sequence[Device], now: datetime) -> list[DeviceRow]:
    """Rows for these devices: three queries for any number of them."""
    attributes = attributes_of(devices, now)
    drawn = {device.pk: formatting.drawn(attributes[device.pk]) for device in devices}
    sparks = sparks_of([attribute for attribute in drawn.values() if attribute], now)
    return [
        DeviceRow(
            device=device,
            freshness=device.freshness(now),
            values=formatting.foremost(attributes[device.pk], VALUES_A_DEVICE),
            switch=main_switch(attributes[device.pk]),
            spark=sparks.get(attribute.pk) if (attribute := drawn[device.pk]) else None,
            is_held=device.is_held(now),
        )
        for device in devices
    ]


def together(rows: Iterable[DeviceRow]) -> list[DeviceRow]:
    """Mark those that stand next to others of their hardware."""
    marked: list[DeviceRow] = []
    for (_, hardware), group in groupby(rows, lambda row: row.device.housing):
        found = list(group)
        is_part = bool(hardware) and len(found) > 1
        for place, row in enumerate(found):
            marked.append(replace(row, is_part=is_part, is_first=is_part and place == 0))
    return marked


def attributes_of(devices: Iterable[Device], now: datetime) -> dict[int, list[Attribute]]:
    """Return attributes by device, each with `last_command`: the newest, if open or of this day."""
    by_pk = {device.pk: device for device in devices}
    newest = (
        DeviceCommand.objects.filter(attribute=OuterRef("pk"), requested_at__lte=now + AHEAD)
        .order_by("-requested_at")
        .values("pk")[:1]
    )
    matters = Q(commands__state__in=OPEN) | Q(commands__requested_at__gte=now - DAY)
    grouped: dict[int, list[Attribute]] = {pk: [] for pk in by_pk}
    if not by_pk:
        return grouped
    found = Attribute.objects.filter(device__in=by_pk).annotate(
        last_command=FilteredRelation(
            "commands", condition=Q(commands__pk=Subquery(newest)) & matters
        )
    )
    related = found.select_related("last_command")  # type: ignore[misc]  # stubs miss it
    for attribute in related.order_by("pk"):
        attribute.device = by_pk[attribute.device_id]
        grouped[attribute.device_id].append(attribute)
    return grouped
