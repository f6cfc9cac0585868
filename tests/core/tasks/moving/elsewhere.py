"""Another site: this database emptied, or another process on another database."""

import os
import subprocess
import sys

from django.conf import settings
from django.db import connection

from core.tasks.moving.tables import LEFT_OUT, MOVED, model_of

PHRASE = "correct horse battery"


def empty():
    """Make the database as migrate leaves it, but for numbers given out."""
    kept = ("auth.Permission", "contenttypes.ContentType")
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        tables = [model_of(label)._meta.db_table for label in (*MOVED, *LEFT_OUT)]
        kept_tables = [model_of(label)._meta.db_table for label in kept]
        names = [name for name in tables if name not in kept_tables]
        if connection.vendor == "postgresql":
            cursor.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")
            return
        for name in names:
            cursor.execute(f"DELETE FROM {name}")  # noqa: S608 (our own tables)
        cursor.execute("DELETE FROM sqlite_sequence")


def run_elsewhere(database_url, code, *words, key="another key, of the other site, long enough"):
    """Run code of another site: another database, another SECRET_KEY, keys made as quickly."""
    start = "import os, sys, django; django.setup()\nfrom core.tasks.moving import seal\n"
    environment = {
        "DEBUG": "1",
        "DJANGO_SETTINGS_MODULE": "iotapp.settings",
        "DATABASE_URL": database_url,
        "SECRET_KEY": key,
        "SITE_PASSPHRASE": PHRASE,
    }
    return subprocess.run(
        [sys.executable, "-c", f"{start}seal.SCRYPT_N = 2**4\n{code}", *map(str, words)],
        env={**os.environ, **environment},
        cwd=settings.BASE_DIR,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def command_elsewhere(database_url, *words):
    code = "from django.core.management import call_command; call_command(*sys.argv[1:])"
    done = run_elsewhere(database_url, code, *words)
    assert not done.returncode, done.stderr
    return done.stdout
