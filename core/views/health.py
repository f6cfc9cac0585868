"""/healthz for monitors: 200 while polling works, and deciding and the relay where they are used.

Not for liveness probes: they would restart the web process because a vendor is away.
"""

import logging

from django.db import Error as DatabaseAway
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from core.tasks import relay, runs

logger = logging.getLogger(__name__)


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    try:
        now = timezone.now()
        health = runs.health(now)
        problem = runs.deciding_problem(now) if health.ok else health.reason
        problem = problem or relay.lasting_problem()
    except DatabaseAway as error:
        logger.error("healthz: the database does not answer: %s", error)
        return _answer(f"The database does not answer ({type(error).__name__}).", 503)
    return _answer(problem or "ok", 503 if problem else 200)


def _answer(text: str, status: int) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
