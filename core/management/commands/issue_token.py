from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from core.management import arguments
from core.management.command import Command as Base
from core.models import Device, Gateway, Right, User
from core.tasks import tokens


class Command(Base):
    help = "Make a token, with which a program logs in to the API. It is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("user", metavar="USER", help="whose token it is: it never may more than this person")
        add("name", type=arguments.name, metavar="NAME", help="who or what uses it")
        rights = [right.value for right in Right]
        add("--right", action="append", required=True, choices=rights, help="repeatable")
        add("--gateway", type=int, action="append", help="only for this one; repeatable")
        add("--device", type=int, action="append", help="only for this one; repeatable")
        add("--days", type=arguments.days, help="it expires after so many (default: never)")
        add("--plan", default="", help="how many requests a day, by API_PLANS (default: any)")
        add("--alone", action="store_true", help="revoke all other tokens of the person")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}.")
        gateways = [Gateway.objects.present().get(pk=pk) for pk in options["gateway"] or ()]
        devices = [Device.objects.present().get(pk=pk) for pk in options["device"] or ()]
        try:
            issued = tokens.issue(
                user,
                options["name"],
                [Right(right) for right in options["right"]],
                gateways=gateways or None,
                devices=devices or None,
                lasts=timedelta(days=options["days"]) if options["days"] else None,
                alone=options["alone"],
                plan=options["plan"],
            )
        except tokens.NotIssued as error:
            raise CommandError(str(error)) from error
        self.stderr.write(f"Token {issued.token.pk}. It is not shown again:")
        self.stdout.write(issued.text)
