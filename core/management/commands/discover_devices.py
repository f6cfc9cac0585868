from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.command import Command as Base
from core.models import Gateway, SecretUnreadable
from core.net.errors import ApiError, ApiRefused
from core.tasks import gateways


class Command(Base):
    help = (
        "Ask gateways which devices they have now. Run it when you bought something, or once a day."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--gateway", type=int, metavar="PK", help="this gateway only")
        parser.add_argument(
            "--restore", action="store_true", help="bring back devices that were removed"
        )
        parser.add_argument(
            "--json", action="store_true", help="print what was found for a program"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = (
            Gateway.objects.active()
            if options["gateway"] is None
            else Gateway.objects.present().filter(pk=options["gateway"])
        )
        if not chosen:
            raise CommandError(
                "There is no such gateway. Add one: python manage.py add_gateway VENDOR URL"
            )
        failed, told = [], []
        with self.progress("gateway") as progress:
            for done, gateway in enumerate(chosen, 1):
                try:
                    told.append(gateways.discover(gateway.pk, restore=options["restore"]))
                except (ApiError, ApiRefused, SecretUnreadable) as error:
                    failed.append(f"{gateway}: {error}")
                if progress:
                    progress(done, len(chosen))
        if options["json"]:
            self.write_json([found.as_json() for found in told])
        else:
            self.stdout.write("\n".join(found.in_words() for found in told))
        if failed:
            raise CommandError("\n".join(failed))
