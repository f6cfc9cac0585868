"""Proof: hostile answers through every vendor, and what both databases store of them."""

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings

from core import vendors
from core.readings import LARGEST_NUMBER
from tests.soak.kills import start

CALLED = [name for name in vendors.names() if not vendors.load(name).pushes]
"""The vendors that are called: where devices push, nobody answers."""

POSTGRESQL = os.environ.get("TEST_DATABASE_URL") or "postgres://postgres@127.0.0.1:5432/test"
PROCESSES = 2


@dataclass
class Hostility:
    """What was done and what came of it; all but the first block must be zero or empty."""

    answers: int = 0
    devices: int = 0
    readings: int = 0
    outputs: int = 0
    recorded: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    uncaught: Counter[str] = field(default_factory=Counter)
    unstorable: int = 0
    different: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        what = ", ".join(f"{count:,} {name}" for name, count in self.recorded.items())
        return (
            f"hostile: {self.answers:,} answers through {' and '.join(CALLED)}: "
            f"{self.devices:,} devices and {self.readings:,} readings came out, "
            f"{self.uncaught.total()} uncaught exceptions; of {self.outputs:,} of them "
            f"record() made: {what}; {self.rows:,} rows, {self.unstorable} not finite or not sane, "
            f"{len(self.different)} different between SQLite and PostgreSQL"
        )


def attack(count: int, every: int, folder: Path, seed: int = 1) -> Hostility:
    """So many hostile answers; every so many-th output is stored on both databases."""
    result = Hostility()
    kept = _put_through(count, every, folder, seed, result)
    with postgresql_database() as url:
        sqlite, postgresql = _stored(
            {"sqlite": f"sqlite:///{folder / 'rows.sqlite3'}", "postgresql": url}, kept, folder
        )
    result.recorded, result.rows = sqlite[0], len(sqlite[1])
    result.different = sorted(sqlite[1] ^ postgresql[1])[:20]
    if sqlite[0] != postgresql[0]:
        result.different.append(f"{sqlite[0]}, and on PostgreSQL {postgresql[0]}")
    result.unstorable = sum(not _is_sane(json.loads(row)) for row in sqlite[1] | postgresql[1])
    return result


def _put_through(count: int, every: int, folder: Path, seed: int, result: Hostility) -> list[Path]:
    kept = [folder / f"outputs-{number}" for number in range(PROCESSES)]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.soak.hostile",
                str(seed + number),
                str(count // PROCESSES),
                str(every),
                str(file),
            ],
            cwd=settings.BASE_DIR,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, file in enumerate(kept)
    ]
    for process in processes:
        said, _ = process.communicate()
        assert process.returncode == 0
        sums = json.loads(said)
        result.uncaught += Counter(sums.pop("uncaught"))
        for name, number in sums.items():
            setattr(result, name, getattr(result, name) + number)
    return kept


def _stored(
    urls: dict[str, str], kept: list[Path], folder: Path
) -> list[tuple[Counter[str], set[str]]]:
    """For each database what record() counted, and all rows."""
    processes = {
        name: start(
            ("-m", "tests.soak.store_hostile", str(folder / name), *map(str, kept)),
            url,
            DJANGO_SETTINGS_MODULE="iotapp.settings",
        )
        for name, url in urls.items()
    }
    found = []
    for name, process in processes.items():
        said, _ = process.communicate()
        assert process.returncode == 0, said
        found.append(
            (
                Counter(json.loads(said.splitlines()[-1])),
                set((folder / name).read_text().splitlines()),
            )
        )
    return found


def _is_sane(row: list[Any]) -> bool:
    numbers = [float.fromhex(value["number"]) for value in row if isinstance(value, dict)]
    return all(abs(number) <= LARGEST_NUMBER for number in numbers) and "\x00" not in "".join(
        map(str, row)
    )


@contextmanager
def postgresql_database() -> Iterator[str]:
    """The URL of an empty database that lasts as long as this."""
    try:
        server = psycopg.connect(POSTGRESQL, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError:
        pytest.skip(
            f"PostgreSQL does not answer at {urlsplit(POSTGRESQL).hostname}: set TEST_DATABASE_URL"
        )
    name = f"iotapp_proof_{secrets.token_hex(6)}"
    with server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(POSTGRESQL)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
