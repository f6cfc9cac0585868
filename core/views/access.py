"""Permissions of views, and redirects after a POST."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from core.models import User

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


def permitted(permission: str) -> Callable[[View[Path]], View[Path]]:
    """Let in only users who have the permission; others get the log-in page or a 403."""

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
            require(request, permission)
            try:
                return view(request, *path, **named)
            except ObjectDoesNotExist as error:  # somebody removed it while this waited
                raise Http404("It was removed meanwhile.") from error

        return checked

    return wrap


def require(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied(
            f"Your account lacks the permission {permission}. "
            "Somebody who manages users can give it."
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
