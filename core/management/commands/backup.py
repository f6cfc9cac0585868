from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from core.management.arguments import whole
from core.management.command import Command as Base
from core.tasks import backup


class Command(Base):
    help = "Copy the SQLite database while it is used. Meant to run once a day."
    needs_whole_site = False
    is_scheduled = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("path", type=Path, metavar="PATH", help="a file, or a folder that numbers backups")
        add("--keep", type=whole, metavar="N", help="delete all but the newest N in the folder")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with self.progress("page") as progress:
                made = backup.backup(options["path"], options["keep"], progress)
        except backup.NotBackedUp as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Copied and checked: {made}, {made.stat().st_size:,} bytes")
