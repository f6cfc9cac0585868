"""Measure an empty `manage.py poll_devices` next to a Django command that does almost nothing."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.table import Row, is_quick, show

PROJECT = {
    "manage.py": """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
    "settings.py": """
SECRET_KEY = "bare"
INSTALLED_APPS = ["bare"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "bare.sqlite3"}}
""",
    "bare/__init__.py": "",
    "bare/management/__init__.py": "",
    "bare/management/commands/__init__.py": "",
    "bare/management/commands/one_query.py": """
from django.core.management.base import BaseCommand
from django.db import connection

class Command(BaseCommand):
    requires_system_checks = []

    def handle(self, **options):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
""",
}


def main() -> None:
    rounds = 4 if is_quick() else 12
    with tempfile.TemporaryDirectory(prefix="iotapp-bench-") as folder:
        for name, text in PROJECT.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        bare_rounds, our_rounds = [], []
        for _ in range(rounds + 1):  # in turn, so that a busy moment hits both
            bare_rounds.append(seconds("one_query", folder))
            our_rounds.append(seconds("poll_devices", "."))
    bare, ours = median(bare_rounds[1:]), median(our_rounds[1:])  # the first fills caches
    show(
        f"Start-up, SQLite: median of {rounds}",
        [
            Row("a bare Django command with one query", f"{1000 * bare:.0f} ms"),
            Row(
                "`manage.py poll_devices` without gateways",
                f"{1000 * ours:.0f} ms",
                f"{ours / bare:.2f}",
                "<= 1.5",
                ours <= 1.5 * bare,
            ),
        ],
    )


def seconds(command: str, folder: str) -> float:
    # A shell may forbid Python to keep what it compiled. Then Django comes compiled by pip, and we
    # would be compiled at each start.
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "manage.py", command],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
