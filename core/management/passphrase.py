"""The passphrase of a file: from the environment or asked for. Others see arguments."""

import os
import sys
from getpass import getpass

from django.core.management.base import CommandError

VARIABLE = "SITE_PASSPHRASE"


def passphrase(*, is_new: bool = False) -> str:
    """Return the passphrase; a new one is asked for twice."""
    if given := os.environ.get(VARIABLE, ""):
        return given
    if not sys.stdin.isatty():
        raise CommandError(f"Set {VARIABLE}: there is nobody to ask for the passphrase.")
    typed = getpass("Passphrase: ")
    if is_new and getpass("The same again: ") != typed:
        raise CommandError("The two passphrases differ.")
    return typed
