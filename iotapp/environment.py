"""Typed readers for settings that come from the environment.

A bad value stops the start and says what to do.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time, timedelta
from ipaddress import ip_network
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from django.core.exceptions import ImproperlyConfigured

from core.net.addresses import NETWORK_NAMES, Network
from core.schedule import Schedule, read_schedules


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def of_feeds(feeds: Sequence[str], what: str) -> dict[str, str]:
    """Read WATTTIME_CREDENTIAL, TARIFF_OPTIONS and the like of the feeds that are named."""
    names = {word.partition(":")[0].strip() for word in feeds}
    return {name: text(f"{name.upper()}_{what}") for name in names if name.isidentifier()}


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


def schedules(name: str, every: Mapping[str, timedelta], zone: str) -> dict[str, Schedule]:
    """Read when each task runs; those not named run every so often."""
    try:
        return read_schedules(text(name), every, zone)
    except ValueError as error:
        example = "poll_devices=*/5 6-22 * * *; do_something_awesome=10"
        raise ImproperlyConfigured(f"{name}: {error}. Example: {example}") from None


def words(name: str, default: Sequence[str] = ()) -> list[str]:
    return [word.strip() for word in text(name).split(",") if word.strip()] or list(default)


class Mail(NamedTuple):
    """The server that mail goes out by, with the names of Django's mailers."""

    host: str
    port: int
    username: str
    password: str
    use_tls: bool
    use_ssl: bool
    timeout: int = 20

    def as_mailer(self) -> dict[str, Any]:
        """Return an entry of Django's MAILERS."""
        backend = "django.core.mail.backends.smtp.EmailBackend"
        return {"BACKEND": backend, "OPTIONS": self._asdict()}


PRINTED_MAIL = {"BACKEND": "django.core.mail.backends.console.EmailBackend"}


def mail(name: str) -> Mail | None:
    """Read smtp://user:password@host:587, with STARTTLS where there is a password, or smtps://."""
    url = text(name)
    if not url:
        return None
    example = f"{name} cannot be read. Example: smtp://user:password@mail.example.org:587"
    try:
        parts = urlsplit(url)
        port = parts.port or {"smtp": 25, "smtps": 465}[parts.scheme]
    except (KeyError, ValueError):  # its message may quote the password
        raise ImproperlyConfigured(example) from None
    if not parts.hostname or parts.scheme not in ("smtp", "smtps"):
        raise ImproperlyConfigured(example)
    password = unquote(parts.password or "")
    return Mail(
        parts.hostname,
        port,
        unquote(parts.username or ""),
        password,
        # A password never goes out in the clear.
        use_tls=parts.scheme == "smtp" and bool(password),
        use_ssl=parts.scheme == "smtps",
    )


@dataclass(frozen=True)
class Relay:
    """A hosted relay: the addresses of its HTTP API and of its sockets, and our application."""

    key: str
    secret: str = field(repr=False)
    app: str
    api: str
    socket: str


def relay(name: str) -> Relay | None:
    """Read pusher://key:secret@cluster/app. A cluster is one of Pusher's, such as eu, or a host of
    a service that speaks the same, such as relay.example.org:6001. It is reached by TLS, but for
    this machine itself.
    """
    url = text(name)
    if not url or url.lower() == "none":
        return None
    example = f"{name} cannot be read. Example: pusher://key:secret@eu/1234567"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # its message may quote the secret
        raise ImproperlyConfigured(example) from None
    words = (parts.username or "", unquote(parts.password or ""), parts.path.strip("/"))
    is_word = all(re.fullmatch(r"[\w-]+", word, re.ASCII) for word in words)
    if parts.scheme != "pusher" or not is_word or not re.fullmatch(r"[\w.:-]+", host, re.ASCII):
        raise ImproperlyConfigured(example)
    key, secret, app = words
    if re.fullmatch(r"[a-z0-9-]+", host) and port is None and host != "localhost":
        return Relay(
            key, secret, app, f"https://api-{host}.pusher.com", f"wss://ws-{host}.pusher.com"
        )
    is_here = host in ("localhost", "127.0.0.1", "::1")
    at = f"[{host}]" if ":" in host else host
    at = at if port is None else f"{at}:{port}"
    return Relay(
        key,
        secret,
        app,
        f"http{'' if is_here else 's'}://{at}",
        f"ws{'' if is_here else 's'}://{at}",
    )


def redis(name: str) -> str:
    """Read redis://:password@host:6379/0, or rediss:// by TLS."""
    url = text(name)
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if url and not is_good:  # without the URL, which may hold a password
        raise ImproperlyConfigured(f"{name} cannot be read. Example: redis://localhost:6379/0")
    return url


def dsn(name: str) -> str:
    """Read the address of a project at Sentry: https://key@host/number."""
    url = text(name)
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.username and parts.hostname)
        is_good = is_good and parts.port != 0 and parts.path.rpartition("/")[2].isdigit()
    except ValueError:
        is_good = False
    if url and not is_good:  # without the URL, which holds a key
        raise ImproperlyConfigured(f"{name} cannot be read. Example: https://key@sentry.io/1")
    return url


def limits(name: str, example: str) -> dict[str, int]:
    """Read names with a whole number each, as in the example: "free:1000, home:50000"."""
    found: dict[str, int] = {}
    for word in words(name):
        key, _, number = word.partition(":")
        if not key.isidentifier() or not number.isdigit() or int(number) < 1:
            raise ImproperlyConfigured(f"{name}: {word!r} is no limit. Example: {example}")
        found[key] = int(number)
    return found


def hours(name: str) -> tuple[time, time] | None:
    """Read hours such as 22:00-07:00."""
    value = text(name)
    if not value:
        return None
    try:
        begin, end = (time.fromisoformat(part.strip()) for part in value.split("-"))
    except ValueError:
        begin = end = time()
    if begin == end or begin.tzinfo or end.tzinfo:
        raise ImproperlyConfigured(f"{name}={value!r} are no hours. Example: 22:00-07:00")
    return begin, end


def pings(name: str, tasks: Collection[str]) -> dict[str, str]:
    """Read the address that each task pings: "poll_devices=https://hc-ping.com/..., ..."."""
    found: dict[str, str] = {}
    for word in words(name):
        task, _, url = (part.strip() for part in word.partition("="))
        if task not in tasks or not re.match(r"https?://[^/?#\s@]+/[^?#\s]+$", url):
            # Without the URL, whose path is a secret.
            example = "poll_devices=https://hc-ping.com/your-uuid"
            raise ImproperlyConfigured(
                f"{name} cannot be read: a task ({' or '.join(tasks)}), =, and an address without "
                f"a query, with commas between. Example: {example}"
            )
        found[task] = url.rstrip("/")
    return found


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
