import errno
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.formatting import counted
from core.management import arguments, command
from core.simulator import BY_NAME, Fault, Simulator, kinds_named
from core.simulator.faults import FAULTS

MOST_DEVICES = 10_000
FAULT_HELP = "KIND[=ARGUMENT][:SHARE%%], repeatable. " + "; ".join(
    f"{kind}: {meaning}" for kind, meaning in FAULTS.items()
)


class Command(command.Command):
    help = "Serve simulated Shelly devices on this machine, until Ctrl-C. Not for a schedule."
    needs_whole_site = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--devices", type=int, default=4, help="how many (default: 4)")
        add("--kind", action="append", default=[], choices=sorted(BY_NAME), help="repeatable")
        add("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
        add("--port", type=arguments.port, default=8100, help="0: any free one (default: 8100)")
        add("--latency", type=float, default=0.0, help="seconds before each answer (default: 0)")
        add("--password", default="", help="of the user admin on each device (default: none)")
        add("--fault", action="append", default=[], metavar="FAULT", help=FAULT_HELP)

    def handle(self, **options: Any) -> None:
        devices, host, port = options["devices"], options["host"], options["port"]
        if not 1 <= devices <= MOST_DEVICES:
            raise CommandError(f"--devices must be between 1 and {MOST_DEVICES}.")
        try:
            faults = [Fault.parse(text) for text in options["fault"]]
            how = {name: options[name] for name in ("host", "port", "password", "latency")}
            simulator = Simulator(devices, faults=faults, kinds=kinds_named(options["kind"]), **how)
        except ValueError as error:
            raise CommandError(str(error)) from None
        try:
            with command.stopping_on_signals(simulator.stop):
                simulator.run(lambda: self.announce(simulator))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "is taken: stop what listens there" if taken else f"cannot be used ({error})"
            sentence = f"Port {port} of {host} {why}, or choose another with --port."
            raise CommandError(sentence) from None

    def announce(self, simulator: Simulator) -> None:
        count = len(simulator.devices)
        addresses = first = simulator.address(0)
        if count > 1:
            addresses += f" to {simulator.address(count - 1)}"
        self.stdout.write(
            f"{counted(count, 'device')} at {addresses}. "
            f"Add one with: python manage.py add_gateway shelly {first}"
        )
        self.stdout.flush()
