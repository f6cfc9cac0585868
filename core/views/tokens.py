"""The pages of tokens: list, issue, rotate, revoke. The text of a token is shown once."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from core.formatting import counted
from core.forms.tokens import RotateForm, TokenForm
from core.models import Access, Device, Gateway, Right, Token, access_of
from core.models.token import TokenQuerySet
from core.tasks import tokens, usage
from core.views.access import permitted, person

TOKENS_A_PAGE = 50
MOST_NAMES = 3
DAYS_SHOWN = 31
SHAPES = {"valid": "fresh", "rotated": "late", "expired": "paused", "revoked": "paused"}


@dataclass(frozen=True)
class Row:
    """A token as its list shows it."""

    token: Token
    state: str
    where: str
    ends: str
    is_own: bool

    @property
    def shape(self) -> str:
        return SHAPES[self.state]

    @property
    def rights(self) -> str:
        return ", ".join(self.token.rights)

    @property
    def can_rotate(self) -> bool:
        return self.is_own and self.state == "valid"

    @property
    def can_revoke(self) -> bool:
        return self.state in ("valid", "rotated")


@require_safe
@permitted(Right.READ)
def token_list(request: HttpRequest) -> HttpResponse:
    now, seen = timezone.now(), _seen_by(request)
    ended = "ended" in request.GET
    shown = seen.ended(now) if ended else seen.in_use(now)
    page = Paginator(shown, TOKENS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "rows": [_row(request, token, now) for token in page.object_list],
        "page": page,
        "ended": ended,
        "counts": (seen.in_use(now).count(), seen.ended(now).count()),
        "of_all": access_of(request.user).may_everywhere(Right.ADMIN),
    }
    return render(request, "core/tokens.html", context)


def _seen_by(request: HttpRequest) -> TokenQuerySet:
    """Return one's own tokens; an administrator of all gateways sees those of everybody."""
    rows = Token.objects.select_related("user").prefetch_related("gateways", "devices")
    return rows if access_of(request.user).may_everywhere(Right.ADMIN) else rows.of(person(request))


def _row(request: HttpRequest, token: Token, now: datetime) -> Row:
    return Row(
        token,
        token.state(now),
        _where(token, access_of(request.user)),
        _ends(token),
        token.user_id == person(request).pk,
    )


def _where(token: Token, access: Access) -> str:
    """Say where it works. What the reader may not see has no name here."""
    parts = []
    if not token.all_gateways:
        parts.append(_names(_gateways(token, access), "gateway"))
    if not token.all_devices:
        parts.append(_names(_devices(token, access), "device"))
    return "; ".join(parts) or "all gateways"


def _gateways(token: Token, access: Access) -> list[Gateway]:
    there = [gateway for gateway in token.gateways.all() if gateway.removed_at is None]
    return [gateway for gateway in there if access.may(Right.READ, gateway=gateway)]


def _devices(token: Token, access: Access) -> list[Device]:
    there = [device for device in token.devices.all() if device.removed_at is None]
    return [device for device in there if access.may(Right.READ, device=device)]


def _names(things: list[Gateway] | list[Device], noun: str) -> str:
    if not things:
        return f"no {noun}"
    names = ", ".join(str(thing) for thing in things[:MOST_NAMES])
    more = len(things) - MOST_NAMES
    return f"{names} and {counted(more, f'more {noun}')}" if more > 0 else names


def _ends(token: Token) -> str:
    ends = token.revoked_at or token.expires_at
    return f"{ends.astimezone(UTC):%-d %b %Y, %H:%M} UTC" if ends else "never"


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.READ)
def issue(request: HttpRequest) -> HttpResponse:
    form = TokenForm(access_of(request.user), request.POST or None)
    if form.is_valid():
        try:
            return _show_once(request, tokens.issue(person(request), **form.wanted()))
        except tokens.NotIssued as error:
            form.add_error(None, str(error))
    return render(request, "core/token_issue.html", {"form": form})


def _show_once(
    request: HttpRequest, issued: tokens.Issued, old: Token | None = None
) -> HttpResponse:
    """Answer the POST with the token itself.

    A redirect would need its text to be kept somewhere until the next request.
    """
    context = {
        "row": _row(request, issued.token, timezone.now()),
        "text": issued.text,
        "old": old,
        "old_ends": _ends(old) if old else "",
    }
    return render(request, "core/token_issued.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.READ)
def rotate(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a token in place of one's own; to have that of another would be to act as they."""
    token = get_object_or_404(Token.objects.of(person(request)), pk=pk)
    form = RotateForm(request.POST or None)
    if form.is_valid():
        try:
            issued = tokens.rotate(token, form.overlap())
        except tokens.NotIssued as error:
            form.add_error(None, str(error))
        else:
            token.refresh_from_db()
            return _show_once(request, issued, old=token)
    return render(request, "core/token_rotate.html", {"form": form, "token": token})


@require_safe
@permitted(Right.READ)
def used(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how many requests a token made in the last days, by day and by address of the API."""
    token = get_object_or_404(_seen_by(request), pk=pk)
    first = timezone.now().astimezone(UTC).date() - timedelta(days=DAYS_SHOWN - 1)
    days: Counter[date] = Counter()
    routes: Counter[str] = Counter()
    for row in usage.of_token(token, first):
        days[date.fromisoformat(row["day"])] += row["requests"]
        routes[row["route"]] += row["requests"]
    context = {
        "token": token,
        "shown": DAYS_SHOWN,
        "days": sorted(days.items(), reverse=True),
        "routes": routes.most_common(),
        "quota": settings.API_PLANS.get(token.plan),
    }
    return render(request, "core/token_usage.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.READ)
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(_seen_by(request), pk=pk)
    if request.method == "POST":
        was_revoked = not tokens.revoke([pk])
        messages.success(
            request, f"{token} {'was revoked before' if was_revoked else 'is revoked'}."
        )
        return redirect("tokens")
    return render(request, "core/token_revoke.html", {"token": token})


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.READ)
def revoke_all(request: HttpRequest) -> HttpResponse:
    """Revoke all of one's own tokens."""
    user = person(request)
    if request.method == "POST":
        messages.success(request, f"Revoked {counted(tokens.revoke_all(user), 'token')}.")
        return redirect("tokens")
    count = Token.objects.of(user).in_use(timezone.now()).count()
    return render(request, "core/token_revoke.html", {"count": count})
