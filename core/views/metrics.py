"""/metrics for Prometheus: with a token that may read everything, in the header Authorization."""

import logging

from django.db import Error as DatabaseAway
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from core.models import Right
from core.tasks import tokens
from core.tasks.metrics import as_text

logger = logging.getLogger(__name__)

TEXT = "text/plain; version=0.0.4; charset=utf-8"


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    try:
        token = tokens.find(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            response = _answer("A token is needed: Authorization: Bearer iot_...", 401)
            response.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
            return response
        request.auth = token  # type: ignore[attr-defined]  # as in the API: its limits count by it
        if not token.access.may_everywhere(Right.READ):
            return _answer("The token must have the right read, for all gateways.", 403)
        return HttpResponse(as_text(timezone.now()), content_type=TEXT)
    except DatabaseAway as error:
        logger.error("metrics: the database does not answer: %s", error)
        return _answer(f"The database does not answer ({type(error).__name__}).", 503)


def _answer(text: str, status: int) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
