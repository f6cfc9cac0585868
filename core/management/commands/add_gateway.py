import getpass
import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core import vendors
from core.management.command import Command as Base
from core.models import Device
from core.net.errors import ApiError, ApiRefused
from core.tasks import gateways, poll


class Command(Base):
    help = "Ask an address who it is, store it as a gateway, list its devices and poll it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("vendor", choices=vendors.names(), help="the dialect it speaks")
        parser.add_argument("address", metavar="URL", help="such as http://192.168.1.20")
        parser.add_argument("--name", default="", help="otherwise what it calls itself")
        parser.add_argument(
            "--credential",
            action="store_true",
            help="ask for its password or token (or take it from GATEWAY_CREDENTIAL): never an argument, others see those",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        credential = os.environ.get("GATEWAY_CREDENTIAL", "")
        if options["credential"] and not credential:
            credential = getpass.getpass(f"{vendors.load(options['vendor']).credential_hint}: ")
        try:
            found = gateways.add(options["vendor"], options["address"], credential, options["name"])
            poll.poll(found.gateway.pk)
        except (ApiError, ApiRefused, gateways.AlreadyThere) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Added {found.gateway} (gateway {found.gateway.pk}) with {len(found.new)} devices:"
        )
        for device in Device.objects.filter(pk__in=found.new).prefetch_related("attributes"):
            names = ", ".join(attribute.name for attribute in device.attributes.all())
            self.stdout.write(
                f"  {device.pk:>4}  {device}: {names or 'nothing that we understand'}"
            )
        self.stdout.write(
            "Next: python manage.py status, and python manage.py set_rule DEVICE awesome"
        )
