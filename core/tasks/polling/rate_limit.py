"""Keep a vendor's rate limit.

The state is in the gateway's row, on the database's clock: so it holds for all processes together.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic, sleep

from django.db.models.functions import Now

from core.models import Gateway
from core.models.connections import release_connection
from core.net.errors import ApiError
from core.vendors import RateLimit

AHEAD = timedelta(minutes=1)
"""No call is put off so long: a time further ahead comes from a clock that was wrong, and is
ignored."""
LONGEST_READ_WAIT = 20.0
"""Seconds, for one call of a read."""
LONGEST_COMMAND_WAIT = 4.0
"""Seconds, for all the calls of a command, which together with its own deadline must end before its
thread is given up."""
OVERSLEPT = 0.1
"""Seconds. A call that wakes later than that is too close to the next one, and waits again."""


class NoCallsLeft(ApiError):
    """The vendor's rate limit leaves no call to us for now."""


def pace_for(
    gateway_pk: int | None, rate_limit: RateLimit, *, is_command: bool
) -> Callable[[], None]:
    """Return a function to call before each call to this gateway.

    It returns when the call may be made, and raises ApiError if that would take too long. A gateway
    that is not stored yet has no row to keep state in: each of its calls waits as if another had
    just been made.
    """
    if gateway_pk is None:
        return lambda: sleep(rate_limit.between_calls.total_seconds())
    return Pace(gateway_pk, rate_limit, is_command)


class Pace:
    """The rate of the calls of one client.

    A command reserves the next free moment and waits for it. A read reserves only a moment that is
    free now, so that it never puts off a command by more than one call.
    """

    def __init__(self, gateway_pk: int, rate_limit: RateLimit, is_command: bool) -> None:
        self.gateway_pk = gateway_pk
        self.rate_limit = rate_limit
        self.is_command = is_command
        self.gives_up_at = 0.0

    def __call__(self) -> None:
        if not self.is_command:
            self.gives_up_at = monotonic() + LONGEST_READ_WAIT
        # The time of a command is for all its calls: the first one sets the end.
        elif not self.gives_up_at:
            self.gives_up_at = monotonic() + LONGEST_COMMAND_WAIT
        while not self._wait_for_a_moment():
            pass

    def _wait_for_a_moment(self) -> bool:
        """Return whether a moment was reserved, and we woke in time for it."""
        try:
            is_ours, wait = self._reserve()
        finally:
            release_connection()  # nobody keeps one while asleep
        asleep_since = monotonic()
        sleep(wait)
        return is_ours and monotonic() - asleep_since - wait < OVERSLEPT

    def _reserve(self) -> tuple[bool, float]:
        """Return whether a moment is ours, and the seconds until it, or until the next try."""
        # The database's clock comes with the row: those of processes may differ.
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
            raise NoCallsLeft(
                "The vendor allows no more calls for now: "
                f"it would have been {wait:.1f} s until the next."
            )
        if wait and not self.is_command:
            return False, wait
        reserved = {"next_call_at": moment + self.rate_limit.between_calls}
        if not self.is_command:
            reserved["next_read_at"] = moment + self.rate_limit.between_reads
        # Compare and swap: it changes no row if another process was faster. To compare one column
        # is enough, as `next_read_at` never changes without it.
        unchanged = Gateway.objects.filter(pk=self.gateway_pk, next_call_at=row["next_call_at"])
        return (True, wait) if unchanged.update(**reserved) else (False, 0.0)

    @staticmethod
    def _free_at(now: datetime, reserved_until: datetime | None) -> datetime:
        if reserved_until is None or reserved_until > now + AHEAD:
            return now
        return max(now, reserved_until)
