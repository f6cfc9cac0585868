"""An import that is killed again and again at random moments, of a site with many observations."""

import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep

from django.conf import settings

from core.models import Attribute, Observation, SiteImport
from core.tasks.export_site import export_site
from core.tasks.moving.tables import MOVED
from tests.core.tasks.moving import sample
from tests.core.tasks.moving.elsewhere import PHRASE, empty

AT_ONCE = 5_000
LONGEST_KILL_SECONDS = 0.2
"""After rows were stored: the process is then storing the next ones."""
LONGEST_SECONDS = 120
MANAGE = Path(settings.BASE_DIR) / "manage.py"


@dataclass
class Imports:
    rows: int
    kills: int = 0
    peak_megabytes: float = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"import_site of {self.rows:,} rows: {self.kills} kills, at most "
            f"{self.peak_megabytes:.0f} MB, {len(self.faults)} faults"
        )


def kill_imports(kills: int, rows: int, file: Path, database_url: str) -> Imports:
    """Move a site with so many observations here, and compare it with what was exported."""
    sample.fill()
    fill_up(rows)
    before, dice = checksums(), random.Random(kills)
    imports = Imports(export_site(file, PHRASE).rows)
    empty()
    environment = {**os.environ, "DATABASE_URL": database_url, "SITE_PASSPHRASE": PHRASE}
    environment |= {"DEBUG": "1", "SECRET_KEY": settings.SECRET_KEY}
    for at in range(1, kills + 1):
        process = start(file, environment)
        wait_for_more_than(at * imports.rows // (kills + 2), process)
        sleep(dice.uniform(0, LONGEST_KILL_SECONDS))
        process.kill()
        imports.kills += process.wait() < 0
    process = start(file, environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    imports.peak_megabytes = used.ru_maxrss / 1024
    if process.returncode:
        imports.faults.append(f"it ended with {process.returncode}")
    after = checksums()
    imports.faults += [label for label in MOVED if before[label] != after[label]]
    return imports


def fill_up(rows: int) -> None:
    attribute = Attribute.objects.get()
    for first in range(0, rows, AT_ONCE):
        Observation.objects.bulk_create(
            Observation(
                attribute=attribute,
                observed_at=sample.LATER + timedelta(seconds=at + 1),
                number=at / 3,
            )
            for at in range(first, min(first + AT_ONCE, rows))
        )


def checksums() -> dict[str, str]:
    """Return a checksum of each table that moves, with what is secret shown."""
    return {label: sha256(repr(sample.rows(label)).encode()).hexdigest() for label in MOVED}


def start(file: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    words = [sys.executable, str(MANAGE), "import_site", str(file)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)


def wait_for_more_than(rows: int, process: "subprocess.Popen[bytes]") -> None:
    until = monotonic() + LONGEST_SECONDS
    while monotonic() < until and process.poll() is None:
        begun = SiteImport.objects.first()
        if begun and begun.rows > rows:
            return
        sleep(0.005)
