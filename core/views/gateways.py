"""Gateway pages: the list, add (tested before it is saved), change, discover, remove."""

from typing import Any, cast

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.forms import AddGatewayForm, gateway_form
from core.forms.versioned import Seen, stored, typed
from core.live.follower import newest_event
from core.models import Gateway, Right, SecretUnreadable, User, access_of
from core.net.errors import ApiError, ApiRefused
from core.tasks import discovery, gateways, poll, tokens
from core.vendors import UnknownVendor, load_or_default
from core.views.access import gateway_or_404, permitted, readable

GATEWAYS_A_PAGE = 50
NO_ENTRY = (401, 403)
WRONG = (
    ApiError,
    ApiRefused,
    SecretUnreadable,
    UnknownVendor,
    gateways.AlreadyThere,
    gateways.CredentialNeeded,
)


@readable
@require_safe
def gateway_list(request: HttpRequest) -> HttpResponse:
    now, last_event = timezone.now(), newest_event()  # before anything is read
    present = access_of(request.user).limit_gateways(Gateway.objects.present().with_hearing())
    present = present.annotate(serves=Count("devices", filter=Q(devices__removed_at=None)))
    worst_first = present.order_by("-enabled", "-refused", "-failures", "name", "pk")
    page = Paginator(worst_first, GATEWAYS_A_PAGE).get_page(request.GET.get("page"))
    return render(
        request, "core/gateways.html", {"now": now, "last_event": last_event, "page": page}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN, everywhere=True)
def add(request: HttpRequest) -> HttpResponse:
    form = AddGatewayForm(request.POST or None)
    if form.is_valid() and form.pushes:
        return _added_pushing(request, form)
    if form.is_valid() and (found := _tried(form)):
        messages.success(request, f"{found.gateway} was added. {_devices(len(found.new))} found.")
        _ask(request, found.gateway)
        return redirect(f"{resolve_url('status')}?gateway={found.gateway.pk}")
    return render(request, "core/gateway_add.html", {"form": form})


def _added_pushing(request: HttpRequest, form: AddGatewayForm) -> HttpResponse:
    entered = form.cleaned_data
    added = gateways.add_pushing(entered["vendor"], entered["name"], allow_new=entered["allow_new"])
    user = cast(User, request.user)  # permitted() lets nobody else in
    try:
        issued = tokens.issue(user, str(added.gateway), [Right.INGEST], gateways=[added.gateway])
    except tokens.NotIssued as error:
        messages.error(request, str(error))
        return _secrets(request, added)
    return _secrets(request, added, issued.text)


def _secrets(request: HttpRequest, added: gateways.AddedPushing, token: str = "") -> HttpResponse:
    """Show a new secret, once: a page that is loaded again does not have it."""
    shown = {"gateway": added.gateway, "secret": added.secret, "token": token}
    shown["urls"] = _push_urls(request, added.gateway)
    response = render(request, "core/gateway_secret.html", shown)
    patch_cache_control(response, no_store=True)
    return response


def _push_urls(request: HttpRequest, gateway: Gateway) -> dict[str, str]:
    return {
        "token": request.build_absolute_uri(resolve_url("api_readings")),
        "signed": request.build_absolute_uri(resolve_url("api_signed_readings", gateway.pk)),
    }


@require_POST
@permitted(Right.ADMIN)
def renew_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a new secret for a gateway whose devices push."""
    gateway = gateway_or_404(request, pk)
    if not load_or_default(gateway.vendor).pushes:
        return redirect("gateway", pk)
    return _secrets(request, gateways.renew_secret(pk))


def _tried(form: Form) -> discovery.Discovered | None:
    """Test the connection and add the gateway. An error is shown at the field it concerns."""
    try:
        entered = form.cleaned_data
        names = ("vendor", "address", "credential", "name")
        return gateways.add(**{name: entered[name] for name in names})
    except WRONG as error:
        _complain(form, error)
    return None


def _complain(form: Form, error: Exception) -> None:
    is_credential = isinstance(error, SecretUnreadable | gateways.CredentialNeeded)
    no_entry = getattr(error, "status", None) in NO_ENTRY
    form.add_error("credential" if is_credential or no_entry else "address", str(error))


def _ask(request: HttpRequest, gateway: Gateway) -> None:
    for _, why in poll.poll_devices(gateway.pk, force=True).asked.failed:
        messages.error(request, f"{gateway} was polled and failed: {why}")


def _devices(count: int) -> str:
    return f"{count:,} device{'' if count == 1 else 's'}"


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN)
def change(request: HttpRequest, pk: int) -> HttpResponse:
    gateway = gateway_or_404(request, pk)
    form = gateway_form(gateway, request.POST or None)
    seen = Seen(gateway, request.POST or None)
    if form.is_valid() and _changed(gateway, form, seen):
        messages.success(request, f"{form.cleaned_data['name']}: saved.")
        return redirect("gateways")
    return _page(request, gateway, form=form, seen=seen)


def _changed(gateway: Gateway, form: Form, seen: Seen) -> bool:
    cleaned = form.cleaned_data
    cleaned["credential"] = cleaned.get("credential") or None
    try:
        gateways.change(gateway.pk, version=seen.wanted(), **cleaned)
    except gateways.VersionConflict as refused:
        seen.show_conflict(
            refused.there, stored(gateway_form(cast(Gateway, refused.there))), typed(form)
        )
        return False
    except WRONG as error:
        _complain(form, error)
        return False
    return True


def _page(request: HttpRequest, gateway: Gateway, **context: Any) -> HttpResponse:
    serves = gateway.devices.filter(removed_at=None).count()
    heard = Gateway.objects.with_hearing().get(pk=gateway.pk)
    if load_or_default(gateway.vendor).pushes:
        context["urls"] = _push_urls(request, gateway)
    return render(
        request,
        "core/gateway.html",
        {"now": timezone.now(), "gateway": gateway, "heard": heard, "serves": serves, **context},
    )


@require_POST
@permitted(Right.ADMIN)
def discover(request: HttpRequest, pk: int) -> HttpResponse:
    """Discover its devices again; with `restore` also those that a person removed."""
    gateway = gateway_or_404(request, pk)
    try:
        found = discovery.discover(pk, restore="restore" in request.POST)
    except WRONG as error:
        messages.error(request, f"{gateway} could not be reached: {error}")
        return redirect("gateway", pk)
    parts = [f"{_devices(len(found.new))} new, {len(found.known)} known."]
    if found.restored:
        parts.append(f"{len(found.restored)} restored.")
    if found.left_out:
        parts.append(f"{len(found.left_out)} removed earlier, skipped.")
    if found.unread:
        messages.error(request, f"{gateway} was polled and failed: {found.unread}")
    if found.missing:
        parts.append(
            f"{len(found.missing)} no longer listed by it: {', '.join(found.missing[:5])}."
        )
    messages.success(request, f"{gateway}: {' '.join(parts)}")
    return redirect("gateway", pk)


@require_http_methods(["GET", "HEAD", "POST"])
@permitted(Right.ADMIN)
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    gateway = gateway_or_404(request, pk)
    if request.method == "POST":
        gateways.remove(pk)
        messages.success(request, f"{gateway} and its devices were removed.")
        return redirect("gateways")
    serves = gateway.devices.filter(removed_at=None).count()
    return render(request, "core/gateway_remove.html", {"gateway": gateway, "serves": serves})
