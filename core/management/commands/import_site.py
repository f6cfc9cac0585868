from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from core.formatting import counted
from core.management.command import Command as Base
from core.management.passphrase import passphrase


class Command(Base):
    help = "Store a file of export_site in this empty database; go on where it was ended."
    needs_whole_site = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="what export_site wrote")

    def handle(self, *args: Any, **options: Any) -> None:
        from core.tasks.import_site import import_site
        from core.tasks.moving import NotMoved

        phrase = passphrase()
        try:
            with self.progress("row") as progress:
                stored = import_site(options["file"], phrase, progress)
        except NotMoved as error:
            raise CommandError(str(error)) from error
        went_on = f", {stored.before:,} of them earlier" if stored.before else ""
        self.stdout.write(
            f"Stored {counted(stored.rows, 'row')}{went_on}, as counted at the other site"
        )
