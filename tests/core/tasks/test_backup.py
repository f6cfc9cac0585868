"""Backups of SQLite: whole or not there, of one moment, and good to go back to."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from core.tasks import backup


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "live.sqlite3"
    with closing(sqlite3.connect(path)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE pair (one INTEGER, other INTEGER, filling BLOB)")
        with live:
            live.executemany("INSERT INTO pair VALUES (0, 0, randomblob(3000))", [()] * 3000)
    return path


@pytest.fixture
def site(source, monkeypatch):
    """Let the site's database be this file."""
    fake = type("Connection", (), {"vendor": "sqlite", "settings_dict": {"NAME": str(source)}})
    monkeypatch.setattr(backup, "connection", fake)
    return source


def rows(path):
    with closing(sqlite3.connect(path)) as copied:
        return copied.execute("SELECT count(*), min(one), max(one) FROM pair").fetchone()


def left_over(folder):
    return sorted(path.name for path in folder.iterdir() if "partial" in path.name)


def test_a_copy_is_of_one_moment_though_others_write(source, tmp_path, monkeypatch):
    """Each write changes all rows: a copy with two values was not of one moment. Each step of the
    copy is followed by a write: it must not begin anew each time."""
    monkeypatch.setattr(backup, "PAGES_A_STEP", 100)
    writes, steps = [], []

    def write():
        with closing(sqlite3.connect(source, timeout=30)) as writer, writer:
            writer.execute("UPDATE pair SET one = one + 1")
        writes.append(1)

    def step(done, total):
        steps.append(done)
        assert len(steps) < 500, "it began anew"
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(timeout=60)

    backup.copy(source, tmp_path / "copy.sqlite3", step)
    assert len(writes) == len(steps) > 20
    assert rows(tmp_path / "copy.sqlite3") == (3000, 0, 0)
    assert rows(source) == (3000, len(writes), len(writes))


def test_a_copy_is_one_file_that_only_its_owner_may_read(source, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    before = os.umask(0)
    try:
        made = backup.copy(source, folder / "copy.sqlite3")
    finally:
        os.umask(before)
    assert made.stat().st_mode & 0o777 == 0o600
    assert rows(made) == (3000, 0, 0)
    assert [path.name for path in folder.iterdir()] == ["copy.sqlite3"]


def test_a_copy_that_fails_leaves_the_one_before_and_nothing_else(source, tmp_path):
    target = backup.copy(source, tmp_path / "copy.sqlite3")
    before = target.read_bytes()

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.copy(source, target, fail)
    assert target.read_bytes() == before
    assert left_over(tmp_path) == []


def test_a_damaged_database_is_said_to_be_so_and_gives_no_backup(source, tmp_path):
    with closing(sqlite3.connect(source)) as live:
        live.execute("PRAGMA journal_mode=DELETE")
    with source.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096 * 8)
    with pytest.raises(backup.NotBackedUp, match=r"damaged|malformed"):
        backup.copy(source, tmp_path / "copy.sqlite3")
    assert not (tmp_path / "copy.sqlite3").exists()
    assert left_over(tmp_path) == []


def test_what_is_no_backup_is_not_written_over(source, tmp_path):
    diary = tmp_path / "diary.txt"
    diary.write_text("dear diary")
    in_use = tmp_path / "other.sqlite3"
    in_use.with_name("other.sqlite3-wal").touch()
    for target, reason in (
        (source, "in use|itself"),
        (diary, "no SQLite database"),
        (in_use, "in use"),
        (tmp_path / "nowhere" / "copy.sqlite3", "no folder"),
    ):
        with pytest.raises(backup.NotBackedUp, match=reason):
            backup.copy(source, target)
    assert diary.read_text() == "dear diary"


def test_a_folder_keeps_the_newest_whatever_the_clock_said(site, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "diary.txt").touch()
    for number, year in ((8, 2031), (9, 2020), (10, 2019)):
        (folder / f"iotapp-{number:06d}-{year}0101T000000Z.sqlite3").touch()
    made = backup.backup(folder, keep=2)
    assert made.name.startswith("iotapp-000011-")
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["diary.txt", "iotapp-000010-20190101T000000Z.sqlite3", made.name]
    assert rows(made) == (3000, 0, 0)


def test_all_are_kept_without_keep(site, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    made = [backup.backup(folder), backup.backup(folder)]
    assert sorted(folder.iterdir()) == made


def test_keep_needs_a_folder(site, tmp_path):
    with pytest.raises(CommandError, match="no folder"):
        call_command("backup", str(tmp_path / "copy.sqlite3"), keep=2)


def manage(database, *words):
    environment = {**os.environ, "DEBUG": "1", "DATABASE_URL": database}
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_on_postgresql_it_names_the_program_that_does_it(tmp_path):
    done = manage("postgres://nobody@127.0.0.1:1/nothing", "backup", str(tmp_path / "copy"))
    assert done.returncode == 1
    assert "pg_dump" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_backup_is_gone_back_to_as_the_readme_says(tmp_path):
    live, copied = tmp_path / "db.sqlite3", tmp_path / "copy.sqlite3"
    database = f"sqlite:///{live}"
    for words in (
        ("migrate", "--verbosity", "0"),
        ("set_site", "--place", "Berlin"),
        ("backup", str(copied)),
        ("set_site", "--place", "Rome"),
    ):
        done = manage(database, *words)
        assert done.returncode == 0, done.stderr
    for ending in ("", "-wal", "-shm"):
        live.with_name(live.name + ending).unlink(missing_ok=True)
    shutil.copy(copied, live)
    assert manage(database, "migrate", "--check").returncode == 0
    with closing(sqlite3.connect(live)) as restored:
        assert restored.execute("SELECT place FROM core_site").fetchall() == [("Berlin",)]
