"""The doctor: each subject is ok, a warning or an error, and says what to do."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from core import vendors
from core.models import Alert, AlertMessage, Gateway, Lease, Run, SiteImport
from core.models.alert import Fate
from core.models.run import Outcome
from core.schedule import crontab_fields, read_schedule
from core.simulator import Fault
from core.tasks import poll
from core.tasks.doctor import broker, database, installation, machine, schedule
from core.tasks.doctor.examine import examine
from core.tasks.doctor.gateways import gateway_lines
from core.tasks.doctor.line import Level, Line
from core.tasks.events.outbox import publishing
from core.tasks.site import set_site
from tests.core.raw_server import answer, serving
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def run_doctor(**environment):
    """Run the command in a process of its own. Return its exit status and what it says."""
    words = [sys.executable, "manage.py", "doctor", "--json"]
    shown = subprocess.run(
        words,
        cwd=django_settings.BASE_DIR,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "DEBUG": "1", **environment},
    )
    return shown.returncode, json.loads(shown.stdout)["lines"]


def errors(lines):
    return [line for line in lines if line.level is Level.ERROR]


def test_a_good_site_has_no_error_and_the_command_ends_well(heater, settings):
    settings.DEBUG = settings.WHITENOISE_USE_FINDERS = True
    settings.ALERTS, settings.PINGS = ["https://example.org/hook"], {"poll_devices": "https://x/y"}
    set_site(zone="Europe/Berlin")
    poll.poll_devices()
    report = examine()
    assert [line for line in report.lines if line.level is not Level.OK] == []
    assert {line.subject for line in report.lines} == {
        *("settings", "plug-ins", "static files", "clock", "disk", "broker", "database"),
        *("schedule", "alerts", "gateways"),
    }
    out = StringIO()
    call_command("doctor", stdout=out)
    assert out.getvalue().endswith("0 errors, 0 warnings.\n")
    assert "1 gateway asked now, and well: Heater." in out.getvalue()


def test_the_command_ends_1_and_says_what_to_do(heater, simulator):
    simulator.devices[0].faults = [Fault("500")]
    out = StringIO()
    with pytest.raises(CommandError, match="error"):
        call_command("doctor", stdout=out)
    assert f"change_gateway {heater.gateway_id}" in out.getvalue()


@pytest.mark.parametrize(
    "url", ["postgres://u:Canary-4711@127.0.0.1:1/x", "sqlite:///{folder}/none.sqlite3"]
)
def test_it_works_while_the_database_is_away_and_makes_no_file(tmp_path, url):
    status, lines = run_doctor(DATABASE_URL=url.format(folder=tmp_path))
    assert status == 1
    [away] = [line for line in lines if line["level"] == "error"]
    assert away["subject"] == "database"
    assert away["advice"]
    assert {"settings", "plug-ins", "disk", "clock"} <= {line["subject"] for line in lines}
    assert list(tmp_path.iterdir()) == []
    assert "Canary" not in str(lines)


def test_missing_migrations_are_an_error(tmp_path):
    path = tmp_path / "empty.sqlite3"
    path.touch()
    status, lines = run_doctor(DATABASE_URL=f"sqlite:///{path}")
    assert status == 1
    [missing] = [line for line in lines if line["level"] == "error"]
    assert "migrations missing" in missing["text"]
    assert missing["advice"] == "Run: python manage.py migrate"


def test_a_server_that_lacks_static_files_and_https_is_told(tmp_path):
    path = tmp_path / "empty.sqlite3"
    path.touch()
    _, lines = run_doctor(
        DEBUG="0", SECRET_KEY="k" * 60, ALLOWED_HOSTS="x", DATABASE_URL=f"sqlite:///{path}"
    )
    texts = {line["subject"]: line for line in lines}
    # A checkout may have been collected before.
    if not (django_settings.STATIC_ROOT / "staticfiles.json").exists():
        assert "collectstatic" in texts["static files"]["advice"]


def test_static_files_of_another_version_are_an_error(settings, tmp_path):
    settings.WHITENOISE_USE_FINDERS, settings.STATIC_ROOT = False, tmp_path
    assert [line.level for line in installation.static_file_lines()] == [Level.ERROR]
    every = {path: path for path in installation._static_files()}
    manifest = tmp_path / "staticfiles.json"
    manifest.write_text(json.dumps({"paths": every}))
    assert [line.level for line in installation.static_file_lines()] == [Level.OK]
    missing = every.popitem()[0]
    manifest.write_text(json.dumps({"paths": every}))
    [line] = installation.static_file_lines()
    assert (line.level, missing in line.text) == (Level.ERROR, True)
    manifest.write_text("nonsense")
    assert [line.level for line in installation.static_file_lines()] == [Level.ERROR]


def test_a_file_that_does_not_load_is_named(monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    monkeypatch.setattr(vendors, "__path__", [*vendors.__path__, str(tmp_path)])
    [line] = installation.plug_in_lines()
    assert line.level is Level.WARNING
    assert "core/vendors/broken.py is broken, line 1" in line.text


def test_addresses_of_alerts_that_cannot_be_used_are_errors_without_their_secret(settings):
    settings.ALERTS = ["nonsense://Canary-4711", "mailto:anna@example.org"]
    settings.SENDS_MAIL, settings.DEBUG = False, True
    found = errors(installation.settings_lines())
    assert len(found) == 2
    assert "EMAIL_URL" in found[1].advice
    assert "Canary" not in str(found)


def test_a_disk_that_is_nearly_full_is_an_error(monkeypatch):
    from shutil import _ntuple_diskusage as usage  # what disk_usage returns

    full = usage(int(100e9), int(99e9), int(1e9))
    monkeypatch.setattr("core.tasks.alerts.site.shutil.disk_usage", lambda path: full)
    [line] = machine.disk_lines()
    assert (line.level, line.text[:29]) == (Level.ERROR, "1.0 of 100.0 GB are free at /")


@pytest.mark.parametrize(("vendor", "is_said"), [("sqlite", False), ("postgresql", True)])
def test_the_disk_of_a_database_elsewhere_is_said_not_to_be_looked_at(monkeypatch, vendor, is_said):
    monkeypatch.setattr(machine.connection, "vendor", vendor)
    [line] = machine.disk_lines()
    assert ("is not looked at" in line.text) == is_said


@pytest.mark.parametrize(
    ("apart", "level"), [(0, Level.OK), (60, Level.WARNING), (-7200, Level.ERROR)]
)
def test_a_clock_apart_is_told(apart, level):
    line = machine.compared("The clock of x", NOW + timedelta(seconds=apart), NOW)
    assert line.level is level


def test_a_clock_that_is_not_set_is_an_error():
    with time_machine.travel(datetime(1970, 1, 2, tzinfo=UTC), tick=False):
        assert [line.level for line in machine.clock_lines()] == [Level.ERROR]
        assert not [line for line in examine().lines if line.subject == "schedule"]


@pytest.mark.postgresql
def test_the_clock_of_the_database_server_is_compared():
    with time_machine.travel(timezone.now() - timedelta(hours=2)):
        line = next(iter(machine.database_clock_lines()))
    assert line.level is Level.ERROR
    assert "120 min ahead of" in line.text


def test_the_database_tells_version_size_and_migrations():
    lines = list(database.database_lines())
    assert errors(lines) == []
    assert lines[0].text.startswith("PostgreSQL" if connection.vendor == "postgresql" else "SQLite")
    assert lines[-1].text == "Its tables are up to date."


def test_half_a_site_is_an_error():
    SiteImport.objects.create(rows=1, of_rows=3, mark="m")
    [half] = errors(database.database_lines())
    assert "run it again with the same file" in half.advice


# Broker


def test_without_a_broker_there_is_nothing_to_mend():
    assert [line.level for line in broker.broker_lines()] == [Level.OK]


@pytest.mark.parametrize("kind", ["amqp", "redis"])
def test_a_broker_that_is_away_is_an_error_without_its_password(settings, kind):
    settings.CELERY_BROKER_URL = f"{kind}://user:Canary-4711@127.0.0.1:1/0"
    [line] = broker.broker_lines()
    assert line.level is Level.ERROR
    assert "Canary" not in line.text


def test_a_broker_without_workers_is_a_warning(settings):
    from tests.core.workers import RABBITMQ, answers

    if not answers(RABBITMQ):
        pytest.skip("RabbitMQ does not answer")
    settings.CELERY_BROKER_URL, settings.CELERY_QUEUE = RABBITMQ, "test-no-such-queue"
    lines = list(broker.broker_lines())
    assert [line.level for line in lines] == [Level.OK, Level.WARNING, Level.WARNING]
    assert "guest@" not in lines[0].text


def test_redis_that_is_away_is_an_error(settings):
    settings.REDIS_URL = "redis://:Canary-4711@127.0.0.1:1/0"
    [line] = broker.redis_lines()
    assert line.level is Level.ERROR
    assert "Canary" not in line.text


# Gateways


def test_without_a_gateway_it_says_how_to_add_one():
    [line] = gateway_lines(asks=True)
    assert "add_gateway" in line.advice


def test_a_gateway_that_does_not_answer_is_an_error_and_nothing_is_stored(heater, simulator):
    poll.poll_devices()
    before = Gateway.objects.values().get()
    simulator.devices[0].faults = [Fault("500")]
    [line] = gateway_lines(asks=True)
    assert line.level is Level.ERROR
    assert "500" in line.text
    assert Gateway.objects.values().get() == before


def test_quick_asks_none_and_goes_by_the_last_answers(heater, simulator):
    poll.poll_devices()
    asked = simulator.devices[0].requests
    [line] = gateway_lines(asks=False)
    assert line.text == "1 gateway well by the last answer: Heater."
    Gateway.objects.update(failures=2, error="no answer", asked_at=timezone.now())
    [line] = gateway_lines(asks=False)
    assert line.text == "Heater (asked just now): no answer"
    assert simulator.devices[0].requests == asked


def test_a_gateway_that_refused_us_is_not_asked_while_it_rests(heater, simulator):
    later = timezone.now() + timedelta(hours=1)
    Gateway.objects.update(failures=1, refused=True, error="refused", retry_at=later)
    asked = simulator.devices[0].requests
    [line] = gateway_lines(asks=True)
    assert line.level is Level.ERROR
    assert simulator.devices[0].requests == asked


def test_one_whose_budget_is_used_up_is_not_asked(heater, simulator):
    ahead = timezone.now() + timedelta(seconds=50)
    Gateway.objects.update(next_call_at=ahead, next_read_at=ahead, answered_at=timezone.now())
    asked = simulator.devices[0].requests
    [line] = gateway_lines(asks=True)
    assert "by the last answer" in line.text
    assert simulator.devices[0].requests == asked


def test_what_pushes_is_never_asked_and_one_never_asked_is_a_warning():
    make_gateway("Sensors", "push:1", "webhook")
    assert [line.level for line in gateway_lines(asks=True)] == [Level.OK]
    make_gateway("Hub")
    assert "was never asked" in next(iter(gateway_lines(asks=False))).text


def test_clocks_of_gateways_are_compared_by_their_date_header(settings):
    from ipaddress import ip_network

    settings.GATEWAY_NETWORKS = (ip_network("127.0.0.0/8"),)
    told = {
        "id": "shelly-aabbccddeeff",
        "mac": "AABBCCDDEEFF",
        "gen": 2,
        "app": "Plus1",
        "name": "Old",
    }
    reply = answer(json.dumps(told).encode())
    with serving(lambda request: with_date(reply, "Tue, 01 Jan 2030 00:00:00 GMT")) as server:
        make_gateway("Old", server.address)
        lines = list(gateway_lines(asks=True))
    [line] = [line for line in lines if line.subject == "clock"]
    assert line.level is Level.WARNING
    assert "The clock of Old is" in line.text


def with_date(reply, date):
    head, _, body = reply.partition(b"\r\n\r\n")
    return b"%s\r\nDate: %s\r\n\r\n%s" % (head, date.encode(), body)


# Schedule


def ran(task, at, outcome=Outcome.DONE, error=""):
    with publishing():
        Run.objects.create(task=task, outcome=outcome, started_at=at, finished_at=at, error=error)


def test_a_task_that_never_ran_is_an_error_with_the_line_for_the_crontab(settings):
    make_gateway()
    [line] = errors(schedule.schedule_lines())
    assert line.text == "poll_devices has never run."
    assert line.advice.splitlines()[1].startswith("*/10 * * * *  cd ")
    assert line.advice.endswith("manage.py poll_devices >/dev/null")
    settings.CELERY_BROKER_URL = "amqp://x"
    assert "beat" in errors(schedule.schedule_lines())[0].advice
    settings.CELERY_BROKER_URL, settings.ON_DYNO = "", True
    assert "heroku" in errors(schedule.schedule_lines())[0].advice


def test_a_task_that_is_late_missed_or_broke_is_told():
    make_gateway()
    with time_machine.travel(NOW, tick=False):
        ran("poll", NOW - timedelta(hours=3))
        assert "180 minutes old" in errors(schedule.schedule_lines())[0].text
        ran("poll", NOW - timedelta(minutes=1))
        assert "17 runs of the last day did not happen" in texts(schedule.schedule_lines())
        ran("poll", NOW, Outcome.BROKEN, "Traceback\nOSError: no space")
        assert "the newest run is broken: OSError: no space" in texts(schedule.schedule_lines())


def texts(lines):
    return "\n".join(line.text for line in lines)


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("10", "*/10 * * * *"),
        ("1", "* * * * *"),
        ("0.5", "* * * * *"),
        ("7", "*/6 * * * *"),
        ("60", "0 * * * *"),
        ("120", "0 */2 * * *"),
        ("1440", "0 0 * * *"),
        ("*/5 6-22 * * mon", "*/5 6-22 * * mon"),
    ],
)
def test_the_line_runs_a_task_as_often_as_it_is_to_or_oftener(written, fields):
    found = read_schedule(written, "UTC")
    assert crontab_fields(found) == fields
    assert read_schedule(fields, "UTC").usual_gap <= max(found.usual_gap, timedelta(minutes=1))


def test_a_listener_that_was_killed_is_told():
    ran("listen", timezone.now(), Outcome.RUNNING)
    assert "was killed" in texts(schedule.schedule_lines())
    soon = timezone.now() + timedelta(minutes=1)
    Lease.objects.create(task="listen", holder="somebody", expires_at=soon)
    assert "listen_devices is at work." in texts(schedule.schedule_lines())


def test_open_alerts_and_messages_that_were_lost_are_told():
    now = timezone.now()
    times = {"first_seen_at": now, "last_seen_at": now, "counted_at": now, "opened_at": now}
    alert = Alert.objects.create(key="x", title="Hub does not answer", **times)
    AlertMessage.objects.create(
        alert=alert,
        phase="opened",
        channel="x",
        channel_name="webhook at example.org",
        due_at=now,
        fate=Fate.GIVEN_UP,
        error="It answered 410.",
    )
    warned, lost = schedule.alert_lines()
    assert warned.text == "1 alert open: Hub does not answer."
    assert "webhook at example.org: It answered 410." in lost.text


def test_one_subject_that_fails_costs_no_other(monkeypatch, caplog):
    def fail():
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(machine, "disk_lines", fail)
    lines = examine(asks_gateways=False).lines
    assert (
        Line(
            "disk",
            Level.ERROR,
            "It could not be looked at: RuntimeError: nobody foresaw this",
            "This is a fault of the program. Please report it.",
        )
        in lines
    )
    assert any(line.subject == "database" for line in lines)
    assert "nobody foresaw this" in caplog.text
