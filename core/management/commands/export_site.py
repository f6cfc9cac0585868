from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from core.formatting import counted
from core.management.command import Command as Base
from core.management.passphrase import passphrase


class Command(Base):
    help = "Write the whole site into a new file, for import_site of another site."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="such as site.zip")

    def handle(self, *args: Any, **options: Any) -> None:
        from core.tasks.export_site import export_site
        from core.tasks.moving import NotMoved

        phrase = passphrase(is_new=True)
        try:
            with self.progress("row") as progress:
                manifest = export_site(options["file"], phrase, progress)
        except NotMoved as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Wrote {counted(manifest.rows, 'row')} to {options['file']}, "
            f"{options['file'].stat().st_size:,} bytes"
        )
