"""Notes which devices say something new, and reacts to it in a thread of its own. It also sees that
the time is over for which something was decided, when nothing new is said.

Deciding may fetch forecasts and send orders, which takes seconds: what is heard is stored
meanwhile. With Celery a worker decides instead.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from time import monotonic

from django.db import Error as DatabaseError

from core.models import Device
from core.models.connections import release_connection
from core.readings import Value
from core.tasks.polling.record import GatewayAnswer

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
OVERDUE_SECONDS = 5.0
"""How soon it is seen that the time of a decision is over."""
FAULT_PAUSE_SECONDS = 10.0
"""After an error that is not the database's: another try at each look would only fill the log."""
MOST_AT_ONCE = 500
"""Devices decided about together."""

DeviceKey = tuple[int, str]
"""Gateway and vendor's id."""


class Reactions:
    """`react` is given keys of devices that say something new, and returns those that have to wait:
    they are given to it again. `overdue` returns keys of devices to be given to it unasked."""

    def __init__(
        self,
        react: Callable[[Collection[int]], set[int]],
        overdue: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self._react, self._overdue = react, overdue
        self._overdue_at = monotonic()
        self._latest: dict[DeviceKey, dict[str, Value | None]] = {}
        self._changed: set[DeviceKey] = set()
        self._waiting: set[int] = set()
        """Keys of devices whose time has not come yet."""
        # For `_changed`. `_latest` is of the writing thread only, `_waiting` of the reacting one.
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="react", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End after what is being decided, or after so many seconds."""
        self._stopping.set()
        self._thread.join(seconds)

    def note(self, answers: Iterable[GatewayAnswer]) -> None:
        """Note what changed by these answers, which are stored. A value told again is no change."""
        changed: set[DeviceKey] = set()
        for answer in answers:
            for reading in answer.readings:
                key = answer.gateway_pk, reading.vendor_id
                latest = self._latest.setdefault(key, {})
                missing = reading.attribute not in latest
                if missing or latest[reading.attribute] != reading.value:
                    latest[reading.attribute] = reading.value
                    changed.add(key)
        with self._lock:
            self._changed |= changed

    def forget(self, gateway_pks: Iterable[int]) -> None:
        """Forget what gateways said that are not listened to any more."""
        gone = set(gateway_pks)
        self._latest = {key: said for key, said in self._latest.items() if key[0] not in gone}

    def _run(self) -> None:
        pause = LOOK_SECONDS
        while not self._stopping.wait(pause):
            pause = LOOK_SECONDS
            try:
                self.look()
            except DatabaseError as error:
                logger.warning("Nothing is decided for now: %s", error)
            except Exception:  # those that wait are tried again
                logger.exception("What changed was not decided about")
                pause = FAULT_PAUSE_SECONDS
            finally:
                release_connection()

    def look(self) -> None:
        """React to what changed since the last look, where its time has come."""
        with self._lock:
            changed, self._changed = self._changed, set()
        try:
            self._waiting |= _keys(changed)
        # What was taken goes back: a value that is told again is no change, and brings it no more.
        except DatabaseError:
            with self._lock:
                self._changed |= changed
            raise
        if monotonic() - self._overdue_at >= OVERDUE_SECONDS:
            # Before it is asked: where the query fails, it is not tried at every look.
            self._overdue_at = monotonic()
            self._waiting |= set(self._overdue())
        if self._waiting:
            self._waiting = self._react(self._waiting)


def _keys(changed: set[DeviceKey]) -> set[int]:
    found: set[int] = set()
    rows = list(changed)
    for start in range(0, len(rows), MOST_AT_ONCE):
        part = rows[start : start + MOST_AT_ONCE]
        devices = Device.objects.active().filter(
            gateway__in={gateway for gateway, _ in part},
            vendor_id__in={vendor_id for _, vendor_id in part},
        )
        wanted = set(part)
        # The query pairs each of these gateways with each of the ids: more than was asked for.
        for pk, *key in devices.values_list("pk", "gateway_id", "vendor_id"):
            if tuple(key) in wanted:
                found.add(pk)
    return found
