"""`python -m bench.happen COUNT PAUSE [group]`: writes events, each in a transaction of its own.

Prints for each its id and the moment (CLOCK_MONOTONIC seconds) after its commit. With `group` each
is also sent to a group of Channels, numbered from 1.
"""

import os
import sys
import time
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
django.setup()

from django.utils import timezone

from bench.group_send import Sender
from core import serializers
from core.models import Event
from core.tasks.events.outbox import publishing

VALUES = 4


def main(count: str, pause: str, *group: str) -> None:
    sender, moments = Sender() if group else None, []
    for number in range(1, int(count) + 1):
        body = reading(number)
        with publishing() as outbox:
            outbox.readings(12, 3, body)
        moments.append(time.monotonic())
        if sender:
            sender.send(number, body)
        time.sleep(float(pause))
    pks = range(1, len(moments) + 1) if sender else newest(len(moments))
    for pk, moment in zip(pks, moments, strict=True):
        print(pk, moment)


def reading(number: int) -> dict[str, Any]:
    """Four values of one device, observed now."""
    now = timezone.now()
    return serializers.readings_json(
        now, {40 + k: (round(20 + number % 10 + k / 10, 1), now) for k in range(VALUES)}, []
    )


def newest(count: int) -> list[int]:
    return sorted(Event.objects.order_by("-pk").values_list("pk", flat=True)[:count])


if __name__ == "__main__":
    main(*sys.argv[1:])
