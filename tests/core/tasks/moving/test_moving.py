"""export_site and import_site: all of a site moves, to either database."""

import io
import json
import stat
import zipfile
from datetime import timedelta

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from core.models import DeviceCommand, Event, Gateway, Observation, Run, User
from core.models.device_command import State
from core.tasks import export_site as exporting
from core.tasks import import_site as importing
from core.tasks.moving import NotMoved, archive
from core.tasks.moving.tables import LEFT_OUT, MOVED, NUMBERED_ON
from tests.core.tasks.moving import sample
from tests.core.tasks.moving.elsewhere import PHRASE, command_elsewhere, empty


def test_each_table_moves_or_is_left_out_for_a_reason():
    every = {model._meta.label for model in apps.get_models(include_auto_created=True)}
    assert every == {*MOVED, *LEFT_OUT}, "name it in core/tasks/moving/tables.py"
    assert not set(MOVED) & set(LEFT_OUT)
    assert set(NUMBERED_ON) <= set(LEFT_OUT)


def test_a_site_comes_back_equal_from_a_sqlite_file(filled, file, tmp_path):
    """Run on PostgreSQL it goes from there to SQLite and back."""
    before = sample.content()
    assert [label for label, rows in before.items() if not rows] == []
    exporting.export_site(file, PHRASE)
    other, back = f"sqlite:///{tmp_path / 'other.sqlite3'}", tmp_path / "back.zip"
    command_elsewhere(other, "migrate")
    assert f"Stored {filled} rows" in command_elsewhere(other, "import_site", file)
    assert f"Wrote {filled} rows" in command_elsewhere(other, "export_site", back)
    empty()
    importing.import_site(back, PHRASE)
    assert sample.content() == before


def test_credentials_are_in_no_file_readable(exported):
    with zipfile.ZipFile(exported) as stored:
        everything = b"".join(stored.read(name) for name in stored.namelist())
    assert sample.CREDENTIAL.encode() not in everything
    assert json.dumps(sample.CREDENTIAL).encode() not in everything
    assert b"Cellar" in everything


def test_a_new_row_gets_a_number_that_none_had_there(filled, file):
    last = Observation.objects.order_by("-pk").first()
    event = Event.objects.create(kind="device", body={})
    observation_number, event_number = last.pk, event.pk
    event.delete()
    last.delete()
    exporting.export_site(file, PHRASE)
    empty()
    importing.import_site(file, PHRASE)
    new = Observation(attribute_id=last.attribute_id, observed_at=sample.LATER, number=1.0)
    new.save()
    assert new.pk > observation_number
    assert Event.objects.create(kind="device", body={}).pk > event_number
    assert sample.make(User, username="new").pk == User.objects.get(username="ben").pk + 1


def test_what_processes_were_doing_ends_with_the_move(filled, file):
    attribute = DeviceCommand.objects.get().attribute
    for number, state in enumerate((State.REQUESTED, State.SENDING, State.ACCEPTED)):
        times = {"requested_at": sample.NOW, "expires_at": sample.LATER}
        values = {"attribute": attribute, "number": number, "source": "rule", "reason": ""}
        sample.make(DeviceCommand, state=state, claimed_until=sample.LATER, **times, **values)
    running = sample.make(Run, task="poll_devices", outcome="running", waiting_for=[1])
    Gateway.objects.update(claimed_until=sample.LATER, claimed_by="a", listened_until=sample.LATER)
    exporting.export_site(file, PHRASE)
    empty()
    importing.import_site(file, PHRASE)
    moved = DeviceCommand.objects.order_by("pk").values_list("state", "claimed_until")
    assert list(moved) == [
        (State.CONFIRMED, None),
        (State.EXPIRED, None),
        (State.FAILED, None),
        (State.UNCONFIRMED, None),
    ]
    assert Run.objects.get(pk=running.pk).outcome == "vanished"
    claims = Gateway.objects.values_list("claimed_until", "claimed_by", "listened_until")
    assert set(claims) == {(None, "", None)}


def test_an_export_is_of_one_moment(filled, file, monkeypatch):
    """Another connection writes once the first table is read: nothing of it is in the file."""
    original = archive.write_table

    def write_and_disturb(stored, label, columns, lines):
        entry = original(stored, label, columns, lines)
        if label == MOVED[0]:
            disturb()
        return entry

    monkeypatch.setattr(archive, "write_table", write_and_disturb)
    before = Observation.objects.count()
    manifest = exporting.export_site(file, PHRASE)
    assert manifest.tables["core.Observation"].rows == before
    assert Observation.objects.count() == before + 1


def disturb():
    """Store an observation over another connection, as another process would."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(
                "INSERT INTO core_observation (attribute_id, observed_at, number) "
                "SELECT attribute_id, '2030-01-01', 1 FROM core_silence"
            )
    finally:
        other.close()


def test_only_its_owner_reads_the_file_and_nothing_is_left_beside_it(exported):
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def test_an_existing_file_stays(filled, file):
    file.write_text("mine")
    with pytest.raises(NotMoved, match="exists"):
        exporting.export_site(file, PHRASE)
    assert file.read_text() == "mine"


def test_a_short_passphrase_is_not_taken(filled, file):
    with pytest.raises(NotMoved, match="fewer than 12"):
        exporting.export_site(file, "short")
    assert not file.exists()


def test_a_credential_that_cannot_be_read_ends_the_export(filled, file):
    Gateway.objects.filter(name="Cellar").update(credential=sample.Secret("broken"))
    with pytest.raises(NotMoved, match=r"Gateway \d+: The stored credential cannot be decrypted"):
        exporting.export_site(file, PHRASE)
    assert list(file.parent.iterdir()) == []


def test_the_commands_read_the_passphrase_from_the_environment(filled, file, monkeypatch, capsys):
    monkeypatch.setenv("SITE_PASSPHRASE", PHRASE)
    call_command("export_site", str(file))
    empty()
    call_command("import_site", str(file))
    said = capsys.readouterr().out
    assert f"Wrote {filled} rows to {file}" in said
    assert f"Stored {filled} rows" in said
    with pytest.raises(CommandError, match="already"):
        call_command("import_site", str(file))


def test_without_anybody_to_ask_the_variable_is_named(transactional_db, file, monkeypatch):
    monkeypatch.delenv("SITE_PASSPHRASE", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="Set SITE_PASSPHRASE"):
        call_command("export_site", str(file))


def test_a_table_longer_than_a_step_moves_whole(filled, file):
    attribute = DeviceCommand.objects.get().attribute
    Observation.objects.bulk_create(
        Observation(
            attribute=attribute, observed_at=sample.LATER + timedelta(seconds=at), number=at
        )
        for at in range(1, 2_501)
    )
    before = sample.content()
    exporting.export_site(file, PHRASE)
    empty()
    importing.import_site(file, PHRASE)
    assert sample.content() == before
