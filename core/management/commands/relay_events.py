from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from core.management import command
from core.management.command import Command as Base


class Command(Base):
    help = (
        "Send events to the hosted relay of RELAY_URL, until Ctrl-C. Not for a schedule: a "
        "process of its own. Of several one sends, and the others wait."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.RELAY is None:
            raise CommandError("RELAY_URL is not set: pages follow events over our own sockets.")
        from core.live.relay import EventRelay  # reads the setting's service

        relay = EventRelay()
        with command.stopping_on_signals(relay.stop):
            relay.run()
