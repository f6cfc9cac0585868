"""Commands that list, change and remove gateways and devices, and what they say when it fails."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from core.management.command import Command as Base
from core.models import Device, Gateway
from core.simulator import Simulator
from core.tasks import gateways
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.test_commands import say

pytestmark = pytest.mark.django_db


@pytest.fixture
def hub():
    return make_gateway("Hall hub", "http://127.0.0.1:9", credential="old secret")


@pytest.fixture
def plug(hub):
    return make_device(hub, "plug", place="Hall")


def test_list_gateways_shows_numbers_addresses_and_how_each_does(hub, plug):
    Gateway.objects.filter(pk=hub.pk).update(failures=2, refused=True, error="401: no entry")
    row = say("list_gateways").splitlines()[1]
    expected = f"{hub.pk} Hall hub shelly http://127.0.0.1:9 1 refused: 401: no entry"
    assert row.split() == expected.split()


def test_list_gateways_for_a_program_shows_no_secret(hub, plug):
    [listed] = json.loads(say("list_gateways", "--json"))
    assert (listed["id"], listed["address"], listed["devices"]) == (hub.pk, hub.address, 1)
    assert (listed["has_credential"], "old secret" in str(listed)) == (True, False)


def test_list_devices_shows_numbers_and_gateways(hub, plug):
    make_device(make_gateway("Attic", "http://127.0.0.1:10"), "other")
    row = say("list_devices", "--gateway", str(hub.pk)).splitlines()[1]
    assert row.split() == [str(plug.pk), "Plug", "Hall", str(hub.pk), "Hall", "hub", "plug", "none"]
    assert len(json.loads(say("list_devices", "--json"))) == 2


def test_list_devices_shows_those_that_were_removed(plug):
    gateways.remove_device(plug.pk)
    assert "Plug" in say("list_devices", "--removed")
    assert "No devices" in say("list_devices")


@pytest.mark.parametrize("command", ["list_gateways", "list_devices"])
def test_an_empty_list_says_what_to_do(command):
    assert "Run" in say(command) or "python manage.py" in say(command)
    assert json.loads(say(command, "--json")) == []


def test_change_gateway_renames_and_disables_and_keeps_the_rest(hub):
    output = say("change_gateway", str(hub.pk), "--name", "Attic hub", "--disable")
    assert output == f"Gateway {hub.pk} is changed: Attic hub, {hub.address}.\n"
    hub.refresh_from_db()
    assert (hub.name, hub.enabled) == ("Attic hub", False)
    assert hub.credential.reveal() == "old secret"
    say("change_gateway", str(hub.pk), "--enable")
    assert Gateway.objects.get().enabled


def test_change_gateway_takes_a_credential_and_no_argument_holds_it(hub, monkeypatch):
    monkeypatch.setenv("GATEWAY_CREDENTIAL", "new secret")
    say("change_gateway", str(hub.pk), "--credential")
    assert Gateway.objects.get().credential.reveal() == "new secret"


def test_change_gateway_asks_for_the_credential_again_at_another_address(hub):
    with pytest.raises(CommandError, match="sent nowhere else.*Add --credential"):
        say("change_gateway", str(hub.pk), "--address", "http://127.0.0.1:10")
    assert Gateway.objects.get().address == hub.address


def test_change_gateway_follows_a_device_to_its_new_address():
    with Simulator(devices=1) as simulator:
        gateway = gateways.add("shelly", simulator.address(0)).gateway
        moved = simulator.address(0).replace("127.0.0.1", "localhost")
        say("change_gateway", str(gateway.pk), "--address", moved)
    assert Gateway.objects.get().address == moved


def test_change_device_renames_moves_and_disables(plug):
    say("change_device", str(plug.pk), "--name", "Boiler", "--place", "Cellar", "--disable")
    plug.refresh_from_db()
    assert (plug.name, plug.place, plug.enabled) == ("Boiler", "Cellar", False)


@pytest.mark.parametrize("command", ["change_gateway", "change_device"])
def test_changing_nothing_says_what_can_be_changed(command, hub, plug):
    with pytest.raises(CommandError, match="such as --name"):
        say(command, str(hub.pk if command == "change_gateway" else plug.pk))


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[2Jb", "x" * 121])
@pytest.mark.parametrize("command", ["change_gateway", "change_device"])
def test_a_name_that_cannot_be_shown_is_refused(command, name):
    with pytest.raises(CommandError, match="is no name"):
        say(command, "1", "--name", name)


def test_remove_gateway_erases_its_credential(hub, plug):
    assert "Hall hub was removed" in say("remove_gateway", str(hub.pk), "--yes")
    assert not Gateway.objects.get().credential
    assert not Device.objects.present().exists()


def test_remove_device_says_how_to_restore_it(plug):
    restore = f"discover_devices --restore --gateway {plug.gateway_id}"
    assert restore in say("remove_device", str(plug.pk), "--yes")
    assert not Device.objects.present().exists()


@pytest.mark.parametrize("command", ["remove_gateway", "remove_device"])
def test_nothing_is_removed_without_a_yes(command, hub, plug, monkeypatch):
    pk = str(hub.pk if command == "remove_gateway" else plug.pk)
    with pytest.raises(CommandError, match="Nothing was done: add --yes"):
        say(command, pk)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    with pytest.raises(CommandError, match="Nothing was done"):
        say(command, pk)
    assert Device.objects.present().exists()


COMMANDS_WITH_A_NUMBER = [
    ("set_attribute", "999", "on", "off"),
    ("set_rule", "999", "awesome"),
    ("hold_device", "999"),
    ("release_device", "999"),
    ("scorecard", "--device", "999"),
    ("do_something_awesome", "--device", "999"),
    ("change_device", "999", "--name", "x"),
    ("remove_device", "999", "--yes"),
    ("poll_devices", "--gateway", "999"),
    ("discover_devices", "--gateway", "999"),
    ("list_devices", "--gateway", "999"),
    ("change_gateway", "999", "--name", "x"),
    ("remove_gateway", "999", "--yes"),
]


@pytest.mark.parametrize("words", COMMANDS_WITH_A_NUMBER, ids=lambda words: words[0])
def test_a_number_that_nothing_has_is_told_with_where_to_look(words):
    noun = "gateway" if "gateway" in " ".join(words) or words[0] == "poll_devices" else "device"
    expected = f"There is no {noun} 999. See: python manage.py list_{noun}s"
    with pytest.raises(CommandError) as refused:
        say(*words)
    assert str(refused.value) == expected


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("pragma", "undo", "hint"),
    [
        ("max_page_count = 1", "max_page_count = 4294967294", "Make room on the disk"),
        ("query_only = 1", "query_only = 0", "must be writable"),
    ],
)
def test_a_database_on_a_full_or_read_only_disk_is_told_in_a_line(pragma, undo, hint, monkeypatch):
    """SQLite's own errors, as such disks cause them."""
    hub = make_gateway("Hall hub")
    monkeypatch.setattr(connection, "close", lambda: None)
    with connection.cursor() as cursor:
        # Pages that earlier tests have freed would be used first, instead of the disk.
        cursor.execute("VACUUM")
        cursor.execute(f"PRAGMA {pragma}")
    try:
        with pytest.raises(CommandError, match=f"The database says: .*{hint}") as refused:
            for _ in range(200):
                say("change_gateway", str(hub.pk), "--name", "x" * 120)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA {undo}")
    assert "server" not in str(refused.value)


def test_output_that_cannot_be_written_is_told_in_a_line(database_url):
    with open("/dev/full", "w") as full:
        shown = subprocess.run(
            [sys.executable, "manage.py", "set_rule", "1", "cleanest_hours", "--options"],
            cwd=settings.BASE_DIR,
            env=os.environ | {"DATABASE_URL": database_url, "DEBUG": "1"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert shown.returncode == 1
    expected = "CommandError: The output cannot be written: No space left on device.\n"
    assert shown.stderr == expected


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    class Writing(Base):
        def handle(self, *args, **options):
            raise PermissionError(13, "Permission denied", str(tmp_path / "chart.svg"))

    with pytest.raises(CommandError, match=r"chart\.svg cannot be written: Permission denied"):
        call_command(Writing())


@pytest.mark.parametrize("command", ["simulate_devices", "demo"])
@pytest.mark.parametrize("port", ["80000", "-1", "http"])
def test_what_is_no_port_is_told_before_anything_begins(command, port):
    with pytest.raises(CommandError, match=f"'{port}' is no port, 0 to 65535"):
        call_command(command, f"--port={port}")
