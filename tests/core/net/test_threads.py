import threading
import time
from contextlib import closing

import pytest

from core.net.threads import AHEAD, in_threads


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(2)
    assert set(threading.enumerate()) <= before


def square(number):
    return number * number


def run(work, items, *, workers=4, deadline_seconds=5.0, **options):
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

    def work(_):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1

    run(work, range(60), workers=5)
    assert most == 5


def test_what_ends_first_comes_first():
    answers = run(lambda seconds: time.sleep(seconds), [0.3, 0.0])
    assert [item for item, _ in answers] == [0.0, 0.3]


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


def test_work_that_hangs_is_given_up_and_the_others_go_on():
    released = threading.Event()

    def work(number):
        if number < 2:
            released.wait(10)
        return number

    started_at = time.monotonic()
    answers = dict(run(work, range(40), workers=2, deadline_seconds=0.2))
    released.set()
    assert time.monotonic() - started_at < 2
    assert all(isinstance(answers.pop(number), TimeoutError) for number in (0, 1))
    assert answers == {number: number for number in range(2, 40)}


def test_a_late_result_is_discarded():
    late = threading.Event()

    def work(number):
        if number == 0:
            time.sleep(0.3)
            late.set()
        else:
            late.wait(5)
        return number

    answers = dict(run(work, range(4), workers=1, deadline_seconds=0.2))
    assert isinstance(answers.pop(0), TimeoutError)
    assert isinstance(answers.pop(1), int | TimeoutError)
    assert answers == {2: 2, 3: 3}


def test_when_those_that_hung_come_back_the_work_goes_on():
    def items():
        yield from range(2 + AHEAD)
        time.sleep(0.5)
        yield from range(5_000, 5_020)

    def work(number):
        if number < 2:
            time.sleep(0.4)

    answers = dict(run(work, items(), workers=1, deadline_seconds=0.1))
    assert all(isinstance(answers[number], TimeoutError) for number in range(2 + AHEAD))
    assert [answers[number] for number in range(5_000, 5_020)] == [None] * 20


def test_when_the_replacements_hang_too_everything_still_ends():
    released = threading.Event()
    answers = run(lambda _: released.wait(10), range(3 * AHEAD), workers=2, deadline_seconds=0.1)
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


def test_tick_is_called_every_second_in_the_callers_thread():
    ticks = []
    run(lambda _: time.sleep(2.2), [1], tick=lambda: ticks.append(threading.current_thread()))
    assert ticks == [threading.current_thread()] * 2


def test_what_tick_raises_ends_everything():
    def tick():
        raise PermissionError("the lease is lost")

    with pytest.raises(PermissionError):
        run(lambda _: time.sleep(1.2), range(10), workers=1, tick=tick)


def test_fewer_threads_do_when_the_system_allows_no_more(monkeypatch):
    start, started = threading.Thread.start, []

    def start_two(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    assert len(run(square, range(100), workers=20)) == 100
