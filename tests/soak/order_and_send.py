"""A process that orders and sends, and carries on with what others left, until it is killed:
`python -m` this, a seed, and for how many rounds. Says the number of each order once it is
committed."""

import random
import sys
import time
from datetime import timedelta

import django

django.setup()

from core.models import Attribute, DeviceCommand  # noqa: E402 (needs what stands above)
from core.readings import Source  # noqa: E402
from core.tasks.orders import send  # noqa: E402

NEVER = timedelta(days=30)
"""Until when an order is good: what a proof counts must not expire."""
SAME_AGAIN = 0.25


def main(seed: int, rounds: int) -> None:
    dice = random.Random(seed)
    for _ in range(rounds):
        send.carry_on()
        switches = list(Attribute.objects.filter(name="on").values_list("pk", flat=True))
        pks = [order(pk, dice) for pk in dice.sample(switches, dice.randint(1, len(switches)))]
        send.send(dice.choice([pks, None]))
        time.sleep(dice.uniform(0, 0.1))


def order(switch_pk: int, dice: random.Random) -> int:
    """Most times the other way round than the order before, so that what arrives has an effect."""
    before = DeviceCommand.objects.filter(attribute=switch_pk).order_by("pk").last()
    value = bool(before and before.number) == (dice.random() < SAME_AGAIN)
    command = send.order(switch_pk, value, source=Source.HUMAN, reason="a proof", expires_in=NEVER)
    print(command.pk, flush=True)
    return command.pk


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
