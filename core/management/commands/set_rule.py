from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core import rules
from core.management.arguments import add_device
from core.management.command import Command as Base
from core.models import Site
from core.tasks import gateways, rule_options, site

NONE = "none"


class Command(Base):
    help = "Choose the rule that decides for a device, and its options. `none` removes the rule."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_device(parser)
        parser.add_argument("rule", choices=[*rules.names(), NONE])
        parser.add_argument(
            "options",
            nargs="*",
            metavar="NAME=VALUE",
            help="options of the rule, such as minutes=180; the others keep their defaults",
        )
        parser.add_argument(
            "--guard", action="store_true", help="set the guard, which goes before the rule"
        )
        parser.add_argument(
            "--options",
            dest="explain",
            action="store_true",
            help="show the options of the rule and their defaults; change nothing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, part = options["rule"], "guard" if options["guard"] else "rule"
        table = "" if name == NONE else rule_options.table(name)
        if options["explain"]:
            self.stdout.write(table or f"{name} has no options.")
            return
        try:
            written = rules.read_pairs(options["options"])
            device = gateways.set_rule(options["device"], name, written, guard=options["guard"])
        except ValueError as error:
            raise CommandError(f"{error}\n{table}".strip()) from error
        if name == NONE:
            self.stdout.write(f"{device}: has no {part} from now on.")
            return
        stored = device.guard_options if options["guard"] else device.options
        chosen = rule_options.all_of(name, stored)
        sentence = f"{device}: the {part} {name} decides from now on"
        self.stdout.write(f"{sentence}, with {chosen}." if chosen else f"{sentence}.")
        if rules.has_times(chosen):
            self.stdout.write(site.clock_in_words(Site.home(), device))
