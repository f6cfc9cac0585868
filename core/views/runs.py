"""The page of runs: how long each took, what was missed and waits, which gateways are slow."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from core.models import Right, access_of
from core.tasks import run_overview
from core.views.access import permitted


@require_safe
@permitted(Right.READ)
def run_list(request: HttpRequest) -> HttpResponse:
    access, now = access_of(request.user), timezone.now()
    context = {
        "now": now,
        "tasks": run_overview.task_runs(now),
        "queue": run_overview.queue(access),
        "budgets": run_overview.budgets(access),
        "slow": run_overview.slow_gateways(access, now),
        # An error may quote addresses.
        "shows_errors": access.may_everywhere(Right.ADMIN),
    }
    return render(request, "core/runs.html", context)
