"""What every command of ours shares."""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError


class Command(BaseCommand):
    """Skips the system checks, which would cost a scheduled command most of its start-up; `manage.py check` runs them."""

    requires_system_checks = ()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """A database that is away or empty is told in a line, not in a page of traceback."""
        try:
            return super().execute(*args, **options)
        except (OperationalError, ProgrammingError) as error:
            hint = (
                "Run: python manage.py migrate"
                if "core_" in str(error)
                else "Is DATABASE_URL right, and the server up?"
            )
            raise CommandError(f"The database says: {str(error).strip()}. {hint}") from error

    def write_json(self, content: Any) -> None:
        self.stdout.write(json.dumps(content, indent=2, ensure_ascii=False))

    def progress(self, unit: str) -> AbstractContextManager[Callable[[int, int], None] | None]:
        """A bar on a terminal, nothing elsewhere. What it gives is called with how many are done, of how many."""
        if not sys.stderr.isatty():
            return nullcontext(None)
        return _Bar(unit)


class _Bar(AbstractContextManager[Callable[[int, int], None]]):
    def __init__(self, unit: str) -> None:
        from tqdm import tqdm

        self.bar = tqdm(unit=unit, leave=False, delay=0.5)

    def __enter__(self) -> Callable[[int, int], None]:
        return self.show

    def show(self, done: int, total: int) -> None:
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def __exit__(self, *error: object) -> None:
        self.bar.close()
