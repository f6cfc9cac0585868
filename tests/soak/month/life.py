"""Live rounds of the script, tick by tick, and keep account of what was done and told."""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from core.models import Alert, Attribute, Device
from core.models.device import FailSafe
from core.readings import Source
from core.tasks import gateways, runs
from core.tasks.orders import send
from core.tasks.site import set_site
from tests.core.raw_server import Answer, Request, answer, serving
from tests.core.tasks.alerts.receivers import hook_server
from tests.soak.kills import let_clock_of_the_database_pass
from tests.soak.month import script
from tests.soak.month.home import Home
from tests.soak.month.script import CHARGER, COMMANDS, DECIDE, HAPPENINGS, HUB, PLUGS, POLL, TICK
from tests.soak.month.small_disk import NEARLY_FULL, SmallDisk
from tests.waiting import wait_until

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
PRESSED = 3 * MINUTE
"""After the tick somebody presses."""


@dataclass
class Account:
    """What happened, by the true clock, and what was told, by the machine's."""

    polled: list[datetime] = field(default_factory=list)
    """When polls came to their end."""
    heard: dict[str, list[datetime]] = field(default_factory=dict)
    """When each gateway answered a poll that came to its end."""
    begun: dict[str, list[datetime]] = field(default_factory=dict)
    """When runs of each command began, by the machine's clock and the pings they sent."""
    pings: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    """What commands said that ended with an error of the database."""
    alerts: dict[int, script.Alert] = field(default_factory=dict)
    looks: list[script.Look] = field(default_factory=list)
    messages: list[script.Message] = field(default_factory=list)
    delivered: Counter[str] = field(default_factory=Counter)


