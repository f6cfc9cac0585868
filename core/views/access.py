"""Permissions of views, and redirects after a POST."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from core.models import Device, Gateway, Right, User, access_of
from core.models.access import refusal

Path = ParamSpec("Path")
View = Callable[Concatenate[HttpRequest, Path], HttpResponse]


def readable(view: View[Path]) -> View[Path]:
    """Let in everybody while PUBLIC_STATUS is on, else only users who are logged in."""

    @wraps(view)
    def checked(request: HttpRequest, /, *path: Path.args, **named: Path.kwargs) -> HttpResponse:
        if settings.PUBLIC_STATUS or request.user.is_authenticated:
            return view(request, *path, **named)
        return redirect_to_login(request.get_full_path())

    return checked


def permitted(right: Right, everywhere: bool = False) -> Callable[[View[Path]], View[Path]]:
    """Let in only users who have the right; others get the log-in page or a 403.

    With `everywhere` it must be for all gateways. Else the view leaves out what they may not see.
    """

    def wrap(view: View[Path]) -> View[Path]:
        @wraps(view)
        def checked(
            request: HttpRequest, /, *path: Path.args, **named: Path.kwargs
        ) -> HttpResponse:
            if not request.user.is_authenticated:
                # A log-in leads on by GET, so after a POST it leads to the page with the form.
                if request.method == "POST":
                    return redirect_to_login(own_path(request, "status"))
                return redirect_to_login(request.get_full_path())
            require(request, right, everywhere)
            try:
                return view(request, *path, **named)
            except ObjectDoesNotExist as error:  # somebody removed it while this waited
                raise Http404("It was removed meanwhile.") from error

        return checked

    return wrap


def require(request: HttpRequest, right: Right, everywhere: bool = False) -> None:
    access = access_of(request.user)
    if not (access.may_everywhere(right) if everywhere else access.may(right)):
        raise PermissionDenied(refusal(right))


def device_or_404(request: HttpRequest, pk: int) -> Device:
    """Return a device with its gateway, if it is there and the person may see it."""
    devices = Device.objects.present().select_related("gateway")
    return get_object_or_404(access_of(request.user).limit_devices(devices), pk=pk)


def gateway_or_404(request: HttpRequest, pk: int) -> Gateway:
    """Return a gateway, if it is there and the person may see it."""
    return get_object_or_404(
        access_of(request.user).limit_gateways(Gateway.objects.present()), pk=pk
    )


def person(request: HttpRequest) -> User:
    """Return the logged-in user of a view that is `permitted`."""
    return cast(User, request.user)


def own_path(request: HttpRequest, default: str, *parts: object) -> str:
    """Return the form's `next` path if it is on this site, else the default page."""
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(
        wanted, allowed_hosts=None, require_https=request.is_secure()
    ):
        return wanted
    return resolve_url(default, *parts)


def back(request: HttpRequest, default: str, *parts: object) -> HttpResponseRedirect:
    return HttpResponseRedirect(own_path(request, default, *parts))
