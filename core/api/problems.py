"""Errors as problem details: RFC 9457, https://www.rfc-editor.org/rfc/rfc9457

Each is an object with type, title, status and detail, and `errors` where single fields are wrong.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions

PREFIX = "/api/"
MEDIA_TYPE = "application/problem+json"
NOTHING_HERE = "There is nothing here that you may see."
RETRY_SECONDS = "5"

logger = logging.getLogger(__name__)

Json = dict[str, Any]


def problem(
    status: int,
    detail: str,
    *,
    errors: list[Json] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Make the answer for an error: one sentence, and one for each wrong field."""
    body: Json = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return HttpResponse(
        json.dumps(body), status=status, content_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def answer(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Answer what a view raised: Django REST framework's EXCEPTION_HANDLER."""
    request = context["request"]
    if isinstance(error, Http404):
        return problem(404, str(error) or NOTHING_HERE)
    if isinstance(error, PermissionDenied):
        return problem(403, str(error) or "You may not do this.")
    if isinstance(error, RequestDataTooBig):
        return problem(413, "The body is too large.")
    if isinstance(error, SuspiciousOperation):
        return problem(400, "The request cannot be read.")
    if isinstance(error, exceptions.APIException):
        return _api_error(error)
    # What Django does with an error of its own pages: it is logged, and told who listens.
    got_request_exception.send(sender=None, request=request)
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    if isinstance(error, OperationalError | InterfaceError):
        headers = {"Retry-After": RETRY_SECONDS}
        return problem(503, "The database does not answer.", headers=headers)
    return problem(500, "Something went wrong here. It was logged.")


def _api_error(error: exceptions.APIException) -> HttpResponse:
    headers = {}
    if header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = f"{wait:.0f}"
    if isinstance(error, exceptions.ValidationError):
        errors = list(wrong_fields(error.detail))
        sentence = " ".join(f"{one['field']}: {one['detail']}" for one in errors)
        return problem(error.status_code, sentence, errors=errors, headers=headers)
    return problem(error.status_code, str(error.detail), headers=headers)


def wrong_fields(detail: Any, path: str = "") -> Iterator[Json]:
    """Tell each wrong field by its path, such as readings.3.value."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from wrong_fields(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list | tuple):
        for place, inner in enumerate(detail):
            is_nested = isinstance(inner, Mapping | list)
            yield from wrong_fields(inner, f"{path}.{place}" if is_nested else path)
    else:
        yield {"field": path.removesuffix(".non_field_errors") or "body", "detail": str(detail)}


def or_page(status: int) -> Callable[..., Any]:
    """Make the handler of an error outside any view: a problem under /api/, else Django's page."""
    page = {
        400: defaults.bad_request,
        403: defaults.permission_denied,
        404: defaults.page_not_found,
    }[status]

    def handler(request: HttpRequest, exception: Exception) -> HttpResponse:
        if request.path.startswith(PREFIX):
            return problem(status, "The request was refused.")
        return page(request, exception)

    return handler


def server_error(request: HttpRequest) -> HttpResponse:
    if request.path.startswith(PREFIX):
        return problem(500, "Something went wrong here. It was logged.")
    return defaults.server_error(request)
