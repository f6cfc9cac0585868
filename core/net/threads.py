"""Many slow calls at once: threads do the waiting, the caller's thread does everything else."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic, process_time
from typing import Generic, TypeVar

from core.net import logs

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 1000
"""Items taken from the caller beyond those in work, so that workers stay busy while it stores."""
TICK_SECONDS = 1.0

# A thread that waits for an answer costs nothing. One that waits for Python's lock wakes each 5 ms
# to ask for it: 200 of these took a third of the processor time of a poll.
FEW = 16
"""Threads that begin at once. More begin while that has more done."""
LOOK_SECONDS = 0.05
BUSY = 0.8
"""Of one processor, which Python's lock lets us use. Who uses as much needs no more threads."""
IDLE = 0.05
"""Of one processor: nearly all threads wait for answers, or hang."""
GAIN = 1.5
"""What twice as many threads have to bring, in times of what was used before."""


def in_threads(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    deadline_seconds: float,
    tick: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield each item with what `work` returned for it or the exception it raised, as they end.

    Items are taken and results yielded in the caller's thread; never more than `workers` + AHEAD
    items are taken and not yet yielded. `workers` is the most threads: there are fewer where few
    keep a processor busy. Work that has not ended `deadline_seconds` after it began
    is yielded with TimeoutError, whatever comes of it later, and its thread is replaced. Should as
    many replacements hang too, the items left are yielded with TimeoutError as well. `tick` is
    called at least every second while the caller waits here; what it raises ends everything.

    Threads are daemons: they never hold up the end of the process. They are gone when the last item
    is yielded. A caller that stops early leaves each to end by itself, after the item it is at;
    items not begun are not begun any more.
    """
    crew = _Crew(work, workers, deadline_seconds)
    waiting = iter(items)
    more = True
    ticked_at = monotonic()
    try:
        while True:
            while more and crew.has_room:
                try:
                    crew.give(next(waiting))
                except StopIteration:
                    more = False
            if not crew.open:
                crew.join()
                return
            yield from crew.wait(until=ticked_at + TICK_SECONDS)
            crew.grow()
            if monotonic() >= ticked_at + TICK_SECONDS:
                ticked_at = monotonic()
                if tick:
                    tick()
    finally:
        crew.dismiss()


class _Pace:
    """How much of a processor this process uses, by which more threads are of use or not.

    Where answers are waited for, twice as many threads use twice as much. Where the lock is, or a
    machine that others keep busy, they use no more.
    """

    def __init__(self) -> None:
        self.looked_at, self.used = monotonic(), process_time()
        self.share = 0.0
        self.before = 0.0

    def calls_for_more(self) -> bool:
        now = monotonic()
        if now < self.looked_at + LOOK_SECONDS:
            return False
        used = process_time()
        self.share = (used - self.used) / (now - self.looked_at)
        self.looked_at, self.used = now, used
        has_gained = self.share > GAIN * self.before
        # The last ones were of no use then; but more threads wait for answers now.
        has_changed = self.share < self.before / 2
        return self.share < IDLE or (self.share < BUSY and (has_gained or has_changed))

    def note(self) -> None:
        """Note that there are more threads from now on."""
        self.before = self.share


class _Job(Generic[Item]):
    __slots__ = ("item", "started_at", "thread")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.started_at: float | None = None
        self.thread: threading.Thread | None = None


class _Crew(Generic[Item, Result]):
    """The threads and the jobs. Everything but `_run` is called in one thread and needs no lock."""

    def __init__(self, work: Callable[[Item], Result], size: int, deadline_seconds: float) -> None:
        self.work = work
        self.size = max(1, size)
        self.wanted = min(FEW, self.size)
        self.pace = _Pace()
        self.deadline_seconds = deadline_seconds
        self.threads: set[threading.Thread] = set()
        self.hanging: set[threading.Thread] = set()
        self.dismissed = False
        self.about = logs.current()
        self.jobs: SimpleQueue[_Job[Item] | None] = SimpleQueue()
        self.ended: SimpleQueue[tuple[_Job[Item], Result | Exception, bool]] = SimpleQueue()
        # In the order given, which is the order they begin in.
        self.open: dict[_Job[Item], None] = {}

    @property
    def has_room(self) -> bool:
        return len(self.open) < self.size + AHEAD

    @property
    def able(self) -> int:
        """How many threads work or can: those whose job was given up do not count."""
        return len(self.threads) - len(self.hanging)

    def give(self, item: Item) -> None:
        job = _Job(item)
        self.open[job] = None
        self.jobs.put(job)
        self._start_thread()

    def wait(self, until: float) -> Iterator[tuple[Item, Result | Exception]]:
        """Yield all that has ended or run out of time, as soon as there is any.

        Returns at `until` (monotonic) at the latest.
        """
        oldest = next(iter(self.open))
        runs_out_at = (oldest.started_at or monotonic()) + self.deadline_seconds
        if self.wanted < self.size and not self.jobs.empty():
            until = min(until, monotonic() + LOOK_SECONDS)
        seconds = max(0.0, min(until, runs_out_at) - monotonic())
        with suppress(Empty):
            yield from self._settle(*self.ended.get(timeout=seconds))
            while True:
                yield from self._settle(*self.ended.get_nowait())
        yield from self._give_up()

    def grow(self) -> None:
        """Start as many threads again if jobs wait and the processor does not."""
        is_idle = self.pace.calls_for_more()
        if is_idle and self.wanted < self.size and not self.jobs.empty():
            self.pace.note()
            more = min(self.wanted, self.size - self.wanted)
            self.wanted += more
            for _ in range(more):
                self._start_thread()

    def join(self) -> None:
        """Wait until the threads, which have nothing left to do, are gone; not for hanging ones."""
        self.dismiss()
        for thread in self.threads - self.hanging:
            thread.join()

    def dismiss(self) -> None:
        """Let threads end after the job they are at."""
        if not self.dismissed:
            self.dismissed = True
            for _ in self.threads:
                self.jobs.put(None)

    def _settle(
        self, job: _Job[Item], outcome: Result | Exception, leaves: bool
    ) -> Iterator[tuple[Item, Result | Exception]]:
        if job in self.open:
            del self.open[job]
            yield job.item, outcome
        elif job.thread:  # given up, and came back after all
            self.hanging.discard(job.thread)
            if leaves:
                self.threads.discard(job.thread)
            if not self.jobs.empty():
                self._start_thread()

    def _give_up(self) -> Iterator[tuple[Item, Exception]]:
        """Yield jobs that began too long ago; if no thread is left for the others, these too."""
        while (job := next(iter(self.open), None)) and job.started_at and job.thread:
            if monotonic() < job.started_at + self.deadline_seconds:
                return
            del self.open[job]
            self.hanging.add(job.thread)
            self._start_thread()
            yield job.item, TimeoutError(f"it did not end within {self.deadline_seconds:g} s")
        if not self.able:
            with suppress(Empty):
                while job := self.jobs.get_nowait():
                    del self.open[job]
                    error = TimeoutError(f"it was not begun: {len(self.hanging)} others hang")
                    yield job.item, error

    def _start_thread(self) -> None:
        if (
            self.able >= min(self.wanted, self.size)
            or self.able + len(self.hanging) >= 2 * self.size
        ):
            return
        # With the default stack, although they may be many: it is only reserved, and a deep JSON
        # answer needs it.
        thread = threading.Thread(target=self._run, name="in_threads", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system allows no more threads (256 on a small dyno)
            if not self.threads:
                raise
            self.size = max(1, self.able)
        else:
            self.threads.add(thread)

    def _run(self) -> None:
        while (job := self.jobs.get()) and not self.dismissed:
            job.thread = threading.current_thread()
            job.started_at = monotonic()
            with logs.about(self.about):
                outcome = self._outcome(job.item)
            leaves = job.thread in self.hanging  # it was replaced
            self.ended.put((job, outcome, leaves))
            if leaves:
                return
            del job, outcome  # a thread that waits keeps nothing alive

    def _outcome(self, item: Item) -> Result | Exception:
        try:
            return self.work(item)
        except Exception as error:
            return error
        except BaseException as error:
            # SystemExit and the like would end the thread in silence, and its item with it.
            return RuntimeError(f"{type(error).__name__}: {error}")
