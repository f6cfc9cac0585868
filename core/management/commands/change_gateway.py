from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core import vendors
from core.management.arguments import add_enabled, given, name
from core.management.command import Command as Base
from core.models import Gateway, SecretUnreadable
from core.net.errors import ApiError, ApiRefused
from core.tasks import gateways

ALLOW_NEW = "of devices that push: each is added by its first message"


class Command(Base):
    help = "Change a gateway's name, address or credential, or disable it. The rest stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("gateway", type=int, metavar="GATEWAY", help="its number, as list_gateways shows it")
        add("--name", type=name)
        add("--address", metavar="URL", help="where the same gateway answers from now on")
        add(
            "--credential",
            action="store_true",
            help="ask for a new password or token, unless GATEWAY_CREDENTIAL holds it; "
            "of devices that push: make a new secret, and print it",
        )
        new = parser.add_mutually_exclusive_group()
        new.add_argument("--allow-new", action="store_const", const=True, help=ALLOW_NEW)
        new.add_argument("--no-new", dest="allow_new", action="store_const", const=False)
        add_enabled(parser, "polled")

    def handle(self, *args: Any, **options: Any) -> None:
        gateway = Gateway.objects.present().get(pk=options["gateway"])
        vendor = vendors.load(gateway.vendor)
        known = (
            ("name", "enabled", "allow_new") if vendor.pushes else ("name", "address", "enabled")
        )
        changes: dict[str, Any] = given(options, *known)
        if options["credential"] and vendor.pushes:
            self.stdout.write(gateways.renew_secret(gateway.pk).secret)
            return
        if options["credential"]:
            question = f"{gateway}: {vendor.credential_hint}"
            changes["credential"] = self.ask_credential(question)
            if vendor.pairing and not changes["credential"]:
                self.pair(vendor.pairing)
        if not changes:
            raise CommandError("Say what to change, such as --name. See --help.")
        try:
            changed = gateways.change(gateway.pk, version=gateway.version, **changes)
        except gateways.CredentialNeeded as error:
            raise CommandError(f"{error} Add --credential.") from error
        except (ApiError, ApiRefused, SecretUnreadable, LookupError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Gateway {changed.pk} is changed: {changed}, {changed.address}.")
