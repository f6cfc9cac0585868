"""Typed readers for settings that come from the environment.

A bad value stops the start and says what to do.
"""

import os
from collections.abc import Sequence
from ipaddress import ip_network
from zoneinfo import ZoneInfo

from django.core.exceptions import ImproperlyConfigured

from core.net.addresses import NETWORK_NAMES, Network


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    value = text(name, default).upper()
    if value not in allowed:
        names = ", ".join(allowed)
        raise ImproperlyConfigured(f"{name}={value!r} is not known: use one of {names}.")
    return value


def zone(name: str, default: str) -> str:
    value = text(name, default)
    try:
        return ZoneInfo(value).key
    except (KeyError, ValueError, OSError):  # unknown, a path, a folder such as Europe
        raise ImproperlyConfigured(
            f"{name}={value!r} is no time zone: use a name such as Europe/London."
        ) from None


def flag(name: str, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is neither yes nor no: set it to 1 or 0.")


def number(name: str, default: float, least: float, most: float) -> float:
    value = text(name)
    advice = f"set it between {least:g} and {most:g}"
    try:
        result = float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} is not a number: {advice}.") from None
    if not least <= result <= most:  # NaN is out of every range
        raise ImproperlyConfigured(f"{name}={value} is out of range: {advice}.")
    return result


def whole(name: str, default: int, least: int, most: int) -> int:
    result = number(name, default, least, most)
    if result != int(result):
        raise ImproperlyConfigured(
            f"{name}={result} is not a whole number: set it between {least} and {most}."
        )
    return int(result)


def words(name: str, default: Sequence[str] = ()) -> list[str]:
    return [word.strip() for word in text(name).split(",") if word.strip()] or list(default)


def networks(name: str, default: Sequence[str] = ()) -> tuple[Network, ...]:
    """Read networks with commas between: names of NETWORK_NAMES, or CIDR."""
    found: list[Network] = []
    for word in words(name, default):
        for block in NETWORK_NAMES.get(word.lower(), (word,)):
            try:
                found.append(ip_network(block))
            except ValueError as error:
                raise ImproperlyConfigured(
                    f"{name}: {error}. Use loopback, private, or networks such as 192.168.1.0/24, "
                    "with commas between."
                ) from None
    return tuple(found)
