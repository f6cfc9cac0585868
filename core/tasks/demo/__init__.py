"""The demo: a simulated home behind real HTTP, driven by the same tasks as any other.

It runs in a process of its own, with a folder of its own that holds its database and its key. It
knows nothing of the settings around it, and reaches no address but this machine's own.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from core.models import Device, Membership, Role, User
from core.net.errors import ApiError, ApiRefused
from core.simulator import KINDS, PUMP, Simulator
from core.tasks import decide, gateways, poll, status
from core.tasks.decisions.verdicts import Verdict
from core.tasks.demo import past
from core.tasks.demo.past import Lived
from core.tasks.runs import AlreadyRunning, Terminated
from core.tasks.site import set_site

Say = Callable[[str], object]

HOME = (*KINDS, PUMP)
POLL_EVERY_SECONDS = 5
DECIDE_EVERY_POLLS = 6
RULES: dict[str, tuple[str, dict[str, object]]] = {
    "Heater": ("cleanest_hours", {"minutes": 360, "before": "22:00", "watts": 1850}),
    "Car charger": (
        "cleanest_hours",
        {"minutes": 180, "before": "07:00", "watts": 7200, "contiguous": True},
    ),
    "Pump": ("lightning_guard", {"flashes": 20}),
}
OF_THE_MACHINE = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "TIME_ZONE", "TZ")
"""What the demo's process is told of the environment around it: no setting of a real home."""


class CannotStart(Exception):
    """Says what keeps the demo from starting, and what to do."""


@contextmanager
def apart(arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start `manage.py demo` in a process and a folder of its own; remove the folder at the end.

    In a session of its own too, so that Ctrl-C reaches us first and we end it.
    """
    with tempfile.TemporaryDirectory(prefix="iotapp-demo-") as folder:
        process = subprocess.Popen(  # noqa: S603 (our own words)
            [sys.executable, "manage.py", "demo", *arguments],
            cwd=settings.BASE_DIR,
            env=_environment(folder),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def _environment(folder: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in OF_THE_MACHINE if name in os.environ}
    return kept | {
        "DEMO": folder,
        "DEBUG": "1",
        "FEEDS": "replay",
        "GATEWAY_NETWORKS": "loopback",
        # What it says is seen at once, also through a pipe.
        "PYTHONUNBUFFERED": "1",
    }


def run(say: Say, port: int | None) -> None:
    """Set the home up, poll, decide, print the status.

    With a port, serve the page there until Ctrl-C or SIGTERM.
    """
    if port is not None:
        port = _free(port)
    say(
        f"The demo has a folder of its own, {settings.DEMO}, for as long as it runs. Your devices, "
        "your database and your settings are not touched.\n"
    )
    call_command("migrate", verbosity=0)
    with _ended_by_signals(say), ExitStack() as stack:
        set_site(name="The demo's home", zone=settings.TIME_ZONE)
        _add_home(stack.enter_context(_home()))
        _poll(say)
        for verdict in _decide():
            say(f"{verdict.device}: {verdict.sentence}{verdict.receipt_words}")
        _poll(say)
        say(f"\n{status.overview().in_words()}")
        if port is not None:
            stack.enter_context(_page(port))
            say(_welcome(port))
            _go_on(say)


def _free(port: int) -> int:
    """Return the port, a free one for 0. Raises CannotStart if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
        except OSError as error:
            raise CannotStart(
                f"Port {port} of this machine cannot be used ({error.strerror}). "
                f"If the demo runs already, it is at http://127.0.0.1:{port}/; "
                f"otherwise choose another: make demo PORT={port + 1}"
            ) from None


@contextmanager
def _home() -> Iterator[Simulator]:
    """Give simulated devices, on a free port."""
    with Simulator(devices=len(HOME), kinds=HOME) as simulator:
        yield simulator


def _add_home(simulator: Simulator) -> None:
    now = timezone.now()
    past.fetch_past(now)
    lived: dict[int, Lived] = {}
    for number, simulated in enumerate(simulator.devices):
        its_past = past.live(simulated, RULES.get(simulated.name), now)
        device = _add(simulator.address(number))
        if device.name in RULES:
            gateways.set_rule(device.pk, *RULES[device.name])
        lived[device.pk] = its_past
    past.store(lived, now)


def _add(address: str) -> Device:
    try:
        gateway = gateways.add("shelly", address).gateway
    except (ApiError, ApiRefused) as error:
        raise CannotStart(f"The simulated devices do not answer: {error}") from error
    return Device.objects.get(gateway=gateway)


def _poll(say: Say) -> None:
    try:
        summary = poll.poll_devices(force=True)
    except AlreadyRunning:
        return  # by a person who asks in the page
    for name, why in summary.asked.failed:
        say(f"{name}: {why}")


def _decide() -> list[Verdict]:
    try:
        return decide.decide()
    except AlreadyRunning:
        return []


@contextmanager
def _page(port: int) -> Iterator[None]:
    """Serve the page as in production.

    In a session of its own, so that Ctrl-C reaches us first and we end it.
    """
    gunicorn = [sys.executable, "-m", "gunicorn", "--log-level", "warning"]
    server = subprocess.Popen(  # noqa: S603 (our own words)
        [*gunicorn, "--bind", f"127.0.0.1:{port}", "iotapp.asgi"],
        cwd=settings.BASE_DIR,
        env=os.environ | {"WEB_CONCURRENCY": "1"},
        start_new_session=True,
    )
    try:
        yield
    finally:
        server.terminate()
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()


def _welcome(port: int) -> str:
    """Say where to look and how to log in.

    The user `demo`, who may do what the demo shows, gets a new password.
    """
    password = secrets.token_urlsafe(9)
    user, _ = User.objects.get_or_create(username="demo")
    user.set_password(password)
    user.save()
    Membership.objects.update_or_create(user=user, defaults={"role": Role.ADMINISTRATOR})
    decide_seconds = POLL_EVERY_SECONDS * DECIDE_EVERY_POLLS
    return (
        f"\nThe page: http://127.0.0.1:{port}/   log in as demo with the password {password}\n"
        f"Polling every {POLL_EVERY_SECONDS} s, deciding every {decide_seconds} s. Ctrl-C ends it."
    )


@contextmanager
def _ended_by_signals(say: Say) -> Iterator[None]:
    """End well on Ctrl-C and SIGTERM."""

    def end(signum: int, frame: object) -> None:
        raise Terminated(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        say("\nThe demo has ended. Nothing of it stays stored.")
    finally:
        signal.signal(signal.SIGTERM, before)


def _go_on(say: Say) -> None:
    rounds = 0
    while True:
        time.sleep(POLL_EVERY_SECONDS)
        rounds += 1
        _poll(say)
        if rounds % DECIDE_EVERY_POLLS == 0:
            for verdict in _decide():
                if verdict.command:
                    say(f"{verdict.device}: {verdict.sentence}")
