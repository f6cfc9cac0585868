from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from core import serializers
from core.management.command import Command as Base
from core.models import Attribute
from core.models.device_command import State
from core.planning.precedence import Source
from core.readings import Kind, Unacceptable
from core.tasks.orders import send

BOOLEANS = {
    "on": True,
    "true": True,
    "1": True,
    "yes": True,
    "off": False,
    "false": False,
    "0": False,
    "no": False,
}


class Command(Base):
    help = "Order a value by hand, send it, and say whether it took effect."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("device", type=int, metavar="DEVICE", help="its number in `status`")
        parser.add_argument("attribute", metavar="ATTRIBUTE", help="such as on")
        parser.add_argument("value", metavar="VALUE", help="such as off, 21.5 or heat")
        parser.add_argument(
            "--for",
            type=float,
            dest="minutes",
            metavar="MINUTES",
            help="the device itself goes back then, if it has a timer",
        )
        parser.add_argument(
            "--json", action="store_true", help="print what became of it for a program"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        attributes = Attribute.objects.filter(device=options["device"]).select_related(
            "device__gateway"
        )
        attribute = attributes.filter(name=options["attribute"]).first()
        if attribute is None:
            known = ", ".join(attributes.values_list("name", flat=True))
            raise CommandError(
                f"Device {options['device']} has no {options['attribute']}. It has: {known or 'nothing'}."
            )
        try:
            value = typed(options["value"], Kind(attribute.kind))
            command = send.order(
                attribute.pk,
                value,
                source=Source.HUMAN,
                reason="ordered on the command line",
                revert_after=_span(options["minutes"]),
            )
        except Unacceptable as error:
            raise CommandError(f"{error}.") from error
        [command] = send.send([command.pk])
        if options["json"]:
            self.write_json(serializers.command_json(command))
        sentence = f"{attribute.device}: {attribute} {options['value']}: {command.state}. {command.error}".strip()
        if command.state != State.CONFIRMED:
            raise CommandError(sentence)
        if not options["json"]:
            self.stdout.write(sentence)


def _span(minutes: float | None) -> timedelta | None:
    if minutes is not None and not 0 < minutes <= 1440:
        raise CommandError("--for takes minutes, more than 0 and at most 1440, a day.")
    return timedelta(minutes=minutes) if minutes else None


def typed(word: str, kind: Kind) -> float | bool | str:
    """What was typed, as a value of the attribute's kind. Raises Unacceptable."""
    if kind is Kind.BOOLEAN and word.lower() in BOOLEANS:
        return BOOLEANS[word.lower()]
    if kind is Kind.NUMBER:
        try:
            return float(word)
        except ValueError:
            raise Unacceptable(f"{word!r} is no number") from None
    return word
