"""What our management commands share."""

import errno
import getpass
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError, connection

from core.models import Device, Gateway, HalfASite, SiteImport, Token
from core.tasks.runs import ClockNotSet

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
HINTS = (
    ("core_", "Run: python manage.py migrate"),  # the name of a table or an index of ours
    ("disk is full", "Make room on the disk that holds it."),
    ("No space left", "Make room on the disk that holds it."),
    ("readonly", "Its file and the folder around it must be writable."),
    ("is locked", "Something else is writing to it for long: run this again when that has ended."),
    ("in WAL mode", ""),  # core/models/journal.py has said what to do
)
NUMBERED = (
    (Device, "device", "list_devices"),
    (Gateway, "gateway", "list_gateways"),
    (Token, "token", "list_tokens"),
)

Progress = Callable[[int, int], None]
"""Called with how many are done, of how many."""


class Command(BaseCommand):
    """A command without system checks, which would cost a scheduled one most of its start-up.

    `manage.py check` and `migrate` run them.
    """

    requires_system_checks = ()
    needs_whole_site = True
    """Whether it is refused while import_site has stored a part of a site only."""
    is_scheduled = False
    """Whether it runs unattended: Sentry is told of an error that ends it."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. What a person can mend ends it with a sentence, no traceback."""
        try:
            return self._execute(*args, **options)
        except CommandError as error:
            if self.is_scheduled:
                from core.net import sentry  # its patterns take milliseconds to compile

                sentry.tell(error)
            raise

    def _execute(self, *args: Any, **options: Any) -> str | None:
        """Raises CommandError also for a number that nothing has, a database that is away or empty,
        a disk that is full or cannot be written."""
        try:
            if self.needs_whole_site and (refusal := SiteImport.refusal()):
                raise CommandError(refusal)
            result = super().execute(*args, **options)
            sys.stdout.flush()  # what cannot be written shows here, not after the end
            return result
        except ObjectDoesNotExist as error:
            raise CommandError(_missing(error, options)) from error
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            _forget_stdout()
            where = error.filename or "The output"
            raise CommandError(f"{where} cannot be written: {error.strerror}.") from error
        except (ClockNotSet, HalfASite) as error:
            raise CommandError(str(error)) from error
        except (OperationalError, ProgrammingError) as error:
            said = str(error).strip().rstrip(".")
            raise CommandError(f"The database says: {said}. {_hint(said)}".rstrip()) from error

    def ask_credential(self, question: str) -> str:
        """Ask for a credential that GATEWAY_CREDENTIAL does not hold.

        It is never an argument: other users of the machine see those.
        """
        return os.environ.get("GATEWAY_CREDENTIAL", "") or getpass.getpass(f"{question}: ")

    def pair(self, instructions: str) -> None:
        """Tell a person what to do at a gateway that gives its credential itself, and wait."""
        self.stdout.write(instructions)
        if sys.stdin.isatty():
            input("Then press Enter. ")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is deleted, unless `yes`. Raises CommandError for a no."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise CommandError(f"{question} Nothing was done: add --yes.")
        if input(f"{question} Type yes: ").strip().lower() != "yes":
            raise CommandError("Nothing was done.")

    def write_json(self, content: Any) -> None:
        self.stdout.write(json.dumps(content, indent=2, ensure_ascii=False))

    def progress(self, unit: str) -> AbstractContextManager[Progress | None]:
        """Show a progress bar if this is a terminal; else the context manager gives None."""
        if not sys.stderr.isatty():
            return nullcontext(None)
        return _Bar(unit)


def _hint(said: str) -> str:
    """Return what to do about an error of the database."""
    for words, hint in HINTS:
        if words in said:
            return hint
    if connection.vendor == "sqlite":
        return "Is DATABASE_URL right, and can its file and folder be read and written?"
    return "Is DATABASE_URL right, and the server up?"


def _missing(error: ObjectDoesNotExist, options: Mapping[str, Any]) -> str:
    """Say that nothing has the number that was typed, and where to see those there are."""
    for model, noun, listed_by in NUMBERED:
        if isinstance(error, model.DoesNotExist) and options.get(noun) is not None:
            return f"There is no {noun} {options[noun]}. See: python manage.py {listed_by}"
    return f"Something was removed while this ran ({error}). Run it again."


def _forget_stdout() -> None:
    """Let what cannot be written go, or Python says so again at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    """Call `stop` on SIGTERM, Ctrl-C and when the terminal is closed.

    So the command ends by itself, with 0.
    """
    kinds = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        kinds.append(signal.SIGHUP)
    before = {kind: signal.signal(kind, lambda *_: stop()) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
