from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from core.management.arguments import add_whereabouts, given, name
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
        add_whereabouts(parser)
        add("--name", type=name, help="such as Summer house")
        add("--place", type=name, help="such as Berlin")

    def handle(self, *args: Any, **options: Any) -> None:
        changes = given(options, *FIELDS)
        try:
            site = task.set_site(**changes) if changes else Site.home()
        except ValidationError as error:
            why = [f"{field}: {' '.join(said)}" for field, said in error.message_dict.items()]
            raise CommandError(" ".join(why)) from error
        self.stdout.write(task.in_words(site))