class Life:
    def __init__(self, begins_at: datetime, disk: SmallDisk | None) -> None:
        self.begins_at, self.disk = begins_at, disk
        self.home = Home(begins_at)
        self.account = Account()
        self.now: set[tuple[str, str]] = set()
        """What holds: (what, of)."""
        self.killed_at: datetime | None = None
        """When a run ended without giving its lease back, which lasts by the database's clock."""

    @property
    def wrong_by(self) -> timedelta:
        wrong = (script.WRONG_BY[what] for what, _ in self.now if what in script.WRONG_BY)
        return next(wrong, timedelta())

    def of(self, what: str) -> set[str]:
        return {of for found, of in self.now if found == what}

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """Serve the home, receive what is told, and make the home known."""
        with (
            time_machine.travel(self.begins_at - TICK, tick=True) as self.clock,
            self.home.running(folder),
            hook_server() as self.hook,
            serving(self._ping) as pinged,
        ):
            settings.ALERTS = [f"{self.hook.address}/a-secret-path"]
            settings.ALERT_QUIET_HOURS = script.QUIET
            settings.PINGS = {command: f"{pinged.address}/{command}" for _, command in COMMANDS[:2]}
            settings.FEEDS = ["local:13"]
            if self.disk:
                settings.BASE_DIR = self.disk.folder  # whose disk is looked at
            self._add()
            yield

    def _add(self) -> None:
        set_site(zone=script.ZONE.key)
        for name in PLUGS:
            gateways.add("shelly", self.home.simulator.address(PLUGS.index(name)), name=name)
        self.home.hub.measure(self.begins_at - TICK, set(), set())
        gateways.add("home_assistant", self.home.hub.address, "a token", name=HUB)
        charger = Device.objects.get(name=CHARGER)
        gateways.set_rule(charger.pk, "below", {"threshold": 10})
        # It would ask the gateway, though that rests.
        gateways.change_device(charger.pk, fail_safe=FailSafe.KEEP)

    def _ping(self, request: Request) -> Answer:
        path = request.target.partition("?")[0].strip("/")
        command, _, what = path.partition("/")
        self.account.pings[f"{command} {what}".strip()] += 1
        if what == "start":
            self.account.begun.setdefault(command, []).append(datetime.now(UTC))
        return answer()

    def live(self, tick: datetime) -> None:
        """Let ten minutes pass, from this time on."""
        self._begin(tick)
        for minutes, command in COMMANDS:
            now = tick + minutes * MINUTE
            self._see(now)
            self._set_clock(now)
            if command in self.of("not run"):
                continue
            if command in self.of("killed"):
                self._begin_and_die()
                continue
            if self._run(command, tick):
                self.account.looks.append(script.Look(now, now + self.wrong_by))
            self._note(now)
            if command == DECIDE:
                self._press(tick)

    def _offset(self, now: datetime) -> timedelta:
        return (now - self.begins_at) % script.ROUND

    def _see(self, now: datetime) -> None:
        """Note what holds at this time."""
        offset = self._offset(now)
        possible = (one for one in HAPPENINGS if self.disk or not one.what.startswith("disk"))
        self.now = {(one.what, one.of) for one in possible if one.holds(offset)}
        reply = "503 Service Unavailable" if self.of("receiver away") else "200 OK"
        self.hook.reply = answer(b"{}", reply)

    def _begin(self, tick: datetime) -> None:
        """Let begin and end what does so at this tick."""
        disk_before = self._disk_is()
        self._see(tick)
        self._set_clock(tick)
        if self.killed_at:
            let_clock_of_the_database_pass(tick - self.killed_at)
            self.killed_at = None
        self.home.be(self.of("away"), self.of("lying"))
        for name in self.of("switched off"):  # by hand
            self.home.plug(name).on = False
        self.home.feed_is_away = bool(self.of("feed away"))
        self.home.hub.measure(tick, self.of("dead"), self.of("unavailable"))
        for one in HAPPENINGS:
            if one.what == "without power" and one.begins(self._offset(tick)):
                until = tick + script.at(one.until) - script.at(one.since)
                self.home.meter.lost.append((tick.timestamp(), until.timestamp()))
        if self.disk and self._disk_is() != disk_before:
            self._fill(self.disk)

    def _disk_is(self) -> set[str]:
        return {what for what, _ in self.now if what.startswith("disk")}

    def _fill(self, disk: SmallDisk) -> None:
        connection.close()
        if self.of("disk full"):
            disk.leave(0)
        elif self.of("disk nearly full"):
            disk.leave(NEARLY_FULL)
        else:
            disk.make_room()

    def _set_clock(self, true: datetime) -> None:
        self.home.now = true
        self.clock.move_to(true + self.wrong_by, tick=True)

    def _run(self, command: str, tick: datetime) -> bool:
        """Return whether it ran: not if the database refused it."""
        asked = self.home.answers()
        try:
            with redirect_stderr(io.StringIO()):
                call_command(command, stdout=io.StringIO())
            self.account.done[command] += 1
        except CommandError as error:
            if "database says" in str(error):
                self.account.refused.append(str(error))
                return False
            self.account.done[command] += 1
        finally:
            # A command is a process of its own, and leaves no connection.
            connection.close()
        if command == POLL:
            self._hear(asked, tick)
        return True

    def _hear(self, asked: dict[str, int], tick: datetime) -> None:
        """Note who was asked and answered."""
        self.account.polled.append(tick)
        away = self.of("away")
        for name, times in self.home.answers().items():
            if times > asked[name] and name not in away:
                self.account.heard.setdefault(name, []).append(tick)

    def _begin_and_die(self) -> None:
        """Begin a run and go no further, as a process does that is killed."""
        begun = len(self.account.begun[POLL])
        runs.begin(runs.POLL)
        wait_until(lambda: len(self.account.begun[POLL]) > begun)  # the ping was sent
        self.killed_at = self.home.now

    def _press(self, tick: datetime) -> None:
        self._set_clock(tick + PRESSED)
        for what in ("pressed", "pressed, not sent"):
            for name in self.of(what):
                switch = Attribute.objects.get(device__name=name, name="on")
                command = send.order(switch.pk, True, source=Source.HUMAN, reason="pressed")
                if what == "pressed":
                    send.send([command.pk])

    def _note(self, when: datetime) -> None:
        """Note what was told and what stands in the ledger."""
        account, at = self.account, when + self.wrong_by
        for body in [] if self.of("receiver away") else self.hook.bodies:
            account.delivered[str(body["id"])] += 1
            account.messages.append(script.Message(at, str(body["title"])))
        self.hook.requests.clear()
        try:
            known = list(Alert.objects.exclude(opened_at=None))
        except DatabaseError:  # on a full disk
            return
        for alert in known:
            account.alerts[alert.pk] = script.Alert(
                alert.title, _minute(alert.opened_at), _minute(alert.ended_at)
            )


def _minute(at: datetime | None) -> Any:
    return at.replace(second=0, microsecond=0) if at else None
