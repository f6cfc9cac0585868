"""Types of arguments that several commands read. argparse prints what they refuse and ends 2."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone

DAY_MINUTES = 24 * 60
YEAR_MINUTES = 365 * DAY_MINUTES


def add_device(parser: ArgumentParser) -> None:
    """Take the device that the command is about."""
    parser.add_argument(
        "device", type=int, metavar="DEVICE", help="number of the device, as `status` shows it"
    )


def moment(text: str) -> datetime:
    """Read a date and time in ISO 8601; one without a zone is in TIME_ZONE."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no time. Example: 2026-11-21T02:00, or 2026-11-21T02:00+01:00"
        ) from None
    return timezone.make_aware(time) if timezone.is_naive(time) else time


def zone(name: str) -> ZoneInfo:
    """Read the name of a time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ArgumentTypeError(f"{name!r} is no time zone. Example: Europe/London") from error


def minutes(most: int, *, whole: bool = True) -> Callable[[str], timedelta]:
    """Make a type that reads minutes, more than 0 and at most `most`."""

    def read(text: str) -> timedelta:
        count = _whole(text) if whole else _number(text)
        if not 0 < count <= most:
            limits = f"1 to {most:,}" if whole else f"more than 0, at most {most:,}"
            raise ArgumentTypeError(f"{text!r} is not a number of minutes, {limits}")
        return timedelta(minutes=count)

    return read


def days(text: str) -> int:
    """Read a whole number of days, at least one."""
    if _whole(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a number of days, 1 or more")
    return _whole(text)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0
