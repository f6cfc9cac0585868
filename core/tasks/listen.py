"""Listen to gateways that tell by themselves what changes, for as long as the process runs.

One process does, by a lease; others wait for it. It holds one connection a gateway, each in a
thread of its own, and stores what comes through `record()`, as polls do. While it holds a
connection, polls leave that gateway to it most of the time. Nothing is lost when it is killed: the
note in the gateway's row is over soon, and then polls ask as before.
"""

import logging
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core import vendors
from core.models import Device, Gateway
from core.models.run import Outcome
from core.tasks import runs
from core.tasks.events.outbox import publishing
from core.tasks.listening.connection import Connection, Heard, Listened
from core.tasks.listening.inbox import Inbox
from core.tasks.listening.reactions import Reactions
from core.tasks.polling.record import record
from core.tasks.react import overdue, react_in_time
from core.tasks.runs import AlreadyRunning, HeldLease, LeaseLost

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How soon gateways are noticed that were added, changed or removed."""
NOTE_SECONDS = 30.0
LISTENED = timedelta(seconds=120)
"""How long a note lasts that says a gateway is listened to."""
TURN_SECONDS = 0.5
TAKE_AGAIN_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 30.0
END_SECONDS = 3.0
"""What the threads have for their ends, of the 10 s that a process has after SIGTERM."""
OPENED_AT_ONCE = 50
"""Connections opened in one look: so many TLS handshakes at once leave room for what is heard."""


class Listener:
    """`run()` works until `stop()` is called. Everything but the network is in that one thread."""

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        """By the key of the gateway."""
        self._inbox = Inbox()
        self._reactions = Reactions(react_in_time, overdue)
        self._stopping = threading.Event()
        self._noted: set[int] = set()
        self._looked_at = self._noted_at = float("-inf")
        self._holding: HeldLease | None = None

    def stop(self) -> None:
        """End soon. For handlers of signals."""
        self._stopping.set()

    def run(self) -> None:
        """Listen until `stop()`. While another process does, wait for it."""
        self._reactions.start()
        waits = False
        while not self._stopping.is_set():
            try:
                self._holding = runs.begin(runs.LISTEN)
            except AlreadyRunning as busy:
                if not waits:
                    logger.warning("%s This one waits.", busy)
                waits = True
            except DatabaseError as error:
                logger.warning("The database does not answer: %s", error)
                connection.close()
            else:
                waits = False
                self._hold(self._holding)
                continue
            self._stopping.wait(TAKE_AGAIN_SECONDS)
        self._reactions.stop(END_SECONDS)

    def _hold(self, holding: HeldLease) -> None:
        """Listen until the end, or until the lease is lost."""
        outcome, error = Outcome.DONE, ""
        try:
            with holding.in_logs():
                while not self._stopping.is_set():
                    self.turn(TURN_SECONDS)
        except LeaseLost as lost:
            logger.warning("%s", lost)
        except BaseException as fault:
            outcome, error = Outcome.BROKEN, f"{type(fault).__name__}: {fault}"
            raise
        finally:
            self._end()
            with suppress(DatabaseError):
                runs.end(holding, outcome, error)

    def turn(self, seconds: float) -> None:
        """Do what is due, and store what is heard, waiting for that so long. Raises LeaseLost."""
        try:
            if monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = monotonic()
                self._look()
            self._note()
            if self._holding:
                self._holding.renew_if_due()
        except (OperationalError, InterfaceError) as error:
            # What is connected stays so: its values are stored when the database is back.
            logger.warning("The database does not answer: %s", error)
            connection.close()
        if heard := self._inbox.take(seconds):
            self._store(heard)

    def _look(self) -> None:
        """Open connections to gateways that are new or changed, and close what is not wanted."""
        wanted = {one.gateway.pk: one for one in _listened()}
        for pk, held in list(self.connections.items()):
            if pk not in wanted or wanted[pk].marks != held.listened.marks:
                held.stop()
                # Its thread ends by itself. To wait for it would hold up what others tell.
                del self.connections[pk]
        self._reactions.forget(self._noted - wanted.keys())
        whole_every = runs.interval(runs.POLL)
        missing = [one for pk, one in wanted.items() if pk not in self.connections]
        for listened in missing[:OPENED_AT_ONCE]:
            opened = Connection(listened, self._inbox.put, whole_every)
            try:
                opened.start()
            except RuntimeError as error:
                count = len(self.connections)
                logger.warning("%d gateways are listened to, and no more: %s", count, error)
                return
            self.connections[listened.gateway.pk] = opened
        # The rest at the next turn, once what was heard meanwhile is stored.
        if len(missing) > OPENED_AT_ONCE:
            self._looked_at = float("-inf")

    def _note(self) -> None:
        """Note in the rows of gateways that they are listened to, or are no longer."""
        alive = {pk for pk, held in self.connections.items() if held.is_alive}
        lost, new = self._noted - alive, alive - self._noted
        is_due = monotonic() - self._noted_at >= NOTE_SECONDS
        if not (lost or new or is_due):
            return
        with publishing() as outbox:
            # By the database's clock, as polls judge it, which may run at another machine.
            _set_listened(new, listened_since=Now(), listened_until=Now() + LISTENED)
            if is_due:
                _set_listened(alive - new, listened_until=Now() + LISTENED)
            _set_listened(lost, listened_since=None, listened_until=None)
            outbox.changed_pks(Gateway, [*lost, *new])
        self._noted = alive
        if is_due:
            self._noted_at = monotonic()

    def _store(self, heard: Sequence[Heard]) -> None:
        """Store what was heard. While the database is away it is tried again; one that cannot be
        stored costs no other. Raises LeaseLost."""
        try:
            self._record(heard)
        except LeaseLost:
            raise
        except Exception:
            logger.exception("What %d gateways told is stored one by one", len(heard))
            for one in heard:
                try:
                    self._record([one])
                except LeaseLost:
                    raise
                except Exception:
                    logger.exception("What gateway %d told is lost", one.answer.gateway_pk)
        finally:
            for one in heard:
                one.stored()

    def _record(self, heard: Sequence[Heard]) -> None:
        answers = [one.answer for one in heard]
        pause = 0.5
        while True:
            try:
                record(answers, self._holding)
            except (OperationalError, InterfaceError) as error:
                logger.warning("The database does not answer: %s", error)
                connection.close()
                # What comes meanwhile waits in the connections: each has its bounded room.
                if self._stopping.wait(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._reactions.note(answers)
                return

    def _end(self) -> None:
        """Close everything, store what was heard before, and let polls ask as often as before."""
        self._looked_at = self._noted_at = float("-inf")
        for held in self.connections.values():
            held.stop()
        until = monotonic() + END_SECONDS
        for held in self.connections.values():
            held.join(max(0.0, until - monotonic()))
        self.connections.clear()
        with suppress(DatabaseError, LeaseLost):
            # Only now: the threads that put something in have ended, or had their time.
            while heard := self._inbox.take(0.01):
                self._store(heard)
            self._note()
        self._noted = set()


def _listened() -> list[Listened]:
    """Return the gateways that may be listened to now, each with its devices.

    Not those that sleep, and not those that refused: like polls, they are left alone for a while.
    """
    listening = [name for name in vendors.names() if vendors.load_or_default(name).listens]
    resting = Q(refused=True, retry_at__gt=timezone.now())
    gateways = Gateway.objects.active().filter(vendor__in=listening, wakes_every=None)
    vendor_ids: dict[int, list[str]] = {}
    devices = Device.objects.active().filter(gateway__vendor__in=listening).order_by("pk")
    for gateway_pk, vendor_id in devices.values_list("gateway_id", "vendor_id"):
        vendor_ids.setdefault(gateway_pk, []).append(vendor_id)
    return [
        Listened(gateway, tuple(vendor_ids[gateway.pk]))
        for gateway in gateways.exclude(resting).order_by("pk")
        if gateway.pk in vendor_ids
    ]


def _set_listened(pks: Collection[int], **noted: object) -> None:
    if pks:
        Gateway.objects.filter(pk__among=pks).update(**noted)
