"""While import_site has stored a part of a site only, nothing is served of it."""

from collections.abc import Callable

from django.db import Error as DatabaseAway
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from core.api.problems import PREFIX, problem
from core.models.site_import import whole

RETRY_SECONDS = "30"


def refuse(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Answer 503 to each request until the site is whole."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            refusal = whole.refusal()
        except DatabaseAway:
            refusal = ""  # the view finds the same, and says it in its own way
        return _refused(request, refusal) if refusal else get_response(request)

    return middleware


def _refused(request: HttpRequest, refusal: str) -> HttpResponse:
    headers = {"Retry-After": RETRY_SECONDS, "Cache-Control": "no-store"}
    if request.path.startswith(PREFIX):
        return problem(503, refusal, headers=headers)
    if "text/html" not in request.headers.get("Accept", ""):
        plain = "text/plain; charset=utf-8"
        return HttpResponse(f"{refusal}\n", status=503, content_type=plain, headers=headers)
    page = render_to_string("503.html", {"refusal": refusal})
    return HttpResponse(page, status=503, headers=headers)
