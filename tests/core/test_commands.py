"""Commands as a person or a scheduler meets them: what they print, store, and how they end."""

import json
import subprocess
import sys
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands

from core.models import Device, DeviceCommand, Gateway, Observation
from core.simulator import Fault, Simulator
from core.tasks import gateways
from core.tasks.runs import running

pytestmark = pytest.mark.django_db
OURS = sorted(name for name, app in get_commands().items() if app == "core")


@pytest.fixture
def simulator():
    with Simulator(devices=4) as running_simulator:
        yield running_simulator


@pytest.fixture
def heater(simulator):
    [pk] = gateways.add("shelly", simulator.address(0)).new
    return Device.objects.get(pk=pk)


def say(*words, **options):
    out = StringIO()
    call_command(*words, stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize("name", OURS)
def test_every_command_says_what_it_is_for(name):
    shown = subprocess.run(
        [sys.executable, "manage.py", name, "--help"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0
    assert "." in shown.stdout.split("\n\n")[1]


def test_add_gateway_lists_what_it_found_and_what_to_do_next(simulator):
    output = say("add_gateway", "shelly", simulator.address(0), name="Bath")
    assert output.startswith("Added Bath (gateway ")
    assert "Heater: on, power" in output
    assert "set_rule" in output
    assert Observation.objects.exists()


def test_add_gateway_takes_the_credential_from_the_environment_never_from_an_argument(monkeypatch):
    monkeypatch.setenv("GATEWAY_CREDENTIAL", "wonder")
    with Simulator(devices=1, password="wonder") as protected:
        say("add_gateway", "shelly", protected.address(0))
    assert Gateway.objects.get().credential.reveal() == "wonder"


def test_add_gateway_with_a_wrong_password_says_so_and_stores_nothing(monkeypatch):
    monkeypatch.setenv("GATEWAY_CREDENTIAL", "wrong")
    with (
        Simulator(devices=1, password="wonder") as protected,
        pytest.raises(CommandError, match="password"),
    ):
        say("add_gateway", "shelly", protected.address(0))
    assert not Gateway.objects.exists()


def test_add_gateway_where_nobody_answers_says_so():
    with pytest.raises(CommandError, match="127.0.0.1:9"):
        say("add_gateway", "shelly", "http://127.0.0.1:9")


def test_poll_devices_sums_up_in_a_line(heater):
    assert say("poll_devices").startswith("Asked 1 gateways in ")


def test_poll_devices_ends_badly_and_names_what_failed_and_why(heater, simulator):
    simulator.devices[0].faults = [Fault("500")]
    with pytest.raises(CommandError, match=r"1 gateway did not answer:\n  Heater: .*500"):
        say("poll_devices")


def test_poll_devices_leaves_a_resting_gateway_alone_and_ends_well(heater, simulator):
    simulator.devices[0].faults = [Fault("unauthorised")]
    with pytest.raises(CommandError):
        say("poll_devices")
    assert "resting until" in say("poll_devices")
    with pytest.raises(CommandError):
        say("poll_devices", force=True)


def test_poll_devices_while_another_polls_ends_well(heater):
    with running("poll"):
        assert "another run is at work" in say("poll_devices")


def test_poll_devices_of_one_gateway(heater):
    assert say("poll_devices", gateway=heater.gateway_id).startswith("Asked 1")
    with pytest.raises(CommandError, match="There is no gateway 999"):
        say("poll_devices", gateway=999)


def test_poll_devices_for_a_program(heater):
    content = json.loads(say("poll_devices", json=True))
    assert (content["gateways"], content["failed"], content["failures"]) == (1, 0, [])


def test_discover_devices_tells_new_from_known(heater):
    assert say("discover_devices") == "Heater: 0 new, 1 known.\n"
    gateways.remove_device(heater.pk)
    assert "1 left out because they were removed" in say("discover_devices")
    assert say("discover_devices", restore=True) == "Heater: 0 new, 0 known, 1 restored.\n"


def test_discover_devices_names_what_failed(heater, simulator):
    simulator.devices[0].faults = [Fault("500")]
    with pytest.raises(CommandError, match="Heater: "):
        say("discover_devices")


def test_discover_devices_without_gateway_says_what_to_do():
    with pytest.raises(CommandError, match="add_gateway"):
        say("discover_devices")


def test_set_attribute_says_that_it_took_effect(heater, simulator):
    assert say("set_attribute", heater.pk, "on", "on") == "Heater: on set to on: confirmed.\n"
    assert simulator.devices[0].on
    command = DeviceCommand.objects.get()
    assert (command.source, command.reason) == ("human", "ordered on the command line")


def test_set_attribute_that_is_not_confirmed_ends_badly(heater, simulator):
    simulator.devices[0].faults = [Fault("lying")]
    with pytest.raises(CommandError, match="accepted"):
        say("set_attribute", heater.pk, "on", "on")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("colour", "red"), "It has: on, power"),
        (("on", "maybe"), "neither true nor false"),
        (("power", "5"), "can only be read"),
    ],
)
def test_set_attribute_refuses_in_words(heater, words, why):
    with pytest.raises(CommandError, match=why):
        say("set_attribute", heater.pk, *words)
    assert not DeviceCommand.objects.exists()


