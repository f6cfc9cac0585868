"""Lines of the log name their run, order and message: of runs, batches, workers and servers."""

import json
import logging
import os
import subprocess
import sys
from io import StringIO

import pytest
from django.conf import settings
from django.utils import timezone

from core.models import Gateway, Run
from core.net.logs import JsonLines
from core.readings import Source
from core.tasks import poll
from core.tasks.orders import send
from core.tasks.polling import batches
from core.tasks.runs import Ticket, running
from core.vendors import shelly
from tests.core.live.web_server import Web

CELERY = """
import logging
from iotapp.celery import app
import django
django.setup()
app.log.setup(loglevel="INFO")
logging.getLogger("celery.worker").info("Task received")
print("said by a task")
"""


@pytest.fixture
def lines():
    """Return a function that returns the lines that were logged so far."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("core")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.setLevel(before)
    logger.removeHandler(handler)


@pytest.mark.django_db
def test_lines_of_a_run_name_it(lines):
    with pytest.raises(ZeroDivisionError), running("poll"):
        logging.getLogger("core.tasks").warning("in it")
        raise ZeroDivisionError
    logging.getLogger("core.tasks").warning("after it")
    run = Run.objects.get().pk
    assert [(line["message"], line.get("run")) for line in lines()] == [
        ("A run of poll begins", run),
        ("in it", run),
        ("The run of poll ended: broken", run),
        ("after it", None),
    ]


@pytest.mark.django_db
def test_lines_of_an_order_name_it_and_its_run(heater, lines, monkeypatch):
    write = shelly.Client.write

    def write_aloud(*given):
        logging.getLogger("core.vendors").warning("in the thread that writes")
        return write(*given)

    monkeypatch.setattr(shelly.Client, "write", write_aloud)
    with running("decide") as lease:
        on = heater.attributes.get(name="on")
        order = send.order(on.pk, True, source=Source.HUMAN, reason="a test")
        send.send([order.pk], lease)
    about = {"run": lease.run.pk, "command": order.pk}
    told = [line for line in lines() if "command" in line]
    assert [line["message"] for line in told] == [
        "in the thread that writes",
        "The order was sent (attempt 1): accepted",
    ]
    assert all(about.items() <= line.items() for line in told)


@pytest.mark.django_db
def test_batches_that_workers_share_name_their_run(heater, lines, monkeypatch):
    ask = batches.ask

    def ask_aloud(*given, **options):
        logging.getLogger("core.tasks").warning("asking")
        return ask(*given, **options)

    monkeypatch.setattr(batches, "ask", ask_aloud)
    monkeypatch.setattr(
        poll.send, "carry_on", lambda holding: logging.getLogger("core").warning("carrying on")
    )

    Gateway.objects.update(retry_at=None)
    [keys] = poll.begin_shared(Ticket("message 1", timezone.now()))
    assert batches.poll_part(keys)
    poll.end_shared(keys.run, keys.token)
    told = {line["message"]: line.get("run") for line in lines()}
    assert (told["asking"], told["carrying on"]) == (keys.run, keys.run)


def test_a_job_names_its_message(lines):
    pytest.importorskip("celery")
    from core import jobs

    @jobs.job
    def look(self):
        logging.getLogger("core").warning("looking")

    look.apply(task_id="message-7", throw=True)
    assert [line["task_id"] for line in lines()] == ["message-7"]


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
def test_a_worker_leaves_our_log_as_it_is(level):
    """The level of a worker's own lines is that of `-l`, whatever LOG_LEVEL is."""
    environment = os.environ | {
        "LOG_FORMAT": "json",
        "LOG_LEVEL": level,
        "DEBUG": "1",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "DATABASE_URL": "sqlite://:memory:",
    }
    program = [sys.executable, "-c", CELERY]
    ran = subprocess.run(
        program, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ran.stdout == "said by a task\n", ran.stderr
    line = json.loads(ran.stderr)
    assert (line["logger"], line["message"]) == ("celery.worker", "Task received")


@pytest.mark.django_db(transaction=True)
def test_all_lines_of_a_web_server_are_objects(database_url):
    web = Web(database_url, LOG_FORMAT="json", PYTHONWARNINGS="ignore")
    try:
        web.start()
        web.stop()
        lines = [json.loads(line) for line in web.log().splitlines()]
    finally:
        web.end()
    assert {"Shutting down: Master"} <= {line["message"] for line in lines}
    assert "gunicorn.access" not in {line["logger"] for line in lines}
