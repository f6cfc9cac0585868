"""One gateway that is listened to: a thread holds the connection, and opens it again when it ends.

Threads do the network, and never the database. What they hear goes into the inbox of the one that
writes.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import NamedTuple

from django.utils import timezone

from core.models import Gateway, SecretUnreadable
from core.net.errors import ApiError, ApiRefused
from core.tasks.polling.backoff import OURS, complaint
from core.tasks.polling.clients import client_for
from core.tasks.polling.record import GatewayAnswer
from core.vendors import Update

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
REFUSED_PAUSE_SECONDS = 3600.0
"""After what only a person can mend: the rest that a poll gives a gateway that refused."""
STEADY_SECONDS = 60.0
"""A connection that lasted so long was a good one: the next pause is a short one again."""
MOST_WAITING = 20
"""Updates of one gateway that are not stored yet. One that tells more waits, and TCP with it, so it
takes no room from others."""
NOT_ALLOWED = (401, 403)


@dataclass(frozen=True, slots=True)
class Listened:
    """A gateway and those of its devices that are listened to, as they are stored now."""

    gateway: Gateway
    vendor_ids: tuple[str, ...]

    @property
    def marks(self) -> tuple[object, ...]:
        """What a connection depends on: another one is opened when any of it changes."""
        gateway = self.gateway
        sealed = gateway.credential.token
        return gateway.vendor, gateway.address, sealed, self.vendor_ids


class Heard(NamedTuple):
    """What a connection put in the inbox. `stored` is called when it is in the database."""

    answer: GatewayAnswer
    stored: Callable[[], None]


class Connection:
    """Listens to one gateway from `start()` to `stop()`, in a daemon thread."""

    def __init__(
        self, listened: Listened, put: Callable[[Heard], None], whole_every: timedelta
    ) -> None:
        self.listened = listened
        self.is_alive = False
        """Whether it holds a connection over which all devices were told of."""
        self._put = put
        self._whole_every = whole_every
        self._stopping = threading.Event()
        self._room = threading.BoundedSemaphore(MOST_WAITING)
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="listen", daemon=True)

    def start(self) -> None:
        """Raises RuntimeError where the system allows no more threads."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end by itself, within LISTEN_SECONDS unless it is opening a connection."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = monotonic()
            try:
                self._listen()
            except Exception as error:  # whatever one vendor's client does, the others go on
                self.is_alive = False
                if self._stopping.is_set():
                    return
                failures = 0 if monotonic() - began > STEADY_SECONDS else failures
                pause = self._pause_after(error, failures)
                failures += 1
                self._stopping.wait(pause)

    def _listen(self) -> None:
        updates = client_for(self.listened.gateway).listen(
            self.listened.vendor_ids, self._whole_every
        )
        try:
            for update in updates:
                if self._stopping.is_set():
                    return
                if update.is_whole:
                    self.is_alive, self._said = True, ""
                # An empty update only gave the loop its turn: there is nothing to store.
                if update.is_whole or update.vendor_ids:
                    self._deliver(update)
        finally:
            self.is_alive = False
            # Now, not when the generator is collected: its `finally` shuts the socket.
            if close := getattr(updates, "close", None):
                close()

    def _deliver(self, update: Update) -> None:
        answer = GatewayAnswer(
            self.listened.gateway.pk,
            timezone.now(),
            tuple(update.vendor_ids),
            update.readings,
            tells_health=update.is_whole,
        )
        self._hand_over(answer)

    def _hand_over(self, answer: GatewayAnswer) -> None:
        # In turns of a second, so that stop() is seen while the database is away.
        while not self._room.acquire(timeout=1.0):
            if self._stopping.is_set():
                return
        self._put(Heard(answer, self._room.release))

    def _pause_after(self, error: Exception, failures: int) -> float:
        """Say what went wrong, once, and return how long to leave the gateway alone."""
        sentence = complaint(error)
        # A fault in a vendor's client counts too: trying again does not mend it.
        is_refused = not isinstance(error, ApiError | TimeoutError)
        pause = LONGEST_PAUSE_SECONDS
        if is_refused:
            pause = REFUSED_PAUSE_SECONDS
        else:
            # Half of it at random: many gateways that were lost together do not come back so.
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10), LONGEST_PAUSE_SECONDS)
            pause *= random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
            asked_for = getattr(error, "retry_after", None) or 0.0
            pause = max(pause, min(asked_for, REFUSED_PAUSE_SECONDS))
        if sentence != self._said:
            self._said = sentence
            name = self.listened.gateway
            known = isinstance(error, OURS)
            logger.warning(
                "%s is not listened to: %s", name, sentence, exc_info=None if known else error
            )
        if _is_refused_credential(error):
            now = timezone.now()
            self._hand_over(
                GatewayAnswer(self.listened.gateway.pk, now, self.listened.vendor_ids, error=error)
            )
        return pause


def _is_refused_credential(error: Exception) -> bool:
    """Whether a poll would be refused as well: then it counts as one that was, and rests."""
    if isinstance(error, SecretUnreadable):
        return True
    return isinstance(error, ApiRefused) and error.status in NOT_ALLOWED
