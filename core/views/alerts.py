"""The page of alerts: what is open, and the history; and the button that acknowledges one."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from core.models import Access, Alert, AlertMessage, Right, access_of
from core.models.access import refusal
from core.models.alert import Fate
from core.tasks.alerts.acknowledge import acknowledge as task
from core.views.access import permitted, person

ALERTS_A_PAGE = 50


@dataclass(frozen=True)
class Row:
    """An alert as its list shows it. `messages` are for administrators: they name addresses."""

    alert: Alert
    messages: Sequence[AlertMessage]
    may_acknowledge: bool
    shows_detail: bool

    @property
    def troubles(self) -> list[AlertMessage]:
        return [message for message in self.messages if message.error]

    @property
    def sent(self) -> list[AlertMessage]:
        return [message for message in self.messages if message.fate == Fate.SENT]


@require_safe
@permitted(Right.READ)
def alert_list(request: HttpRequest) -> HttpResponse:
    access, ended = access_of(request.user), "ended" in request.GET
    seen = Alert.objects.seen_by(access)
    shown = seen.ended() if ended else seen.open()
    related = shown.select_related("acknowledged_by").prefetch_related("messages")
    page = Paginator(related.order_by("-pk"), ALERTS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "rows": [_row(alert, access) for alert in page.object_list],
        "page": page,
        "ended": ended,
        "counts": (seen.open().count(), seen.ended().count()),
        "now": timezone.now(),
        "has_addresses": bool(settings.ALERTS),
        "of_all": access.may_everywhere(Right.ADMIN),
    }
    return render(request, "core/alerts.html", context)


def _row(alert: Alert, access: Access) -> Row:
    of_all = access.may_everywhere(Right.ADMIN)
    return Row(
        alert,
        list(alert.messages.all()) if of_all else [],
        alert.acknowledged_at is None and _reaches(access, Right.CONTROL, alert),
        _reaches(access, Right.ADMIN, alert),
    )


def _reaches(access: Access, right: Right, alert: Alert) -> bool:
    """Whether somebody who sees an alert has this right where it is."""
    return right in access.rights and (alert.gateway is not None or not access.is_limited)


@require_POST
@permitted(Right.CONTROL)
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    access = access_of(request.user)
    alert = get_object_or_404(Alert.objects.seen_by(access).exclude(opened_at=None), pk=pk)
    if not _reaches(access, Right.CONTROL, alert):
        raise PermissionDenied(refusal(Right.CONTROL))
    if task(alert, person(request)):
        messages.success(request, f"{alert}: acknowledged.")
    else:
        messages.info(request, f"{alert}: it is over, or somebody acknowledged it before.")
    return redirect("alerts")
