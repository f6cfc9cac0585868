import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core import vendors
from core.formatting import counted
from core.management.command import Command as Base
from core.models import Device, Site
from core.net.errors import ApiError, ApiRefused
from core.tasks import gateways, poll
from core.tasks.site import clock_in_words

NO_ADDRESS = "Its devices push, so it has no address: leave the URL out."
ADDRESS = "Say where it answers, such as http://192.168.1.20"
NEXT = "Next: python manage.py status, and python manage.py set_rule DEVICE awesome"


class Command(Base):
    help = "Add a gateway: ask the address who it is, store it with its devices, and poll it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("vendor", choices=vendors.names(), help="the API that it speaks")
        where = "such as http://192.168.1.20; none for devices that push"
        parser.add_argument("address", metavar="URL", nargs="?", default="", help=where)
        parser.add_argument("--name", default="", help="default: what the gateway calls itself")
        asks = "ask for the password or token, unless GATEWAY_CREDENTIAL holds it"
        parser.add_argument("--credential", action="store_true", help=asks)
        pushing = "of devices that push: each is added by its first message"
        parser.add_argument("--allow-new", action="store_true", help=pushing)

    def handle(self, *args: Any, **options: Any) -> None:
        credential = os.environ.get("GATEWAY_CREDENTIAL", "")
        vendor = vendors.load(options["vendor"])
        if bool(options["address"]) is vendor.pushes:
            raise CommandError(NO_ADDRESS if vendor.pushes else ADDRESS)
        if vendor.pushes:
            added = gateways.add_pushing(options["vendor"], options["name"], options["allow_new"])
            self.stderr.write(added.in_words())
            self.stdout.write(added.secret)
            return
        if options["credential"]:
            credential = self.ask_credential(vendor.credential_hint)
        if vendor.pairing and not credential:
            self.pair(vendor.pairing)
        try:
            found = gateways.add(options["vendor"], options["address"], credential, options["name"])
            poll.poll_devices(found.gateway.pk)
        except (ApiError, ApiRefused, gateways.AlreadyThere) as error:
            raise CommandError(str(error)) from error
        gateway, count = found.gateway, counted(len(found.new), "device")
        self.stdout.write(f"Added {gateway} (gateway {gateway.pk}) with {count}:")
        for device in Device.objects.filter(pk__in=found.new).prefetch_related("attributes"):
            names = ", ".join(attribute.name for attribute in device.attributes.all())
            self.stdout.write(f"  {device.pk:>4}  {device}: {names or 'no attributes'}")
        home = Site.home()
        self.stdout.write(NEXT if home.zone else f"{clock_in_words(home)}\n{NEXT}")
