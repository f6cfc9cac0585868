from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from core.management.arguments import degrees, given, name, zone
from core.management.command import Command as Base
from core.models import Site
from core.tasks import site as task

FIELDS = ("name", "zone", "place", "latitude", "longitude")


class Command(Base):
    help = (
        "Set the home's time zone and place, which its devices inherit. The rest stays. "
        "Without an option, show them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--zone", type=zone, help="the clock that rules go by, such as Europe/Berlin")
        add("--name", type=name, help="such as Summer house")
        add("--place", type=name, help="such as Berlin")
        add("--latitude", type=degrees, metavar="DEGREES", help="52.52; south is negative")
        add("--longitude", type=degrees, metavar="DEGREES", help="13.40; west is negative")

    def handle(self, *args: Any, **options: Any) -> None:
        changes = given(options, *FIELDS)
        if "zone" in changes:
            changes["zone"] = str(changes["zone"])
        try:
            site = task.set_site(**changes) if changes else Site.home()
        except ValidationError as error:
            why = [f"{field}: {' '.join(said)}" for field, said in error.message_dict.items()]
            raise CommandError(" ".join(why)) from error
        self.stdout.write(task.in_words(site))
