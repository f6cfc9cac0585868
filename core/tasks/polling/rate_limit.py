"""A vendor's budget of calls, kept in the gateway's row on the database's clock: it holds for all processes together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic, sleep

from django.db import connection
from django.db.models.functions import Now

from core.models import Gateway
from core.net.errors import ApiError
from core.vendors import Budget

AHEAD = timedelta(minutes=1)
"""Nothing is put off so long: a time further ahead is of a clock that ran ahead, and counts for nothing."""
LONGEST_READ_WAIT = 20.0
LONGEST_COMMAND_WAIT = 4.0
"""Seconds. For one call of a read; for all the calls of a command, which together with its own deadline must end before its
thread is given up."""
OVERSLEPT = 0.1
"""Seconds. Who wakes later than that is too close to the next call, and waits again."""


def pace_for(gateway_pk: int | None, budget: Budget, *, is_command: bool) -> Callable[[], None]:
    """What is to be called before each call to this gateway: returns when it may be made. Raises ApiError if that takes too
    long. A gateway that is not stored yet has no row to keep a budget in, so each call waits as if another had just been."""
    if gateway_pk is None:
        return lambda: sleep(budget.between_calls.total_seconds())
    return Pace(gateway_pk, budget, is_command)


class Pace:
    """The calls of one client. A command takes the next free moment and waits for it; a read takes what is free now, so that
    it never puts off a command by more than one call."""

    def __init__(self, gateway_pk: int, budget: Budget, is_command: bool) -> None:
        self.gateway_pk = gateway_pk
        self.budget = budget
        self.is_command = is_command
        self.gives_up_at = 0.0

    def __call__(self) -> None:
        if not (self.is_command and self.gives_up_at):
            self.gives_up_at = monotonic() + (
                LONGEST_COMMAND_WAIT if self.is_command else LONGEST_READ_WAIT
            )
        while not self._wait_for_a_moment():
            pass

    def _wait_for_a_moment(self) -> bool:
        """Whether it was taken, and met."""
        with _connection_left_as_it_was():
            taken, wait = self._reserve()
        asleep_since = monotonic()
        sleep(wait)
        return taken and monotonic() - asleep_since - wait < OVERSLEPT

    def _reserve(self) -> tuple[bool, float]:
        """Whether a moment is ours, and the seconds until it, or until it is worth asking again."""
        row = (
            Gateway.objects.annotate(now=Now())
            .values("now", "next_call_at", "next_read_at")
            .get(pk=self.gateway_pk)
        )
        now, moment = row["now"], self._free_at(row["now"], row["next_call_at"])
        if not self.is_command:
            moment = max(moment, self._free_at(now, row["next_read_at"]))
        wait: float = (moment - now).total_seconds()
        if monotonic() + wait > self.gives_up_at:
            raise ApiError(
                f"The vendor allows no more calls for now: it would have been {wait:.1f} s until the next."
            )
        if wait and not self.is_command:
            return False, wait
        taken = {"next_call_at": moment + self.budget.between_calls}
        if not self.is_command:
            taken["next_read_at"] = moment + self.budget.between_reads
        # Only if nobody took it meanwhile. Both columns only ever change together with the first.
        unchanged = Gateway.objects.filter(pk=self.gateway_pk, next_call_at=row["next_call_at"])
        return (True, wait) if unchanged.update(**taken) else (False, 0.0)

    @staticmethod
    def _free_at(now: datetime, told: datetime | None) -> datetime:
        return now if told is None or told > now + AHEAD else max(now, told)


@contextmanager
def _connection_left_as_it_was() -> Iterator[None]:
    """A worker thread keeps no database connection; the thread that has one keeps it."""
    was_open = connection.connection is not None
    try:
        yield
    finally:
        if not was_open:
            connection.close()
