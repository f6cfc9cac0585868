"""Lets pages of people with a log-in subscribe to channels of the hosted relay."""

import re

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from core.live import channels
from core.models import Right, access_of
from core.models.access import refusal

SOCKET_ID = re.compile(r"\d{1,20}\.\d{1,20}", re.ASCII)


@require_POST
@never_cache
def subscribe(request: HttpRequest) -> HttpResponse:
    """Sign the channels that a page may subscribe to now, and say when it has to ask again.

    `socket_id` is what the relay calls the page's connection, `gateway` (repeated) those it shows.
    With `channel_name` it is about that channel alone, as other clients of the relay ask.
    """
    if settings.RELAY is None:
        raise Http404
    if not request.user.is_authenticated:
        return _refused(401, "Log in first.")
    access = access_of(request.user)
    if not access.may(Right.READ):
        return _refused(403, refusal(Right.READ))
    socket_id = request.POST.get("socket_id", "")
    if not SOCKET_ID.fullmatch(socket_id):
        return _refused(400, "socket_id must be that of a connection, such as 12.34.")
    at = channels.now()
    if channel := request.POST.get("channel_name"):
        if not channels.may_subscribe(access, channel, at):
            return _refused(403, "There is no such channel for you now.")
        return JsonResponse({"auth": channels.auth_of(socket_id, channel)})
    said = request.POST.getlist("gateway")
    shown = [int(pk) for pk in said if pk.isascii() and pk.isdecimal() and len(pk) < 19]
    names = channels.channels_of(access, shown, at)
    return JsonResponse(
        {
            "channels": {name: channels.auth_of(socket_id, name) for name in names},
            "again_seconds": round(channels.again_seconds(at), 3),
        }
    )


def _refused(status: int, detail: str) -> HttpResponse:
    return JsonResponse({"detail": detail}, status=status)
