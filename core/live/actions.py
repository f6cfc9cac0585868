"""Actions that a person sends through a socket: order, hold, release. Each returns the answer."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from core import serializers
from core.live.sessions import LogIn, still_there
from core.models import Attribute, Device, User
from core.readings import Source, Unacceptable
from core.tasks.orders import holds, send

PERMISSION = "core.add_devicecommand"
LONGEST_HOLD_MINUTES = 7 * 24 * 60
Json = dict[str, Any]


class Refused(Exception):
    """An action or message is not accepted; the message is a sentence for people."""


def order(log_in: LogIn, body: Json) -> Json:
    """Commit an order, which is yet to be sent. Raises Refused."""
    user = permitted(log_in)
    try:
        command = send.order(
            whole(body, "attribute"),
            body.get("value"),
            source=Source.HUMAN,
            reason=f"Pressed by {user}",
            user=user,
        )
    except Unacceptable as error:
        raise Refused(f"{error}.") from error
    except (Attribute.DoesNotExist, Device.DoesNotExist):
        raise Refused("There is no such attribute.") from None
    return {"ordered": serializers.command_json(command)}


def hold(log_in: LogIn, body: Json) -> Json:
    """Keep rules away from a device for some minutes, or until released. Raises Refused."""
    user = permitted(log_in)
    minutes = body.get("minutes")
    if minutes is not None and whole(body, "minutes") > LONGEST_HOLD_MINUTES:
        raise Refused("minutes must be a week of them at most.")
    until = timezone.now() + timedelta(minutes=minutes) if minutes else None
    _on_device(lambda pk: holds.hold(pk, until, f"held by {user}"), body)
    return {"held": {"device": body["device"]}}


def release(log_in: LogIn, body: Json) -> Json:
    """Let rules decide again. Raises Refused."""
    permitted(log_in)
    _on_device(holds.release, body)
    return {"released": {"device": body["device"]}}


def _on_device(act: Callable[[int], object], body: Json) -> None:
    try:
        act(whole(body, "device"))
    except Device.DoesNotExist:
        raise Refused("There is no such device.") from None


def permitted(log_in: LogIn) -> User:
    """Read the user again: log-in or permission may be gone by now. Raises Refused."""
    if log_in.user_pk is None or not still_there([log_in]):
        raise Refused("Log in first.")
    user = User.objects.get(pk=log_in.user_pk)
    if not user.has_perm(PERMISSION):
        raise Refused(f"Your account lacks the permission {PERMISSION}.")
    return user


def whole(body: Json, name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise Refused(f"{name} must be a whole number, 1 or more.")
    return value


ACTIONS: dict[str, Callable[[LogIn, Json], Json]] = {
    "order": order,
    "hold": hold,
    "release": release,
}