def test_set_rule_and_do_something_awesome(heater, simulator):
    assert "No device has a rule" in say("do_something_awesome")
    assert (
        say("set_rule", heater.pk, "awesome")
        == "Heater: the rule awesome decides from now on, with clean_below=180.\n"
    )
    say("poll_devices")
    assert say("do_something_awesome", dry_run=True).startswith("Heater: o")
    assert say("do_something_awesome").startswith("Heater: o")
    assert say("do_something_awesome", device=heater.pk).startswith("Heater: o")
    assert say("set_rule", heater.pk, "none") == "Heater: has no rule from now on.\n"
    with pytest.raises(CommandError, match="has no rule"):
        say("do_something_awesome", device=heater.pk)


def test_do_something_awesome_ends_badly_where_no_decision_is_possible(heater):
    gateways.change_device(heater.pk, rule="awesome")
    with pytest.raises(CommandError, match="1 of 1 device had a problem: Heater"):
        say("do_something_awesome")


def test_do_something_awesome_while_another_decides_ends_well(heater):
    with running("decide"):
        assert "another run is at work" in say("do_something_awesome")


def test_set_rule_for_a_device_that_is_not_there():
    with pytest.raises(CommandError, match="There is no device 999"):
        say("set_rule", 999, "awesome")


def test_set_rule_keeps_options_as_written_and_tells_all_that_hold(heater):
    output = say("set_rule", heater.pk, "cleanest_hours", "minutes=240", "before=06:30", "after=")
    assert output == (
        "Heater: the rule cleanest_hours decides from now on, with minutes=240 before=06:30 "
        "watts=1000 contiguous=off signal=carbon_intensity ties=earliest gain=5 smooth=90.\n"
        "Nobody has set the clock of the home: times of rules are those of UTC. "
        "Set it: python manage.py set_site --zone Europe/Berlin\n"
    )
    heater.refresh_from_db()
    assert (heater.rule, heater.options) == (
        "cleanest_hours",
        {"minutes": "240", "before": "06:30"},
    )


def test_set_rule_takes_an_option_with_spaces(heater):
    output = say("set_rule", heater.pk, "schedule", "on=mon-fri 07:00-09:00; sat 08:00-10:00")
    assert output == (
        "Heater: the rule schedule decides from now on, "
        "with on='mon-fri 07:00-09:00; sat 08:00-10:00'.\n"
        "Nobody has set the clock of the home: times of rules are those of UTC. "
        "Set it: python manage.py set_site --zone Europe/Berlin\n"
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("minute=5",), "has no option minute. It has: minutes, before"),
        (("minutes=many",), "minutes: 'many' is no number"),
        (("minutes",), "'minutes' is not of the form NAME=VALUE"),
        (("before=7",), "'7' is no time of day. Example: 07:30"),
    ],
)
def test_set_rule_refuses_what_makes_no_sense_and_shows_what_does(heater, words, why):
    with pytest.raises(
        CommandError, match=rf"(?s){why}.*\n  minutes=180 +How long it has to run every day \(min\)"
    ):
        say("set_rule", heater.pk, "cleanest_hours", *words)
    heater.refresh_from_db()
    assert heater.rule == ""


def test_set_rule_none_clears_the_options(heater):
    say("set_rule", heater.pk, "below", "threshold=100")
    say("set_rule", heater.pk, "none")
    heater.refresh_from_db()
    assert (heater.rule, heater.options) == ("", {})


def test_set_rule_another_rule_starts_from_its_own_options(heater):
    say("set_rule", heater.pk, "below", "threshold=100")
    say("set_rule", heater.pk, "awesome")
    heater.refresh_from_db()
    assert heater.options == {}


