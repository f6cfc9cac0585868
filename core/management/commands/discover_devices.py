from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.http import ApiError, ApiRefused
from core.management.command import Command as Base
from core.models import Gateway, SecretUnreadable
from core.tasks import gateways


class Command(Base):
    help = "Ask gateways which devices they have now. Run it when you bought something, or once a day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--gateway", type=int, metavar="PK", help="this gateway only")
        parser.add_argument("--restore", action="store_true", help="bring back devices that were removed")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = (
            Gateway.objects.active() if options["gateway"] is None else Gateway.objects.present().filter(pk=options["gateway"])
        )
        if not chosen:
            raise CommandError("There is no such gateway. Add one: python manage.py add_gateway VENDOR URL")
        failed = []
        for gateway in chosen:
            try:
                found = gateways.discover(gateway.pk, restore=options["restore"])
            except (ApiError, ApiRefused, SecretUnreadable) as error:
                failed.append(f"{gateway}: {error}")
                continue
            self.stdout.write(found.in_words())
        if failed:
            raise CommandError("\n".join(failed))
