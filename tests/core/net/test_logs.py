import json
import logging
import subprocess
import sys
from io import StringIO

import pytest

from core.net import logs
from core.net.threads import in_threads


@pytest.fixture
def logger():
    logger = logging.Logger("core.tested")
    logger.stream = StringIO()
    handler = logging.StreamHandler(logger.stream)
    handler.setFormatter(logs.JsonLines())
    logger.addHandler(handler)
    return logger


def written(logger):
    return [json.loads(line) for line in logger.stream.getvalue().splitlines()]


def test_a_record_is_one_object_on_one_line(logger, time_machine):
    time_machine.move_to("2026-03-29T01:30:00.250+00:00", tick=False)
    logger.warning("Two lines,\n%s \u2028", "\udc80 and a surrogate")
    [line] = written(logger)
    assert line == {
        "time": "2026-03-29T01:30:00.250+00:00",
        "level": "WARNING",
        "logger": "core.tested",
        "message": "Two lines,\n\udc80 and a surrogate \u2028",
    }


def test_a_line_names_what_it_is_about_and_only_then(logger):
    with logs.about({"run": 3}):
        with logs.about({"command": 5}):
            logger.warning("both")
        logger.warning("the run")
    logger.warning("neither")
    told = [{key: line.get(key) for key in ("run", "command")} for line in written(logger)]
    assert told == [
        {"run": 3, "command": 5},
        {"run": 3, "command": None},
        {"run": None, "command": None},
    ]


def test_an_error_that_is_logged_further_out_names_where_it_came_from(logger):
    try:
        with logs.about({"task_id": "abc"}), logs.about({"run": 3}):
            raise ValueError("broken")
    except ValueError:
        logger.exception("It failed")
    [line] = written(logger)
    assert (line["run"], line["task_id"]) == (3, "abc")
    assert line["exception"].endswith("ValueError: broken")


def test_threads_go_on_with_what_their_caller_is_at(logger):
    def work(command):
        with logs.about({"command": command}):
            logger.warning("at work")

    with logs.about({"run": 3}):
        list(in_threads(work, [1, 2, 3], workers=2, deadline_seconds=30))
    assert {(line["run"], line["command"]) for line in written(logger)} == {(3, 1), (3, 2), (3, 3)}


PROGRAM = """
import logging
from core.net import logs
handler = logging.StreamHandler()
handler.setFormatter(logs.JsonLines())
logging.getLogger().addHandler(handler)
logs.log_the_uncaught()
with logs.about({"run": 3}):
    raise ValueError("broken")
"""


def test_an_error_that_ends_the_process_is_one_line_too():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    line = json.loads(ended.stderr)
    assert (ended.returncode, line["level"], line["run"]) == (1, "CRITICAL", 3)
    assert line["exception"].endswith("ValueError: broken")
