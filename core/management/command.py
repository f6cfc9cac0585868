"""What our management commands share."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError

Progress = Callable[[int, int], None]
"""Called with how many are done, of how many."""


class Command(BaseCommand):
    """A command without system checks, which would cost a scheduled one most of its start-up.

    `manage.py check` and `migrate` run them.
    """

    requires_system_checks = ()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. If the database is away or empty, end with a sentence, no traceback."""
        try:
            return super().execute(*args, **options)
        except (OperationalError, ProgrammingError) as error:
            hint = "Is DATABASE_URL right, and the server up?"
            if "core_" in str(error):  # the name of a table or an index of ours
                hint = "Run: python manage.py migrate"
            raise CommandError(f"The database says: {str(error).strip()}. {hint}") from error

    def write_json(self, content: Any) -> None:
        self.stdout.write(json.dumps(content, indent=2, ensure_ascii=False))

    def progress(self, unit: str) -> AbstractContextManager[Progress | None]:
        """Show a progress bar if this is a terminal; else the context manager gives None."""
        if not sys.stderr.isatty():
            return nullcontext(None)
        return _Bar(unit)


class _Bar(AbstractContextManager[Progress]):
    def __init__(self, unit: str) -> None:
        from tqdm import tqdm  # imported here: a scheduled command has no bar to pay for

        self.bar = tqdm(unit=unit, leave=False, delay=0.5)

    def __enter__(self) -> Progress:
        return self.show

    def show(self, done: int, total: int) -> None:
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def __exit__(self, *error: object) -> None:
        self.bar.close()


@contextmanager
def stopping_on_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` on SIGTERM and Ctrl-C, so that the command ends by itself, with 0."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, lambda *_: stop()) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
