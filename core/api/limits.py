"""How often programs may ask, before anything else is done for them.

Counted in this process, by the address that a request comes from and by the token it shows. With
two web processes each allows as much. The headers RateLimit and RateLimit-Policy are those of
https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from core.api.problems import PREFIX, problem
from core.models.usage import LONGEST_ROUTE
from core.net.limits import Allowance, Failures, Rate, Recent
from core.tasks import usage
from core.tasks.log_in import address_of

METRICS = "/metrics"
"""A page that takes tokens."""
WRONG_TOKENS = 19
"""From one address in the span. The next is refused without a look at it."""
WRONG_SPAN_SECONDS = 15 * 60
MINUTE = 60.0

wrong = Failures(WRONG_TOKENS, WRONG_SPAN_SECONDS)
rates = {
    "token": Rate(settings.API_REQUESTS_A_MINUTE, MINUTE),
    "address": Rate(settings.API_REQUESTS_A_MINUTE, MINUTE),
}
_good: Recent[bool] = Recent(bool)
"""Digests of tokens that were right a while ago: they are let in whatever else comes from there."""


class Caller(NamedTuple):
    """Who asks, as far as that is known before the database is asked."""

    address: str
    token: str
    """A digest of what stands in the header Authorization; empty without a token."""

    @classmethod
    def of(cls, request: HttpRequest) -> "Caller":
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        token = sha256(text.strip().encode()).hexdigest() if scheme.lower() == "bearer" else ""
        return cls(address_of(request), token)


def limits(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Refuse what is too much under /api/ and at /metrics, and count what is not."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(PREFIX) and request.path != METRICS:
            return get_response(request)
        caller = Caller.of(request)
        if caller.token and caller.token not in _good:
            return _first_time(request, caller)
        return _limited(request, caller)

    def _first_time(request: HttpRequest, caller: Caller) -> HttpResponse:
        """Answer a token that was not seen to be right yet."""
        if wait := wrong.begin(caller.address, caller.token):
            sentence = "Too many wrong tokens came from your address. Try again later."
            return problem(429, sentence, headers={"Retry-After": str(wait)})
        is_wrong = True
        try:
            response = _limited(request, caller)
            is_wrong = response.status_code == 401
            if getattr(request, "auth", None) is not None:
                _good.add(caller.token)
        finally:
            wrong.end(caller.address, caller.token, failed=is_wrong)
        return response

    def _limited(request: HttpRequest, caller: Caller) -> HttpResponse:
        # A token that is not known to be right has no allowance of its own: inventing new ones
        # would be a way around that of the address.
        kind = "token" if caller.token in _good else "address"
        allowance = rates[kind].take(caller.token if kind == "token" else caller.address)
        if allowance.wait_seconds:
            return _too_many(kind, allowance)
        if refused := usage.over_quota(caller.token):
            return problem(429, refused.sentence, headers={"Retry-After": str(refused.wait)})
        response = get_response(request)
        if token := getattr(request, "auth", None):
            usage.count(token, caller.token, _route(request))
        _tell(response, kind, allowance)
        return response

    return middleware


def _route(request: HttpRequest) -> str:
    """Return the address without its numbers, such as GET devices/<int:pk>/."""
    match = request.resolver_match
    route = match.route.removeprefix(f"{PREFIX[1:]}v1/") if match else ""
    return f"{request.method} {route}"[:LONGEST_ROUTE]


def _too_many(kind: str, allowance: Allowance) -> HttpResponse:
    sentence = f"More than {rates[kind].most} requests a minute. Try again in a moment."
    response = problem(429, sentence, headers={"Retry-After": str(allowance.wait_seconds)})
    _tell(response, kind, allowance)
    return response


def _tell(response: HttpResponse, kind: str, allowance: Allowance) -> None:
    rate = rates[kind]
    response.headers["RateLimit-Policy"] = f'"{kind}";q={rate.most};w={rate.seconds:.0f}'
    response.headers["RateLimit"] = (
        f'"{kind}";r={allowance.remaining};t={allowance.wait_seconds or 1}'
    )


def forget() -> None:
    """Begin anew, as a new process does."""
    wrong.forget()
    _good.clear()
    for rate in rates.values():
        rate.forget()
