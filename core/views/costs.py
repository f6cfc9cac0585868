"""What devices used, and what that cost: a page, and by the day or the month as CSV."""

from dataclasses import dataclass
from datetime import date, datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from core.models import Device, Right, Site, access_of
from core.models.device import DeviceQuerySet
from core.tasks.costs import (
    DeviceCosts,
    Period,
    Words,
    cost_table,
    costs,
    measured_devices,
    parts_of_all,
    total,
    words,
)
from core.tasks.tables import as_csv
from core.views.access import permitted


@dataclass(frozen=True)
class Choice:
    """A time that the page can show. `most_devices`: the CSV and the API have all of them."""

    query: str
    words: str
    period: Period
    most_devices: int = 100


CHOICES = (
    Choice("days=1", "today", Period.of_days(1)),
    Choice("days=7", "7 days", Period.of_days(7)),
    Choice("days=30", "30 days", Period.of_days(30)),
    # Each device takes some fifty milliseconds of the processor a year.
    Choice("months=12", "12 months", Period.of_months(12), most_devices=30),
)
WEEK = CHOICES[1]


@dataclass(frozen=True)
class ShownCosts:
    costs: DeviceCosts
    first_day: date

    @property
    def total(self) -> Words:
        return words(self.costs.total)

    @property
    def known_since(self) -> date | None:
        """The day from which on it is known, unless that is the first one shown."""
        since = self.costs.known_since
        return since if since and since > self.first_day else None


@require_safe
@permitted(Right.READ)
def cost_list(request: HttpRequest) -> HttpResponse:
    now, choice = timezone.now(), _choice(request)
    most, period = choice.most_devices, choice.period
    devices = list(_devices(request)[: most + 1])
    shown = costs(devices[:most], now, period)
    parts = parts_of_all(shown)
    known_since = min((one.known_since for one in shown if one.known_since), default=None)
    first_day = period.first_day(now.astimezone(Site.home().clock).date())
    context = {
        "rows": [ShownCosts(one, first_day) for one in shown],
        "total": words(total(one.total for one in shown)),
        "parts": [(begins, words(use)) for begins, use in reversed(parts)],
        "known_since": known_since if known_since and known_since > first_day else None,
        "is_known": known_since is not None,
        "chosen": choice,
        "choices": CHOICES,
        "is_replayed": any(one.is_replayed for one in shown),
        "is_cut": len(devices) > most,
    }
    return render(request, "core/costs.html", context)


def _choice(request: HttpRequest) -> Choice:
    wanted = [f"{name}={value}" for name, value in request.GET.items()]
    return next((choice for choice in CHOICES if choice.query in wanted), WEEK)


def _devices(request: HttpRequest) -> DeviceQuerySet:
    return measured_devices(access_of(request.user).limit_devices(Device.objects.present()))


def costs_of(device: Device, now: datetime) -> dict[str, object]:
    """Return what the page of a device shows of its last days; empty without any measured."""
    found = costs([device], now, WEEK.period)
    if not found or not found[0].total.kwh:
        return {}
    days = [(day, words(use)) for day, use in reversed(found[0].parts)]
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
    """Answer a row for each device, day or month, and currency."""
    table = cost_table(_devices(request), timezone.now(), _choice(request).period)
    response = HttpResponse("".join(as_csv(table)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="costs.csv"'
    return response