def test_set_rule_puts_a_guard_beside_the_rule(heater):
    say("set_rule", heater.pk, "below", "threshold=100")
    output = say("set_rule", heater.pk, "lightning_guard", "lead_minutes=90", guard=True)
    assert output.startswith(
        "Heater: the guard lightning_guard decides from now on, with chance=20 flashes=2 "
    )
    heater.refresh_from_db()
    assert (heater.rule, heater.options) == ("below", {"threshold": "100"})
    assert (heater.guard, heater.guard_options) == ("lightning_guard", {"lead_minutes": "90"})
    assert say("set_rule", heater.pk, "none", guard=True) == "Heater: has no guard from now on.\n"
    heater.refresh_from_db()
    assert (heater.rule, heater.guard, heater.guard_options) == ("below", "", {})


def test_set_rule_refuses_a_guard_that_is_none(heater):
    with pytest.raises(CommandError, match="awesome is no guard. Guards: lightning_guard."):
        say("set_rule", heater.pk, "awesome", guard=True)


def test_set_rule_shows_what_a_rule_can_be_told(heater):
    assert "  threshold=150 " in say("set_rule", heater.pk, "below", explain=True)
    heater.refresh_from_db()
    assert heater.rule == ""


def test_status_without_devices_says_what_to_do():
    assert "add_gateway" in say("status")


def test_status_shows_what_is_wrong_and_what_is_fine(heater, simulator):
    say("poll_devices")
    assert "fresh" in say("status")
    simulator.devices[0].faults = [Fault("500")]
    for _ in range(2):
        with pytest.raises(CommandError):
            say("poll_devices")
    assert "Heater fails: " in say("status")
    assert f"poll_devices --gateway {heater.gateway_id}" in say("status")


def test_status_for_a_program(heater):
    say("poll_devices")
    content = json.loads(say("status", json=True))
    assert content["healthy"] is True
    [device] = content["devices"]
    assert (device["name"], device["freshness"]) == ("Heater", "fresh")
    assert {attribute["name"] for attribute in device["attributes"]} >= {"on", "power"}


def test_what_was_found_decided_and_ordered_for_a_program(heater):
    assert json.loads(say("discover_devices", json=True))[0]["known"] == [heater.pk]
    assert (
        json.loads(say("set_attribute", heater.pk, "on", "on", json=True))["state"] == "confirmed"
    )
    gateways.change_device(heater.pk, rule="awesome")
    [content] = json.loads(say("do_something_awesome", json=True))
    assert (content["name"], content["rule"], content["problem"]) == ("Heater", "awesome", False)


def test_prune_says_what_it_deleted(heater):
    assert say("prune") == "Nothing to delete: all is younger.\n"
    say("poll_devices")
    Observation.objects.update(observed_at="2020-01-01T00:00Z")
    power = heater.attributes.get(name="power")
    Observation.objects.create(attribute=power, observed_at="2019-01-01T00:00Z", number=1.0)
    assert say("prune", days=30) == "Deleted 1 observation.\n"


def test_prune_refuses_days_that_are_none():
    with pytest.raises(CommandError, match="not a number of days"):
        call_command("prune", "--days", "0")


def test_a_database_that_is_not_set_up_is_told_in_a_line(tmp_path):
    shown = subprocess.run(
        [sys.executable, "manage.py", "poll_devices"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "DEBUG": "1", "DATABASE_URL": f"sqlite:///{tmp_path}/new.sqlite3"},
    )
    assert shown.returncode == 1
    assert shown.stderr.strip().endswith("Run: python manage.py migrate")
    assert "Traceback" not in shown.stderr


def test_add_gateway_webhook_prints_its_secret_and_what_to_do_next(capsys):
    secret = say("add_gateway", "webhook", "--allow-new", name="Sensors").strip()
    gateway = Gateway.objects.get()
    assert (gateway.name, gateway.allow_new) == ("Sensors", True)
    assert gateway.credential.reveal() == secret
    assert f"issue_token USER NAME --right ingest --gateway {gateway.pk}" in capsys.readouterr().err
    with pytest.raises(CommandError, match="leave the URL out"):
        say("add_gateway", "webhook", "http://127.0.0.1")
    with pytest.raises(CommandError, match="Say where it answers"):
        say("add_gateway", "shelly")


def test_change_gateway_of_devices_that_push_takes_no_new_ones_and_renews_its_secret():
    before = say("add_gateway", "webhook", "--allow-new").strip()
    gateway = Gateway.objects.get()
    say("change_gateway", str(gateway.pk), "--no-new")
    after = say("change_gateway", str(gateway.pk), "--credential").strip()
    gateway.refresh_from_db()
    assert not gateway.allow_new
    assert gateway.credential.reveal() == after != before
