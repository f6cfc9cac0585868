"""The demo: a home of its own, beside a real one that it must not touch."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone

from core.feeds import Signal
from core.models import Attribute, Device, DeviceCommand, Forecast, Gateway, Plan, Run, Silence
from core.models.device_command import State
from core.simulator import Simulator
from core.tasks import scorecard
from tests.core.tasks.test_roll_up import by_hours, by_observations, grid, same


@pytest.fixture
def in_a_demo(settings, tmp_path):
    """As in the process that `demo` starts."""
    settings.DEMO = str(tmp_path)


@pytest.fixture
def home(tmp_path):
    """The environment of a real home, which another process may see: a database, a key, feeds."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return {
        **os.environ,
        "DEBUG": "1",
        "DATABASE_URL": f"sqlite:///{tmp_path}/home.sqlite3",
        "SECRET_KEY": "h" * 50,
        "FEEDS": "replay",
        "TMPDIR": str(folder),
    }


def manage(home, *words):
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=settings.BASE_DIR,
        env=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def content_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


@pytest.mark.sqlite
def test_the_demo_never_touches_a_real_home_and_leaves_nothing_behind(home, tmp_path):
    with Simulator(devices=9) as simulator:
        real = simulator.devices[8]  # none of those that the demo has too
        manage(home, "migrate", "-v0")
        manage(home, "add_gateway", "shelly", simulator.address(8))
        # It would be switched on whatever the grid is like.
        manage(home, "set_rule", "1", "awesome", "clean_below=100000")
        before = content_of(tmp_path)
        shown = manage(home, "demo", "--once")
        assert real.writes == 0
        assert not real.on
    assert content_of(tmp_path) == before
    assert shown.count("fresh") == 5
    assert "are not touched" in shown
    assert list(Path(home["TMPDIR"]).iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_the_demo_shows_fresh_devices_and_their_plans(in_a_demo, capsys):
    call_command("demo", once=True)
    output = capsys.readouterr().out
    assert output.count(" fresh ") == 5
    assert output.count("(why: explain ") == 3
    assert output.count(" before 07:00") == 2  # as decided, and in the table
    assert "held" not in output
    assert Gateway.objects.count() == 5
    assert Run.objects.of("poll").completed().count() == 2
    assert not DeviceCommand.objects.filter(state=State.FAILED).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("hour", [5, 17])  # shortly before the car's deadline, and the heater's
def test_the_demo_begins_with_two_weeks_of_history_and_scores(in_a_demo, time_machine, hour):
    time_machine.move_to(timezone.now().replace(hour=hour, minute=15))
    call_command("demo", once=True)
    fortnight_ago = timezone.now() - timedelta(days=13, hours=23)
    for attribute in Attribute.objects.filter(name__in=("power", "temperature")):
        seen = attribute.observations.order_by("observed_at")
        assert seen.count() > 2000
        assert seen.first().observed_at < fortnight_ago
        assert not Silence.objects.filter(attribute=attribute).exists()
    for score in scorecard.scores(Device.objects.all(), timezone.now(), 14):
        if score.jobs:
            assert score.jobs.settled >= 13
            assert score.jobs.delivered > 0.99
            assert score.jobs.costs.saving > 0
    # Known by the hour in which it would have been fetched.
    issues = Forecast.objects.filter(series__signal=Signal.CARBON_INTENSITY)
    assert issues.count() > 150
    assert not issues.filter(issued_at__gt=F("known_at")).exists()
    for plan in Plan.objects.unsettled().filter(counted_until__gt=F("opens_at")):
        seen = plan.device.attributes.get(name="on").observations
        since = seen.filter(observed_at__gte=plan.opens_at, observed_at__lt=plan.counted_until)
        assert plan.delivered == pytest.approx(10 * since.filter(number=1).count(), abs=20)
    # Its meter counted what its plans say it ran.
    car = Device.objects.get(name="Car charger")
    energy = car.attributes.get(name="energy").observations.order_by("observed_at")
    values = list(energy.values_list("number", flat=True))
    assert values == sorted(values)
    hours = sum(plan.delivered for plan in car.plans.exclude(settled_at=None)) / 60
    assert values[-1] - values[0] == pytest.approx(7.2 * hours, rel=0.12)
    # Its hours say what its observations say.
    call_command("roll_up")
    for attribute in car.attributes.filter(name__in=("power", "energy", "on")):
        assert attribute.rolled_until > timezone.now() - timedelta(hours=3)
        times = grid(fortnight_ago, timezone.now() - timedelta(hours=3))
        same(by_hours(attribute, times), by_observations(attribute, times))


def test_the_demo_says_which_port_is_taken(in_a_demo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CommandError, match="make demo PORT="):
            call_command("demo", port=taken.getsockname()[1])


@pytest.mark.parametrize("port", ["80000", "-1", "http"])
def test_a_port_that_is_none_is_refused_in_words(port):
    with pytest.raises(CommandError, match="is no port, 0 to 65535"):
        call_command("demo", "--port", port)


@pytest.mark.sqlite
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_serves_pages_that_say_demo_and_ends_without_a_trace(home, ending):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "manage.py", "demo", "--port", str(port)]
    # Started by nohup or in the background, tests inherit that some of these are ignored.
    before = signal.signal(ending, signal.SIG_DFL)
    try:
        demo = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=home, stdout=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(ending, before)
    with demo:
        assert next(line for line in demo.stdout if "log in as demo" in line)
        assert answer_of(f"{url}healthz") == "ok\n"
        assert "This is the demo:" in answer_of(url)
        demo.send_signal(ending)
        assert "The demo has ended." in demo.stdout.read()
    assert demo.returncode == 0
    assert list(Path(home["TMPDIR"]).iterdir()) == []
    with pytest.raises(OSError):
        answer_of(url, attempts=1)


def answer_of(url, attempts=100):
    for attempt in range(attempts):
        try:
            return requests.get(url, timeout=5).text
        except OSError:
            if attempt == attempts - 1:
                raise
            time.sleep(0.1)


@pytest.mark.django_db
def test_the_pages_of_a_real_home_do_not_say_demo(client, settings):
    settings.PUBLIC_STATUS = True
    assert "demo:" not in client.get("/").text
