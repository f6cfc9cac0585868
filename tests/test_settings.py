"""Settings are read in a copy of the project, with the environment that each test names only."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper

ROOT = Path(__file__).resolve().parent.parent
KEY = "k" * 50
SERVER = {"SECRET_KEY": KEY, "ALLOWED_HOSTS": "iot.example.org"}
DYNO = {"SECRET_KEY": KEY, "DYNO": "web.1", "DATABASE_URL": "postgres://user@host/name"}


class Read(Protocol):
    def __call__(self, **environment: str) -> dict[str, Any]: ...


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for source in [
        *ROOT.glob("iotapp/*.py"),
        ROOT / "core/net/addresses.py",
        ROOT / "core/schedule.py",
    ]:
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    return tmp_path


@pytest.fixture
def read(project: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    source = (ROOT / "iotapp" / "settings.py").read_text()
    for name in {"DYNO", "DEBUG", *re.findall(r'environment\.\w+\("(\w+)"', source)}:
        monkeypatch.delenv(name, raising=False)

    def read_settings(**environment: str) -> dict[str, Any]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(project / "iotapp" / "settings.py"))

    return read_settings


def start(project: Path, before: str = "") -> subprocess.Popen[str]:
    """Start a process that reads the settings with nothing set, and prints the key or the error."""
    lines = [
        before,
        "import sys; sys.dont_write_bytecode = True",
        "from iotapp import settings; print(settings.SECRET_KEY)",
    ]
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=project,
        env={},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_with_nothing_set_it_is_a_development_machine(read: Read, project: Path) -> None:
    settings = read()
    assert settings["DEBUG"] and settings["PUBLIC_STATUS"] and not settings["SECURE_SSL_REDIRECT"]
    assert settings["DATABASES"]["default"]["NAME"] == str(project / "db.sqlite3")
    assert ip_network("192.168.0.0/16") in settings["GATEWAY_NETWORKS"]
    assert settings["FEEDS"] == []


def test_a_demo_has_a_database_and_a_key_of_its_own_whatever_else_is_set(
    read: Read, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    settings = read(DEMO=str(folder), DEBUG="1", DATABASE_URL="sqlite:////home.sqlite3")
    assert settings["DATABASES"]["default"]["NAME"] == str(folder / "db.sqlite3")
    assert (folder / ".secret_key").read_text() == settings["SECRET_KEY"]


def test_sqlite_is_set_up_for_many_writers(read: Read) -> None:
    options = read()["DATABASES"]["default"]["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"  # and WAL: tests/core/test_journal.py


@pytest.mark.parametrize("sign", [SERVER, DYNO])
def test_a_server_is_safe_by_default(read: Read, sign: dict[str, str]) -> None:
    settings = read(**sign)
    assert not settings["DEBUG"] and not settings["PUBLIC_STATUS"]
    assert settings["SECURE_SSL_REDIRECT"] and settings["SESSION_COOKIE_SECURE"]
    assert settings["SECURE_HSTS_SECONDS"]
    assert settings["GATEWAY_NETWORKS"] == ()


def test_https_can_be_off_in_the_house(read: Read) -> None:
    settings = read(**SERVER, HTTPS="0")
    assert not settings["SECURE_SSL_REDIRECT"] and not settings["CSRF_COOKIE_SECURE"]
    assert not settings["SECURE_HSTS_SECONDS"]


def test_the_scheme_header_is_trusted_on_a_dyno_and_where_told(read: Read) -> None:
    assert "SECURE_PROXY_SSL_HEADER" not in read(**SERVER)
    assert "SECURE_PROXY_SSL_HEADER" in read(TRUST_PROXY="1")


def test_a_dyno_answers_to_its_herokuapp_name(read: Read) -> None:
    settings = read(**DYNO)
    assert settings["ALLOWED_HOSTS"] == [".herokuapp.com"]
    assert "SECURE_PROXY_SSL_HEADER" in settings


def test_postgresql_has_a_pool_of_a_stated_size(read: Read) -> None:
    database = read(**DYNO, DATABASE_POOL_SIZE="7")["DATABASES"]["default"]
    assert database["CONN_MAX_AGE"] == 0
    assert database["OPTIONS"]["pool"]["max_size"] == 7


def test_a_relative_sqlite_file_lies_in_the_project_wherever_cron_starts(
    read: Read, project: Path
) -> None:
    assert read(DEBUG="1", DATABASE_URL="sqlite:///other.sqlite3")["DATABASES"]["default"][
        "NAME"
    ] == str(project / "other.sqlite3")


def test_lists_networks_and_numbers_are_read(read: Read) -> None:
    settings = read(
        GATEWAY_NETWORKS="loopback, 192.168.7.0/24",
        POLL_INTERVAL_MINUTES="0.5",
        SECRET_KEY_FALLBACKS="a, b,",
    )
    assert settings["GATEWAY_NETWORKS"] == (
        ip_network("127.0.0.0/8"),
        ip_network("::1/128"),
        ip_network("192.168.7.0/24"),
    )
    assert settings["POLL_INTERVAL"] == timedelta(seconds=30)
    assert settings["SECRET_KEY_FALLBACKS"] == ["a", "b"]


@pytest.mark.parametrize(
    ("environment", "advice"),
    [
        (
            {"DATABASE_URL": "postgres://host/name"},
            "SECRET_KEY is not set, and DATABASE_URL says .* Make one with: .* set DEBUG=1",
        ),
        ({"DEBUG": "0"}, "SECRET_KEY is not set, and DEBUG=0 says .* Make one with: "),
        ({"SECRET_KEY": "short"}, "shorter than 32 characters. Make one with: "),
        ({"SECRET_KEY": KEY, "DYNO": "web.1"}, "SQLite on a Heroku dyno .* heroku addons:create"),
        ({"DEBUG": "1", "DATABASE_URL": "mysql://host/name"}, "must name PostgreSQL"),
        ({"DEBUG": "1", "DATABASE_URL": "nonsense"}, "cannot be read. Example: postgres://"),
        ({"DEBUG": "maybe"}, "DEBUG='maybe' is neither yes nor no: set it to 1 or 0"),
        (
            {"POLL_WORKERS": "many"},
            "POLL_WORKERS='many' is not a number: set it between 1 and 1000",
        ),
        ({"POLL_WORKERS": "0"}, "POLL_WORKERS=0 is out of range: set it between 1 and 1000"),
        ({"POLL_WORKERS": "nan"}, "POLL_WORKERS=nan is out of range"),
        ({"KEEP_DAYS": "1.5"}, "KEEP_DAYS=1.5 is not a whole number"),
        ({"KEEP_DAYS_OF": "power"}, "'power' is no limit. Example: power:90, signal_strength:14"),
        (
            {"GATEWAY_NETWORKS": "192.168.1.7/24"},
            "GATEWAY_NETWORKS: .* Use loopback, private, or networks such as",
        ),
        (
            {"TIME_ZONE": "Europe"},
            "TIME_ZONE='Europe' is no time zone: use a name such as Europe/London",
        ),
        ({"TIME_ZONE": "../etc/passwd"}, "is no time zone"),
        ({"SCHEDULE": "x=1"}, "SCHEDULE: 'x=1' does not begin with .*Example"),
        ({"SENTRY_DSN": "https://sentry.io/1"}, "SENTRY_DSN cannot be read. Example: https://key@"),
        (
            {"SENTRY_DSN": "https://canary@host/"},
            "SENTRY_DSN cannot be read. Example: https://key@",
        ),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL='LOUD' is not known: use one of DEBUG, INFO"),
        ({"LOG_FORMAT": "XML"}, "LOG_FORMAT='XML' is not known: use one of TEXT, JSON"),
    ],
)
def test_a_bad_value_stops_the_start_and_says_what_to_do(
    read: Read, environment: dict[str, str], advice: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=advice):
        read(**environment)


def test_a_password_with_strange_signs_is_never_quoted(read: Read) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read(DEBUG="1", DATABASE_URL="postgres://user:hush/hush@host/name")
    assert "hush" not in str(caught.value) and "%2F" in str(caught.value)


def test_processes_that_start_together_share_one_key(project: Path) -> None:
    processes = [start(project) for _ in range(6)]
    keys = {process.communicate()[0].strip() for process in processes}
    assert keys == {(project / ".secret_key").read_text()}
    assert (project / ".secret_key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in project.iterdir()) == [".secret_key", "core", "iotapp"]


def test_a_key_is_made_where_the_file_system_has_no_links(project: Path) -> None:
    without_links = """
