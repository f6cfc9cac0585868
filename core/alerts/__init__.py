"""Ways to send alerts: one file each, found by its name. This is the whole contract; `ntfy.py` is a
full example.

A file holds `class Channel(alerts.Channel)`. An address in the setting ALERTS, such as
ntfy://ntfy.sh/topic, leads to the channel that has its scheme.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from inspect import isabstract
from types import ModuleType
from typing import ClassVar
from urllib.parse import urlsplit

from core import plug_in, plug_ins
from core.net.addresses import Network

TIMEOUT_SECONDS = 10.0
"""For one message. Names are looked up outside of it, so the sender gives up a little later."""


@dataclass(frozen=True)
class Message:
    """What is sent. `id` is the same when it is sent again, so that a receiver can drop it then.

    It has letters, digits, - and _ only, 64 at most. `link` is the page of alerts, or empty.
    """

    id: str
    title: str
    text: str
    at: datetime
    is_over: bool = False
    urgent: bool = False
    link: str = ""


class Channel(ABC):
    """One address that messages are sent to. It is used by one thread."""

    schemes: ClassVar[tuple[str, ...]]
    example: ClassVar[str]

    def __init__(self, address: str, networks: Sequence[Network]) -> None:
        """Read the address. Raises ValueError if it is no good, with a sentence without secrets.

        `networks` are the non-public networks that may be reached.
        """
        self.address, self.networks = address, tuple(networks)

    @property
    @abstractmethod
    def name(self) -> str:
        """The address for people, without what is secret in it."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Send it, within TIMEOUT_SECONDS. Raises ApiError (try again later) and ApiRefused."""


class UnknownChannel(LookupError):
    """There is no file for this kind of address (any more), or it is broken."""


def names() -> list[str]:
    return plug_ins("alerts")


@cache
def load(name: str) -> type[Channel]:
    channel: type[Channel] = plug_in("alerts", name, _complaint, UnknownChannel).Channel
    return channel


def _complaint(module: ModuleType) -> str:
    channel = getattr(module, "Channel", None)
    is_one = isinstance(channel, type) and issubclass(channel, Channel) and not isabstract(channel)
    return "" if is_one else "it has no whole class Channel(alerts.Channel)"


def channel_for(address: str, networks: Sequence[Network] = ()) -> Channel:
    """Make the channel for an address.

    Raises UnknownChannel and ValueError, with sentences that do not quote it: it may hold a secret.
    """
    scheme = address.partition(":")[0].lower()
    examples = []
    for name in names():
        channel = load(name)
        if scheme in channel.schemes:
            return channel(address, networks)
        examples.append(channel.example)
    raise UnknownChannel(
        f"{scheme[:20]!r} is no way to send alerts. Addresses look like {', '.join(examples)}."
    )


def host_of(address: str) -> str:
    """Return the host of an address, with its port. Raises ValueError if there is none."""
    parts = urlsplit(address)
    if not parts.hostname:
        raise ValueError("An address in ALERTS has no host.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port}" if parts.port else host
