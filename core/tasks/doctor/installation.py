"""How it is installed: settings, files of one's own, static files. Needs no database."""

import json
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core import checks
from django.core.checks.registry import registry

from core.formatting import counted
from core.tasks.alerts.ledger import addresses
from core.tasks.doctor.line import Level, Line, error, ok, warning

PLUG_INS = {"core.W002": "core/vendors", "core.W003": "core/rules", "core.W004": "core/feeds"}
"""The checks of files that somebody wrote for this site."""


def settings_lines() -> Iterator[Line]:
    """Yield what Django's checks and ours find, those of a deployment too on a server."""
    found = [message for message in _checked() if message.id not in PLUG_INS]
    yield from (_line("settings", message) for message in found)
    if not any(message.level >= checks.WARNING for message in found):
        as_what = "a development machine" if settings.DEBUG else "a server"
        yield ok("settings", f"Good, as {as_what}.")
    yield from _alert_lines()


def plug_in_lines() -> Iterator[Line]:
    """Yield the files among vendors, rules and feeds that do not load."""
    broken = [message for message in _checked() if message.id in PLUG_INS]
    yield from (_line("plug-ins", message) for message in broken)
    if not broken:
        yield ok("plug-ins", "All vendors, rules and feeds load.")


def _checked() -> list[checks.CheckMessage]:
    found: list[checks.CheckMessage] = []
    for check in registry.get_checks(include_deployment_checks=not settings.DEBUG):
        # Those of models ask the database, which may be away, and are for developers.
        if not {checks.Tags.models, checks.Tags.database}.intersection(check.tags):
            found += check(app_configs=None, databases=None)
    return [message for message in found if not message.is_silenced()]


def _line(subject: str, message: checks.CheckMessage) -> Line:
    level = Level.OK
    if message.level >= checks.WARNING:
        level = Level.ERROR if message.is_serious() else Level.WARNING
    return Line(subject, level, f"{message.msg} ({message.id})", message.hint or "")


def _alert_lines() -> Iterator[Line]:
    """Yield whether somebody would be told if something were wrong."""
    if not addresses():
        text = "Nobody is told when something is wrong."
        yield warning("settings", text, "Set ALERTS: docs/alerts.md says how.")
    for number, address in enumerate(addresses(), start=1):
        try:
            channel = address.channel()
        except (LookupError, ValueError) as problem:  # a sentence without what is secret
            text = f"Address {number} of ALERTS cannot be used: {problem}"
            yield error("settings", text, "Mend it: docs/alerts.md has all kinds of addresses.")
            continue
        if address.text.startswith("mailto:") and not settings.SENDS_MAIL:
            text = f"Alerts are to go to {channel.name}, and there is no mail server."
            yield error("settings", text, "Set EMAIL_URL=smtp://user:password@host:587.")
    if not settings.PINGS:
        text = "Nobody notices when nothing runs at all."
        yield warning("settings", text, "Set PINGS: docs/alerts.md says how.")


def static_file_lines() -> Iterator[Line]:
    """Yield whether pages find their scripts and styles."""
    if settings.WHITENOISE_USE_FINDERS:
        yield ok("static files", "Served from where they are, as on a development machine.")
        return
    advice = "Run: python manage.py collectstatic --noinput"
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    if not manifest.is_file():
        yield error("static files", f"They were not collected: no {manifest}.", advice)
        return
    try:
        collected = json.loads(manifest.read_text())["paths"]
    except (ValueError, KeyError, OSError) as problem:
        yield error("static files", f"{manifest} cannot be read: {problem}", advice)
        return
    missing = sorted(_static_files() - collected.keys())
    if missing:
        count = counted(len(missing), "file")
        text = f"{count} of this version are not collected, such as {missing[0]}."
        yield error("static files", text, advice)
    else:
        yield ok("static files", f"{counted(len(collected), 'file')} collected.")


def _static_files() -> set[str]:
    return {path for finder in get_finders() for path, _ in finder.list([])}