import os
def link(*names): raise PermissionError(1, 'Operation not permitted')
os.link = link
"""
    key = start(project, before=without_links).communicate()[0].strip()
    assert key == (project / ".secret_key").read_text()


def test_a_folder_that_cannot_be_written_is_named(project: Path) -> None:
    """A limit on the size of files stands for permissions, which root does not heed."""
    no_writing = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    output = start(project, before=no_writing).communicate()[0]
    reason = "cannot be read or written (File too large): mend the permissions"
    assert f"{project / '.secret_key'} {reason}" in output
    assert not list(project.glob(".secret_key*"))


def test_a_key_file_without_a_key_is_named(read: Read, project: Path) -> None:
    (project / ".secret_key").write_text("\n")
    with pytest.raises(ImproperlyConfigured, match="holds no usable key: delete it"):
        read()


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [({}, []), ({"TRUST_PROXY": "1"}, ["*"]), ({"DYNO": "web.1"}, ["*"]),
     ({"DYNO": "web.1", "TRUST_PROXY": "0"}, [])],
)  # fmt: skip
def test_gunicorn_believes_a_proxy_where_the_settings_do(monkeypatch, environment, allowed):
    for name in ("DYNO", "TRUST_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    value = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["forwarded_allow_ips"]
    assert [word for word in value.split(",") if word] == allowed


def test_a_key_file_that_others_may_read_is_kept_to_its_owner(project, read):
    path = project / ".secret_key"
    path.write_text(KEY)
    path.chmod(0o644)
    read()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db
def test_a_database_file_and_its_neighbours_are_kept_to_their_owner(tmp_path):
    path = tmp_path / "db.sqlite3"
    connection = DatabaseWrapper(
        connections["default"].settings_dict
        | {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
        | {"OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"}}
    )
    before = os.umask(0o022)
    try:
        connection.ensure_connection()
        with connection.wrap_database_errors:
            connection.connection.execute("CREATE TABLE one (id)")
        files = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
        connection.connection.close()
    assert files == {f"db.sqlite3{ending}": 0o600 for ending in ("", "-wal", "-shm")}


def test_a_cluster_of_the_relay_is_reached_by_tls(read: Read) -> None:
    relay = read(RELAY_URL="pusher://somekey:canary@eu/4711")["RELAY"]
    assert (relay.key, relay.secret, relay.app) == ("somekey", "canary", "4711")
    assert relay.api == "https://api-eu.pusher.com"
    assert relay.socket == "wss://ws-eu.pusher.com"
    assert "canary" not in repr(relay)


@pytest.mark.parametrize(
    ("host", "api", "socket"),
    [
        ("relay.example.org", "https://relay.example.org", "wss://relay.example.org"),
        (
            "relay.example.org:6001",
            "https://relay.example.org:6001",
            "wss://relay.example.org:6001",
        ),
        ("127.0.0.1:6001", "http://127.0.0.1:6001", "ws://127.0.0.1:6001"),
        ("[::1]:6001", "http://[::1]:6001", "ws://[::1]:6001"),
    ],
)
def test_a_relay_of_one_s_own_is_reached_at_its_host(
    read: Read, host: str, api: str, socket: str
) -> None:
    relay = read(RELAY_URL=f"pusher://key:secret@{host}/app")["RELAY"]
    assert (relay.api, relay.socket) == (api, socket)


@pytest.mark.parametrize("url", ["", "none", "None"])
def test_there_may_be_no_relay(read: Read, url: str) -> None:
    assert read(RELAY_URL=url)["RELAY"] is None


@pytest.mark.parametrize(
    "url",
    [
        "pusher",
        "https://key:canary@eu/4711",
        "pusher://eu/4711",
        "pusher://key@eu/4711",
        "pusher://key:canary@eu",
        "pusher://key:canary@eu/a/b",
        "pusher://key:canary@eu:port/4711",
        "pusher://key:can%20ary@eu/4711",
        "pusher://key:canary@e;u/4711",
    ],
)
def test_a_relay_that_cannot_be_read_stops_the_start_without_its_secret(
    read: Read, url: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match="Example: pusher://") as error:
        read(RELAY_URL=url)
    assert "canary" not in str(error.value)
