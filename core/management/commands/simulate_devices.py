import errno
import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.simulator import Fault, Simulator
from core.simulator.faults import FAULTS

MOST_DEVICES = 10_000


class Command(BaseCommand):
    help = "Serve simulated devices on this machine until Ctrl-C. For demo, tests and benchmarks; nothing to schedule."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--devices", type=int, default=4, help="how many (4)")
        parser.add_argument("--host", default="127.0.0.1", help="a loopback address (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8100, help="0: any free one (8100)")
        parser.add_argument(
            "--latency", type=float, default=0.0, help="seconds before each answer (0)"
        )
        parser.add_argument("--password", default="", help="of the devices' user admin (none)")
        faults = "; ".join(f"{kind}: {what}" for kind, what in FAULTS.items())
        form = "KIND[=ARGUMENT][:SHARE%%]"
        parser.add_argument(
            "--fault",
            action="append",
            default=[],
            metavar="FAULT",
            help=f"{form}, repeatable. {faults}",
        )

    def handle(self, **options: Any) -> None:
        if not 1 <= options["devices"] <= MOST_DEVICES:
            raise CommandError(f"--devices must be between 1 and {MOST_DEVICES}.")
        host, port = options["host"], options["port"]
        try:
            faults = [Fault.parse(text) for text in options["fault"]]
            simulator = Simulator(
                options["devices"],
                host=host,
                port=port,
                password=options["password"],
                latency=options["latency"],
                faults=faults,
            )
        except ValueError as error:
            raise CommandError(str(error)) from None
        try:
            with stopped_by_signals(simulator):
                simulator.run(lambda: self.announce(simulator))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "is taken: stop what listens there" if taken else f"cannot be used ({error})"
            raise CommandError(
                f"Port {port} of {host} {why}, or choose another with --port."
            ) from None

    def announce(self, simulator: Simulator) -> None:
        first, last = simulator.address(0), simulator.address(len(simulator.devices) - 1)
        addresses = first if first == last else f"{first} to {last}"
        self.stdout.write(
            f"{len(simulator.devices)} devices at {addresses}. Add one with: manage.py add_gateway shelly {first}",
            ending="\n",
        )
        self.stdout.flush()


@contextmanager
def stopped_by_signals(simulator: Simulator) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the simulator instead of the process, which then ends by itself, with 0."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, lambda *_: simulator.stop()) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
