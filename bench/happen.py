"""`python -m bench.happen COUNT PAUSE`: so many events, each in a transaction of its own; prints for each its id and the moment
(CLOCK_MONOTONIC seconds) after its commit."""

import os
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.utils import timezone

from core import wire
from core.models import Event
from core.tasks.publish import publishing


def main() -> None:
    told = []
    for number in range(int(sys.argv[1])):
        now = timezone.now()
        with publishing() as outbox:
            outbox.readings(12, 3, wire.readings(now, {40 + k: (number + k / 10, now) for k in range(4)}, []))
        told.append(time.monotonic())
        time.sleep(float(sys.argv[2]))
    for pk, moment in zip(
        Event.objects.order_by("pk").values_list("pk", flat=True).reverse()[: len(told)], reversed(told), strict=True
    ):
        print(pk, moment)


if __name__ == "__main__":
    main()
