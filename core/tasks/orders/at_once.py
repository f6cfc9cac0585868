"""Send what a person ordered at once: in a worker where there are any, else in this process."""

from collections.abc import Collection

from core.models import DeviceCommand
from core.tasks.messages import hand_over
from core.tasks.orders import send
from core.tasks.orders.outcome import wait_for_outcome


def send_at_once(pks: Collection[int], wait_seconds: float = 0) -> list[DeviceCommand]:
    """Send commands that are committed. Return them as they are then.

    Those of a worker are waited for so many seconds. A broker that does not answer within a second
    is passed by: the commands are sent here, and claims let each be sent once.
    """
    if not hand_over("send_commands", list(pks)):
        return send.send(pks)
    for pk in pks:
        wait_for_outcome(pk, wait_seconds)
    return list(DeviceCommand.objects.filter(pk__in=pks))
