"""What a person asks for through a socket: an order, a hold, its release. Each returns what the client is answered."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from core import serializers
from core.live.sessions import LogIn, still_there
from core.models import Attribute, Device, User
from core.planning.precedence import Source
from core.readings import Unacceptable
from core.tasks.orders import holds, send

PERMISSION = "core.add_devicecommand"
LONGEST_HOLD_MINUTES = 7 * 24 * 60
Json = dict[str, Any]


class Refused(Exception):
    """A sentence for people says why."""


def order(visitor: LogIn, wish: Json) -> Json:
    """Commit an order, which is yet to be sent. Raises Refused."""
    user = permitted(visitor)
    try:
        command = send.order(
            whole(wish, "attribute"),
            wish.get("value"),
            source=Source.HUMAN,
            reason=f"Pressed by {user}",
            user=user,
        )
    except Unacceptable as error:
        raise Refused(f"{error}.") from error
    except (Attribute.DoesNotExist, Device.DoesNotExist):
        raise Refused("There is no such attribute.") from None
    return {"ordered": serializers.command_json(command)}


def hold(visitor: LogIn, wish: Json) -> Json:
    """Keep rules away from a device, for so many minutes or until it is released. Raises Refused."""
    user = permitted(visitor)
    minutes = wish.get("minutes")
    if minutes is not None and whole(wish, "minutes") > LONGEST_HOLD_MINUTES:
        raise Refused("minutes must be a week of them at most.")
    until = timezone.now() + timedelta(minutes=minutes) if minutes else None
    _on_device(lambda pk: holds.hold(pk, until, f"held by {user}"), wish)
    return {"held": {"device": wish["device"]}}


def release(visitor: LogIn, wish: Json) -> Json:
    """Let rules decide again. Raises Refused."""
    permitted(visitor)
    _on_device(holds.release, wish)
    return {"released": {"device": wish["device"]}}


def _on_device(act: Callable[[int], object], wish: Json) -> None:
    try:
        act(whole(wish, "device"))
    except Device.DoesNotExist:
        raise Refused("There is no such device.") from None


def permitted(visitor: LogIn) -> User:
    """The user, read again: the log-in may be over by now, the permission gone. Raises Refused."""
    if visitor.user_pk is None or not still_there([visitor]):
        raise Refused("Log in first.")
    user = User.objects.get(pk=visitor.user_pk)
    if not user.has_perm(PERMISSION):
        raise Refused(f"Your account lacks the permission {PERMISSION}.")
    return user


def whole(wish: Json, name: str) -> int:
    value = wish.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise Refused(f"{name} must be a whole number, 1 or more.")
    return value


ACTIONS: dict[str, Callable[[LogIn, Json], Json]] = {
    "order": order,
    "hold": hold,
    "release": release,
}
