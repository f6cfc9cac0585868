"""React to what devices tell by themselves: confirm orders by it, and decide, without waiting for a
slot.

Only a device whose rule or guard says `REACT = True` is decided about, and at most once a minute:
when it tells something itself, when another device does that an option names, and when the time is
over for which it was decided, such as the ten minutes that a value has to last.
"""

from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from core import rules
from core.models import Device, DeviceCommand, Receipt
from core.models.device import DeviceQuerySet
from core.tasks.decide import decide_again
from core.tasks.messages import hand_over
from core.tasks.orders.confirm import confirm_commands

LEAST_PAUSE = timedelta(minutes=1)
"""Between two decisions for one device, however often it tells something."""
MOST_AT_ONCE = 500


def reacting(device_pks: Collection[int]) -> DeviceQuerySet:
    """Return the devices that decide when one of these tells something: those of them whose rule or
    guard reacts, and others whose reacting rule or guard names one of them."""
    pks, names = list(device_pks), rules.reacting()
    reacts = Q(rule__in=names, pk__in=pks) | Q(guard__in=names, pk__in=pks)
    for name in names:
        for option in rules.load(name).device_options:
            reacts |= Q(rule=name, **{f"options__{option}__in": pks})
            reacts |= Q(guard=name, **{f"guard_options__{option}__in": pks})
    return Device.objects.ruled().filter(reacts)


def worth_deciding(device_pks: Collection[int]) -> DeviceQuerySet:
    """Return those of them that were not decided about just now."""
    now = timezone.now()
    # A time ahead of now is of a wrong clock, and keeps nobody waiting.
    just_now = Q(decided_at__gt=now - LEAST_PAUSE, decided_at__lte=now)
    return reacting(device_pks).exclude(just_now)


def overdue() -> list[int]:
    """Return devices whose last decision, by a rule that reacts, held until now and no longer.

    One query, of as many rows as there are devices with a rule.
    """
    now = timezone.now()
    # One that was over when it was last decided would else be found again and again.
    over = Receipt.objects.current().filter(
        rule__in=rules.reacting(), until__lte=now, until__gt=F("repeated_at")
    )
    ruled = over.filter(device__in=Device.objects.ruled())
    return list(ruled.order_by("until").values_list("device", flat=True)[:MOST_AT_ONCE])


def ask_workers_to_react(device_pks: Collection[int]) -> None:
    """Let a worker react, if one is there and it is worth it. Else the next slot does."""
    if not settings.CELERY_BROKER_URL:
        return
    if _open(device_pks) or worth_deciding(device_pks).exists():
        hand_over("react", list(device_pks))


def react(device_pks: Collection[int]) -> None:
    """Confirm open orders by what was told, and decide for the devices that it is worth it."""
    confirm_commands()
    decide_again(worth_deciding(device_pks).values_list("pk", flat=True), LEAST_PAUSE)


def react_in_time(device_pks: Collection[int]) -> set[int]:
    """React, here or by a worker. Return the devices that were decided about less than a minute
    ago: what they told then is to be reacted to when that is over."""
    later: set[int] = set()
    pks = sorted(device_pks)
    for start in range(0, len(pks), MOST_AT_ONCE):
        part = pks[start : start + MOST_AT_ONCE]
        worth = set(worth_deciding(part).values_list("pk", flat=True))
        # Whatever reacts, and was decided less than a minute ago, is looked at again.
        later |= set(reacting(part).values_list("pk", flat=True)) - worth
        if worth or _open(part):
            told = worth | set(_open(part))
            # Without a worker, or where the broker takes nothing, it is done here.
            if not (settings.CELERY_BROKER_URL and hand_over("react", sorted(told))):
                react(worth)
    return later


def _open(device_pks: Collection[int]) -> list[int]:
    """Return those devices of which an order is under way."""
    commands = DeviceCommand.objects.open().filter(attribute__device__in=device_pks)
    return list(commands.values_list("attribute__device", flat=True).distinct())
