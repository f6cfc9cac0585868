"""The machine that this runs on: its clock and its disk."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from core.models import Site
from core.tasks.alerts import site
from core.tasks.doctor.line import Line, error, ok, warning
from core.tasks.polling.clock import AHEAD
from core.tasks.runs import FIRST_DAY

NTP = "Set it by the network (NTP): timedatectl set-ntp true, where that is there."
SLIGHT = timedelta(seconds=5)
"""Two clocks, and the way between them."""


def clock_lines() -> Iterator[Line]:
    now = timezone.now()
    if now < FIRST_DAY:
        text = f"The clock of this machine shows {now:%Y-%m-%d}: it is not set, so nothing runs."
        yield error("clock", text, NTP)
    else:
        yield ok("clock", f"This machine shows {now:%Y-%m-%d %H:%M:%S} UTC.")


def database_clock_lines() -> Iterator[Line]:
    """Yield how far the clock of the database's server is from ours, and the home's zone."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            [theirs] = cursor.fetchone()
        yield compared("The clock of the database's server", theirs, timezone.now())
    if not Site.home().zone:
        text = f"Nobody has set the clock of the home: rules go by {settings.TIME_ZONE}."
        yield warning("clock", text, "Run: python manage.py set_site --zone Europe/Berlin")


def compared(whose: str, theirs: datetime, ours: datetime) -> Line:
    """Say how far another clock is from that of this machine."""
    apart = abs(theirs - ours)
    if apart <= SLIGHT:
        return ok("clock", f"{whose} agrees.")
    way = "ahead of" if theirs > ours else "behind"
    text = f"{whose} is {_span(apart)} {way} that of this machine."
    if apart > AHEAD:
        return error("clock", text, f"One of the two is wrong. {NTP}")
    return warning("clock", text, f"One of the two is wrong. {NTP}")


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def disk_lines() -> Iterator[Line]:
    disk = site.disk()
    text = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB are free at {disk.folder}."
    if connection.vendor == "postgresql":
        text += " Where the database has another disk, that one is not looked at."
    if disk.is_nearly_full:
        advice = "Make room there. KEEP_DAYS says how long values are kept; prune deletes at once."
        yield error("disk", text, advice)
    else:
        yield ok("disk", text)
