"""Types of arguments that several commands read. argparse prints what they refuse and ends 2."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from math import isfinite, nan
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.readings import LONGEST_NAME, clean_name

DAY_MINUTES = 24 * 60
YEAR_MINUTES = 365 * DAY_MINUTES
LARGEST_PORT = 65_535


def add_device(parser: ArgumentParser) -> None:
    """Take the device that the command is about."""
    parser.add_argument(
        "device", type=int, metavar="DEVICE", help="number of the device, as `status` shows it"
    )


def add_enabled(parser: ArgumentParser, what: str) -> None:
    """Take --enable or --disable, as `enabled`."""
    either = parser.add_mutually_exclusive_group()
    on, off = f"it is {what}", f"it is not {what}, its history stays"
    either.add_argument("--enable", dest="enabled", action="store_const", const=True, help=on)
    either.add_argument("--disable", dest="enabled", action="store_const", const=False, help=off)


def add_yes(parser: ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it without asking")


def add_whereabouts(parser: ArgumentParser) -> None:
    """Take --zone, --latitude and --longitude."""
    add = parser.add_argument
    add("--zone", type=zone_name, help="the clock that rules go by, such as Europe/Berlin")
    add("--latitude", type=degrees, metavar="DEGREES", help="52.52; south is negative")
    add("--longitude", type=degrees, metavar="DEGREES", help="13.40; west is negative")


def given(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return those of these options that were given."""
    return {name: options[name] for name in names if options[name] is not None}


def name(text: str) -> str:
    """Read a name of printable characters."""
    if not text.strip() or clean_name(text) != text.strip():
        limits = f"1 to {LONGEST_NAME} printable characters"
        raise ArgumentTypeError(f"{text!r} is no name: {limits}")
    return clean_name(text)


def port(text: str) -> int:
    """Read the number of a port; 0 is any free one."""
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_PORT):
        raise ArgumentTypeError(f"{text!r} is no port, 0 to {LARGEST_PORT}")
    return int(text)


def moment(text: str) -> datetime:
    """Read a date and time in ISO 8601; one without a zone is returned without one."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no time. Example: 2026-11-21T02:00, or 2026-11-21T02:00+01:00"
        ) from None


def zone(name: str) -> ZoneInfo:
    """Read the name of a time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ArgumentTypeError(f"{name!r} is no time zone. Example: Europe/London") from error


def zone_name(text: str) -> str:
    """Read the name of a time zone, and return it as a name."""
    return str(zone(text))


def degrees(text: str) -> float:
    """Read a latitude or longitude."""
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise ArgumentTypeError(f"{text!r} is no number of degrees. Example: 52.52")
    return number


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


def whole(text: str) -> int:
    """Read a whole number, at least one."""
    if _whole(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return _whole(text)


def month(text: str) -> date:
    """Read a month such as 2026-11. Return its first day."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no month. Example: 2026-11") from None


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0
