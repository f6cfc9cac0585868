"""Actions that a person sends through a socket: order, hold, release. Each returns the answer."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from core import serializers
from core.live.sessions import LogIn, still_there
from core.models import Attribute, Device, Right, User, access_of
from core.models.access import refusal
from core.readings import Source, Unacceptable
from core.tasks.orders import holds, send

LONGEST_HOLD_MINUTES = 7 * 24 * 60
Json = dict[str, Any]


class Refused(Exception):
    """An action or message is not accepted; the message is a sentence for people."""


def order(log_in: LogIn, body: Json) -> Json:
    """Commit an order, which is yet to be sent. Raises Refused."""
    user = permitted(log_in)
    attribute = Attribute.objects.select_related("device").filter(pk=whole(body, "attribute"))
    _require(user, [one.device for one in attribute], "attribute")
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
    _on_device(user, lambda pk: holds.hold(pk, until, f"held by {user}"), body)
    return {"held": {"device": body["device"]}}


def release(log_in: LogIn, body: Json) -> Json:
    """Let rules decide again. Raises Refused."""
    _on_device(permitted(log_in), holds.release, body)
    return {"released": {"device": body["device"]}}


def _on_device(user: User, act: Callable[[int], object], body: Json) -> None:
    pk = whole(body, "device")
    _require(user, Device.objects.filter(pk=pk), "device")
    try:
        act(pk)
    except Device.DoesNotExist:
        raise Refused("There is no such device.") from None


def _require(user: User, devices: Iterable[Device], what: str) -> None:
    """Raise Refused unless there is a device and it may be switched: who may not sees none."""
    if not any(access_of(user).may(Right.CONTROL, device=device) for device in devices):
        raise Refused(f"There is no such {what}.")


def permitted(log_in: LogIn) -> User:
    """Read the user again: log-in or right may be gone by now. Raises Refused."""
    if log_in.user_pk is None or not still_there([log_in]):
        raise Refused("Log in first.")
    user = User.objects.get(pk=log_in.user_pk)
    if not access_of(user).may(Right.CONTROL):
        raise Refused(refusal(Right.CONTROL))
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
