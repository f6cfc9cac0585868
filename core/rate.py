"""How often something may happen."""

from time import monotonic


class Bucket:
    """A token bucket: so many at once, then so many a second. Who takes more goes into debt, and pays it back by waiting."""

    def __init__(self, a_second: float, at_once: int) -> None:
        self._a_second, self._at_once = a_second, at_once
        self._tokens, self._counted_at = float(at_once), monotonic()

    def take(self) -> bool:
        """Whether this one is within the limit."""
        now = monotonic()
        self._tokens = min(self._at_once, self._tokens + (now - self._counted_at) * self._a_second) - 1
        self._counted_at = now
        return self._tokens >= 0

    @property
    def is_deep_in_debt(self) -> bool:
        return self._tokens < -self._at_once
