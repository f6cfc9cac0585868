import threading
import time
from contextlib import closing

import pytest

from core.net import threads
from core.net.threads import AHEAD, FEW, in_threads

DEADLINE_SECONDS = 300.0


class Clock:
    """The monotonic clock, which a test puts forward: a deadline of minutes passes at once, and one
    that was not to pass does not on a busy machine either."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead

    def pass_deadline(self):
        self.ahead += DEADLINE_SECONDS


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(threads, "monotonic", clock)
    monkeypatch.setattr(threads, "TICK_SECONDS", 0.05)  # until it looks at the clock
    return clock


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert set(threading.enumerate()) <= before


def square(number):
    return number * number


def run(work, items, *, workers=4, deadline_seconds=DEADLINE_SECONDS, **options):
    return list(
        in_threads(work, items, workers=workers, deadline_seconds=deadline_seconds, **options)
    )


def test_every_item_is_answered_once():
    expected = [(number, number * number) for number in range(2_000)]
    assert sorted(run(square, range(2_000))) == expected


def test_no_items_start_no_thread():
    assert run(square, []) == []


def test_threads_are_gone_when_the_last_item_is_yielded():
    before = threading.active_count()
    run(square, range(50))
    assert threading.active_count() == before


def test_there_are_no_more_threads_than_items():
    seen = set()

    def note(_):
        seen.add(threading.current_thread())
        time.sleep(0.05)

    run(note, range(3), workers=50)
    assert len(seen) <= 3


def test_no_more_calls_run_at_once_than_there_are_workers():
    lock, now, most = threading.Lock(), 0, 0
    all_at_once = threading.Barrier(5)

    def work(number):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if number < 5:
            all_at_once.wait(30)
        time.sleep(0.002)
        with lock:
            now -= 1

    run(work, range(60), workers=5)
    assert most == 5


def test_what_ends_first_comes_first():
    second_came = threading.Event()
    came = []
    for item, _ in in_threads(
        lambda is_first: is_first and second_came.wait(30),
        [True, False],
        workers=2,
        deadline_seconds=DEADLINE_SECONDS,
    ):
        came.append(item)
        second_came.set()
    assert came == [False, True]


def test_the_same_item_twice_is_two_items():
    assert run(square, [3, 3]) == [(3, 9), (3, 9)]


def test_an_exception_is_the_answer_of_its_item_alone():
    answers = dict(run(lambda number: 1 / number, [0, 1]))
    assert isinstance(answers[0], ZeroDivisionError)
    assert answers[1] == 1


def test_a_thread_that_is_told_to_exit_fails_its_item_and_works_on():
    def work(number):
        if number == 0:
            raise SystemExit("bye")
        return number

    answers = dict(run(work, [0, 1, 2], workers=1))
    assert "SystemExit: bye" in str(answers.pop(0))
    assert answers == {1: 1, 2: 2}


def test_work_that_hangs_is_given_up_and_the_others_go_on(clock):
    both_hang, released = threading.Barrier(2, clock.pass_deadline), threading.Event()

    def work(number):
        if number < 2:
            both_hang.wait(30)
            released.wait(60)
        return number

    answers = dict(run(work, range(40), workers=2))
    released.set()
    assert all(isinstance(answers.pop(number), TimeoutError) for number in (0, 1))
    assert answers == {number: number for number in range(2, 40)}


def test_a_late_result_is_discarded(clock):
    given_up, late = threading.Event(), threading.Event()

    def work(number):
        if number == 0:
            clock.pass_deadline()
            given_up.wait(30)
            late.set()
        else:
            late.wait(30)
        return number

    answers = {}
    for item, answer in in_threads(work, range(4), workers=1, deadline_seconds=DEADLINE_SECONDS):
        answers[item] = answer
        given_up.set()
    assert isinstance(answers.pop(0), TimeoutError)
    assert answers == {1: 1, 2: 2, 3: 3}


def test_when_those_that_hung_come_back_the_work_goes_on(clock):
    released, hung = threading.Event(), []

    def items():
        yield from range(2 + AHEAD)
        released.set()
        for thread in hung:
            thread.join(30)
        yield from range(5_000, 5_020)

    def work(number):
        if number < 2:
            hung.append(threading.current_thread())
            clock.pass_deadline()
            released.wait(60)

    answers = dict(run(work, items(), workers=1))
    # The last of the first items may be taken only when all the others were given up.
    assert all(isinstance(answers[number], TimeoutError) for number in range(1 + AHEAD))
    assert [answers[number] for number in range(5_000, 5_020)] == [None] * 20


def test_when_the_replacements_hang_too_everything_still_ends(clock):
    released = threading.Event()

    def hang(_):
        clock.pass_deadline()
        released.wait(60)

    answers = run(hang, range(3 * AHEAD), workers=2)
    released.set()
    assert sorted(item for item, _ in answers) == list(range(3 * AHEAD))
    assert all(isinstance(result, TimeoutError) for _, result in answers)
    assert sum("not begun" in str(result) for _, result in answers) == 3 * AHEAD - 4


def test_a_caller_that_stops_early_leaves_the_rest_undone():
    done = []
    with closing(in_threads(done.append, range(10_000), workers=3, deadline_seconds=5)) as answers:
        next(answers)
    time.sleep(0.1)
    assert len(done) < 10_000


def test_items_are_taken_as_they_are_needed_in_the_callers_thread():
    taken = []

    def items():
        for number in range(10_000):
            taken.append(threading.current_thread())
            yield number

    with closing(in_threads(square, items(), workers=3, deadline_seconds=5)) as answers:
        next(answers)
        time.sleep(0.1)  # a slow caller
        assert len(taken) <= 3 + AHEAD
    assert set(taken) == {threading.current_thread()}


def test_an_error_in_the_items_ends_everything():
    def items():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError):
        run(square, items())


def test_tick_is_called_each_time_its_seconds_are_over_in_the_callers_thread(monkeypatch):
    monkeypatch.setattr(threads, "TICK_SECONDS", 0.1)
    ticks, ticked_twice = [], threading.Event()

    def tick():
        ticks.append(threading.current_thread())
        if len(ticks) == 2:
            ticked_twice.set()

    began = time.monotonic()
    run(lambda _: ticked_twice.wait(30), [1], tick=tick)
    assert len(ticks) >= 2 and set(ticks) == {threading.current_thread()}
    assert time.monotonic() - began >= 0.2


def test_what_tick_raises_ends_everything(monkeypatch):
    monkeypatch.setattr(threads, "TICK_SECONDS", 0.1)
    released = threading.Event()

    def tick():
        raise PermissionError("the lease is lost")

    with pytest.raises(PermissionError):
        run(lambda _: released.wait(30), range(10), workers=1, tick=tick)
    released.set()


def test_fewer_threads_do_when_the_system_allows_no_more(monkeypatch):
    start, started = threading.Thread.start, []

    def start_two(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    assert len(run(square, range(100), workers=20)) == 100


def test_jobs_that_wait_for_each_other_get_as_many_threads_as_there_may_be():
    all_at_once = threading.Barrier(50)

    def work(number):
        return number if number >= 50 else all_at_once.wait(30)

    assert len(run(work, range(60), workers=50)) == 60


def test_a_busy_processor_gets_no_more_than_a_few_threads(monkeypatch):
    monkeypatch.setattr(threads, "process_time", time.monotonic)
    seen = set()

    def note(_):
        seen.add(threading.current_thread())
        time.sleep(0.01)

    run(note, range(200), workers=50)
    assert len(seen) == FEW


@pytest.mark.parametrize(
    ("shares", "grown"),
    [
        ([0.1, 0.2, 0.4, 0.79], [True, True, True, True]),  # all wait for answers
        ([0.9, 0.9], [False, False]),  # one processor is busy
        ([0.4, 0.45, 0.5], [True, False, False]),  # others keep the machine busy
        ([0.4, 0.45, 0.1, 0.2], [True, False, True, True]),  # answers come late from now on
        ([0.01, 0.01, 0.01], [True, True, True]),  # all hang
    ],
)
def test_threads_become_more_while_that_has_more_done(monkeypatch, shares, grown):
    now = used = 0.0
    monkeypatch.setattr(threads, "monotonic", lambda: now)
    monkeypatch.setattr(threads, "process_time", lambda: used)
    pace, calls = threads._Pace(), []
    for share in shares:
        now += 1.0
        used += share
        calls.append(pace.calls_for_more())
        if calls[-1]:
            pace.note()
    assert calls == grown
