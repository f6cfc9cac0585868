"""Vendors: one file each, found by its name. This is the whole contract; `shelly.py` is a full
example.

A vendor file holds `class Client(Vendor)`. It speaks one HTTP dialect, translates the vendor's
words once (names, units, scales, times), and knows neither Django nor the database: `http` comes
from outside, bound to the gateway's address, credential and limits.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from inspect import isabstract
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from core import plug_in, plug_ins
from core.net.errors import ApiRefused
from core.readings import DeviceSpec, Reading, Value

if TYPE_CHECKING:
    from core.net.http import Http  # loads requests, which only who asks a vendor should pay for


LISTEN_SECONDS = 2.0
"""How long `listen()` may be silent towards its caller."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers at an address: `key` stays the same when the address changes, `name` is for
    people."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often a vendor lets one gateway be called: `calls` in each `per`. `reserved` is the share
    that reads leave to commands, `devices_a_call` how many devices one read asks for."""

    calls: int = 1
    per: timedelta = timedelta(seconds=1)
    reserved: float = 0.2
    devices_a_call: int = 1

    @property
    def between_calls(self) -> timedelta:
        return self.per / self.calls

    @property
    def between_reads(self) -> timedelta:
        return self.between_calls / (1 - self.reserved)

    def lasts(self, devices: int) -> timedelta:
        """How long reading so many devices takes, if all calls were answered at once."""
        return self.between_reads * -(-devices // self.devices_a_call)


class Update(NamedTuple):
    """What a gateway told by itself. An empty one says: nothing new, and the connection lives.

    It is about `vendor_ids`: one of them of which there is no reading is not there. `is_whole`: it
    is what `read()` gives, and shows that the gateway answers.
    """

    readings: Sequence[Reading] = ()
    vendor_ids: Collection[str] = ()
    is_whole: bool = False


class Vendor(ABC):
    """A client for one gateway, made for one piece of work and thrown away; used by one thread.

    Every method that asks the vendor raises `core.net.errors.ApiError` (try again later) or
    `core.net.errors.ApiRefused` (a person must act). Attribute names are plain words in snake case:
    on, power, energy, voltage, current, temperature, humidity, brightness, locked, mode.
    """

    label: ClassVar[str]
    address_example: ClassVar[str]
    credential_hint: ClassVar[str] = "none needed"
    credential_fields: ClassVar[tuple[str, ...]] = ()
    """The fields of a credential that has several, such as ("user", "password"). It is written with
    colons between, `user:password`, and only the last field may hold a colon."""
    pairing: ClassVar[str] = ""
    """What a person does before a gateway is added without a credential, where it then gives one
    itself: "Press the button on the bridge, and go on within 30 s." `identify()` fetches that
    credential and hands it over with `http.renew()`: it is stored with the gateway, even if a later
    call fails."""
    settle: ClassVar[timedelta] = timedelta(seconds=1)
    """How long after an accepted write the old value may still be read."""
    has_timer: ClassVar[bool] = False
    """Whether `revert_after` is carried out by the device itself, even if we are dead by then."""
    pushes: ClassVar[bool] = False
    """Whether its devices send their readings by themselves. Such a gateway has no address, and is
    never asked: not by polls, not by discovery, not by pages."""
    listens: ClassVar[bool] = False
    """Whether `listen()` is there."""
    rate_limit: ClassVar[RateLimit | None] = None
    """How often a gateway may be called, where the vendor counts. Kept by tasks: a client just
    makes its calls."""

    told: Collection[str] | None = None
    """After `read()`, where a vendor cannot ask all devices: those that it is about. The others
    stay as they are. None: all that were asked for."""

    def __init__(self, http: "Http") -> None:
        self.http = http

    def credential_parts(self) -> dict[str, str]:
        """The credential by `credential_fields`. Raises ApiRefused if it is written another way.

        One of them rotated: `http.renew(":".join(...))` with all of them, in their order.
        """
        fields = self.credential_fields
        parts = self.http.credential.split(":", len(fields) - 1)
        if len(parts) != len(fields) or not all(parts):
            raise ApiRefused(f"The credential is written {':'.join(fields)}.", status=401)
        return dict(zip(fields, parts, strict=True))

    @abstractmethod
    def identify(self) -> Identity:
        """Who answers at this address. Called before a gateway is stored, and proves the
        credential, or fetches one (see `pairing`)."""

    @abstractmethod
    def devices(self) -> Iterable[DeviceSpec]:
        """Every device this gateway serves, with its attributes."""

    @abstractmethod
    def read(self, vendor_ids: Collection[str]) -> Iterable[Reading]:
        """What these devices say now, in as few calls as the API allows. Others may be yielded too
        and are ignored.

        A device that the vendor no longer knows yields nothing; one that it knows and cannot reach
        yields readings with value None that say so.

        The vendor's own marks that a value is not valid (an error beside it, -1 for a counter not
        read yet, a probe that is not there) become None too. Where the answer tells unit, range or
        choices, each reading carries them as its `spec`: what a device is can change.
        """

    @abstractmethod
    def write(
        self, vendor_id: str, attribute: str, value: Value, revert_after: timedelta | None = None
    ) -> None:
        """Order a value (bool, float or str by the attribute's kind). Returning means accepted, not
        done.

        `revert_after`, only where `has_timer`: the device itself goes back after so long.
        ApiRefused: it will not happen. ApiError: nobody knows whether it did.
        """

    history_span: ClassVar[timedelta] = timedelta(days=1)
    """How long a time one call of `history()` is asked for: what the vendor answers within the
    deadline."""

    def history(self, vendor_id: str, since: datetime, until: datetime) -> Iterator[Reading]:
        """What a device said from one time (aware) until before another, where the vendor keeps it.

        Each reading has its `observed_at`, those of one attribute in order, and as its `spec` the
        unit that the value was reported in. A value lasts until the next one of its attribute. None
        means that from then on there was none, or that the vendor does not know it. The first tells
        what held at `since`, where that is known. Of an attribute whose history is not kept nothing
        is yielded, nor of a device that the vendor does not know.
        """
        raise NotImplementedError(f"{self.label} keeps no history")

    @classmethod
    def keeps_history(cls) -> bool:
        return cls.history is not Vendor.history

    def listen(self, vendor_ids: Collection[str], whole_every: timedelta) -> Iterator[Update]:
        """Hold a connection open, where the vendor offers one, and yield what it tells of these
        devices as it comes; for `listens`.

        The first update is whole, and so is one each `whole_every`: a vendor that tells only
        changes says nothing of what stays as it is. Something is yielded each LISTEN_SECONDS at
        least, if only an empty update, so that whoever listens can stop. It never ends by itself:
        it raises ApiError or ApiRefused.
        """
        raise NotImplementedError(f"{self.label} tells nothing by itself")


class UnknownVendor(LookupError):
    """There is no file for this vendor (any more), or it is broken."""


def names() -> list[str]:
    return plug_ins("vendors")


def choices() -> list[tuple[str, str]]:
    """For form fields and models; a callable, so that a new vendor needs no migration."""
    return [(name, load_or_default(name).label) for name in names()]


@cache  # a poll asks ten thousand times
def load(name: str) -> type[Vendor]:
    client: type[Vendor] = plug_in("vendors", name, _complaint, UnknownVendor).Client
    return client


def _complaint(module: ModuleType) -> str:
    client = getattr(module, "Client", None)
    is_one = isinstance(client, type) and issubclass(client, Vendor) and not isabstract(client)
    return "" if is_one else "it has no whole class Client(Vendor)"


def load_or_default(name: str) -> type[Vendor]:
    """Load a vendor for what its class says. One that is broken says what all say by default."""
    try:
        return load(name)
    except UnknownVendor:
        return _Broken


class _Broken(Vendor):
    label = "broken: see manage.py check"
    address_example = ""
