"""What an attribute was in the last minutes, as far as that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.readings import Value


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the value was not less than `lowest` and not more than `highest`.

    The two are equal but where the device told more than is kept: then several values are one
    stretch.
    """

    starts_at: datetime
    ends_at: datetime
    lowest: Value
    highest: Value

    def is_so(self, above: float | None, below: float | None, equal: Value | None) -> bool:
        """Whether all of it was above, below, and equal to what is given. No word is above."""
        lowest, highest = self.lowest, self.highest
        if equal is not None and not lowest == equal == highest:
            return False
        if above is not None and (isinstance(lowest, bool | str) or lowest <= above):
            return False
        return below is None or not isinstance(highest, bool | str) and highest < below


@dataclass(frozen=True, slots=True)
class Past:
    """The stretches of the time that was looked back, in order, up to now.

    Between two that do not touch nobody knows what it was.
    """

    looked_back: timedelta
    stretches: Sequence[Stretch] = ()

    def since(
        self,
        *,
        above: float | None = None,
        below: float | None = None,
        equal: Value | None = None,
        after: datetime | None = None,
    ) -> datetime | None:
        """Return since when it is so without a break; None if it is not so now.

        What is not known is a break. What was before `after` is not looked at.
        """
        since: datetime | None = None
        for stretch in reversed(self.stretches):
            is_broken = since is not None and stretch.ends_at < since
            if is_broken or not stretch.is_so(above, below, equal):
                break
            since = stretch.starts_at
            if after is not None and since <= after:
                return after
        return since
