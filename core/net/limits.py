"""How often somebody may do something, counted in this process."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from threading import Lock
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

MOST_COUNTED = 10_000
"""Of more callers than these the oldest are forgotten."""

Entry = TypeVar("Entry")


class Recent(Generic[Entry]):
    """A dict that makes its entries, and forgets what was not used for longest. Any thread may use
    it; what it holds has no lock of its own."""

    def __init__(self, make: Callable[[], Entry]) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._make = make
        self._lock = Lock()

    def __getitem__(self, key: str) -> Entry:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = self._make()
                if len(self._entries) > MOST_COUNTED:
                    self._entries.popitem(last=False)
            self._entries.move_to_end(key)
            return entry

    def add(self, key: str) -> None:
        """Use the entry, so that it is there: where nothing but the keys is wanted."""
        self[key]

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


class Allowance(NamedTuple):
    """What a caller has left: requests now, and seconds until one more (0: there are some)."""

    remaining: int
    wait_seconds: int


class Rate:
    """At most `most` requests in `seconds`, by caller: a bucket that fills again steadily."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._buckets: Recent[_Bucket] = Recent(lambda: _Bucket(float(most), monotonic()))
        self._lock = Lock()

    def take(self, key: str) -> Allowance:
        """Count a request. With `wait_seconds` it is refused, and not counted."""
        a_second = self.most / self.seconds
        with self._lock:
            bucket, now = self._buckets[key], monotonic()
            bucket.level = min(self.most, bucket.level + (now - bucket.at) * a_second)
            bucket.at = now
            if bucket.level < 1:
                return Allowance(0, ceil((1 - bucket.level) / a_second))
            bucket.level -= 1
            return Allowance(int(bucket.level), 0)

    def forget(self) -> None:
        self._buckets.clear()


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class Failures:
    """At most `most` failures in `seconds`, by caller. Attempts that are under way count as failed:
    any number at once would pass otherwise."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._failed: Recent[deque[float]] = Recent(deque)
        self._under_way: dict[str, dict[str, int]] = {}
        self._lock = Lock()

    def begin(self, key: str, what: str) -> int:
        """Begin an attempt. Return 0, or after how many seconds the next one is allowed.

        Attempts with the same `what`, such as one token in many requests, count once.
        """
        with self._lock:
            failed, now = self._failed[key], monotonic()
            while failed and now - failed[0] >= self.seconds:
                failed.popleft()
            under_way = self._under_way.setdefault(key, {})
            if len(failed) + len(under_way.keys() | {what}) > self.most:
                if not under_way:
                    del self._under_way[key]
                return max(1, ceil(failed[0] + self.seconds - now)) if failed else 1
            under_way[what] = under_way.get(what, 0) + 1
            return 0

    def end(self, key: str, what: str, *, failed: bool) -> None:
        """End an attempt that `begin` allowed."""
        with self._lock:
            under_way = self._under_way[key]
            under_way[what] -= 1
            if not under_way[what]:
                del under_way[what]
            if not under_way:
                del self._under_way[key]
            if failed:
                self._failed[key].append(monotonic())

    def forget(self) -> None:
        self._failed.clear()
