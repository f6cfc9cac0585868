from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.core.management.base import CommandError

from core import rules
from core.management.command import Command as Base
from core.models import Device
from core.tasks import gateways


class Command(Base):
    help = "Let a rule decide for a device from now on, with these options; with the rule `none`, nobody does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("device", type=int, metavar="DEVICE", help="its number in `status`")
        parser.add_argument("rule", choices=[*rules.names(), "none"])
        parser.add_argument(
            "options",
            nargs="*",
            metavar="NAME=VALUE",
            help="such as minutes=180; what is left out is as usual",
        )
        parser.add_argument(
            "--guard", action="store_true", help="it goes before the rule, to avert harm"
        )
        parser.add_argument(
            "--options",
            dest="explain",
            action="store_true",
            help="show what the rule can be told, change nothing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, words = options["rule"], options["options"]
        if options["explain"]:
            self.stdout.write(table(name) or f"{name} has no options.")
            return
        try:
            device = gateways.set_rule(
                options["device"], name, written(words), guard=options["guard"]
            )
        except Device.DoesNotExist as error:
            raise CommandError(f"Device {options['device']}: {error}") from error
        except ValueError as error:
            raise CommandError(f"{error}\n{table(name)}".strip()) from error
        part = "guard" if options["guard"] else "rule"
        stored = device.guard_options if options["guard"] else device.options
        self.stdout.write(f"{device}: {said(part, name, stored)} from now on.")


def said(part: str, name: str, stored: Mapping[str, object]) -> str:
    """What decides from now on, with each option as it will be read, written or left out."""
    if name == "none":
        return "nobody decides" if part == "rule" else "nothing guards it"
    options = rules.load(name).read(stored)
    told = [
        f"{one.name}={typed(value)}"
        for one in fields(options)
        if (value := getattr(options, one.name)) != ""
    ]
    return " ".join([f"the {part} {name} decides", *(["with", *told] if told else [])])


def written(words: list[str]) -> dict[str, object]:
    """Raises ValueError for what is no NAME=VALUE."""
    pairs = [word.partition("=") for word in words]
    if wrong := next((name for name, equals, _ in pairs if not equals), ""):
        raise ValueError(f"{wrong!r} is not of the form NAME=VALUE.")
    return {name.strip(): value.strip() for name, _, value in pairs}


def typed(value: object) -> str:
    text = (
        ("on" if value else "off")
        if isinstance(value, bool)
        else f"{value:.12g}"
        if isinstance(value, float)
        else str(value)
    )
    return f"'{text}'" if " " in text else text


def table(name: str) -> str:
    """What a rule can be told: a line for each option, with what it is if left out."""
    options = fields(rules.load(name).options) if name != "none" else ()
    return "\n".join(
        f"  {f'{one.name}={typed(one.default)}':<26}  {meaning(one.metadata)}".rstrip()
        for one in options
    )


def meaning(about: Mapping[str, Any]) -> str:
    unit, choices = about.get("unit"), ", ".join(about.get("choices", ()))
    return (
        f"{about.get('help', '')}{f' ({unit})' if unit else ''}{f': {choices}' if choices else ''}"
    )
