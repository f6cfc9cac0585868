"""What devices used, and what that cost: a page, and the same by the day as CSV."""

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from core.models import Device, Right, access_of
from core.models.device import DeviceQuerySet
from core.tasks.costs import DeviceCosts, Words, cost_table, costs, measured_devices, total, words
from core.tasks.tables import as_csv
from core.views.access import permitted

SPANS = {"1": "today", "7": "7 days", "30": "30 days"}
USUAL = "7"
DEVICE_DAYS = 7
MOST_DEVICES = 100
"""On the page: each costs some milliseconds a day. The CSV and the API have all of them."""


@dataclass(frozen=True)
class ShownCosts:
    costs: DeviceCosts

    @property
    def total(self) -> Words:
        return words(self.costs.total)


@require_safe
@permitted(Right.READ)
def cost_list(request: HttpRequest) -> HttpResponse:
    now, days = timezone.now(), _days(request)
    devices = list(_devices(request)[: MOST_DEVICES + 1])
    shown = costs(devices[:MOST_DEVICES], now, days)
    context = {
        "rows": [ShownCosts(one) for one in shown],
        "total": words(total(one.total for one in shown)),
        "days": str(days),
        "spans": SPANS,
        "is_replayed": any(one.is_replayed for one in shown),
        "is_cut": len(devices) > MOST_DEVICES,
        "most": MOST_DEVICES,
    }
    return render(request, "core/costs.html", context)


def _days(request: HttpRequest) -> int:
    wanted = request.GET.get("days", USUAL)
    return int(wanted if wanted in SPANS else USUAL)


def _devices(request: HttpRequest) -> DeviceQuerySet:
    return measured_devices(access_of(request.user).limit_devices(Device.objects.present()))


def costs_of(device: Device, now: datetime) -> dict[str, object]:
    """Return what the page of a device shows of its last days; empty without any measured."""
    found = costs([device], now, DEVICE_DAYS)
    if not found or not found[0].total.kwh:
        return {}
    days = [(day, words(use)) for day, use in reversed(found[0].days)]
    return {
        "cost_days": days,
        "cost_total": words(found[0].total),
        "cost_source": found[0].source,
        "cost_is_replayed": found[0].is_replayed,
        "cost_saved": found[0].saved,
    }


@require_safe
@permitted(Right.READ)
def cost_file(request: HttpRequest) -> HttpResponse:
    """Answer a row for each device, day and currency."""
    table = cost_table(_devices(request), timezone.now(), _days(request))
    response = HttpResponse("".join(as_csv(table)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="costs.csv"'
    return response
