"""Which feed, and which region of it, tells a device of the world outside."""

from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings

from core import feeds, rules
from core.feeds import Signal
from core.models import Device

LONGEST_REGION = 60


class Region(NamedTuple):
    feed: str
    region: str

    def __str__(self) -> str:
        """As FEEDS has it."""
        return f"{self.feed}:{self.region}" if self.region else self.feed


def configured() -> list[Region]:
    """What FEEDS names, in order. The comma in a place, "open_meteo:51.50,-0.12", is not one between two feeds."""
    found: list[Region] = []
    for word in settings.FEEDS:
        if found and _is_number(word):
            found[-1] = Region(found[-1].feed, f"{found[-1].region},{word}")
        else:
            feed, _, region = word.partition(":")
            found.append(Region(feed.strip(), region.strip()))
    return found


def region_for(device: Device, signal: Signal) -> Region | None:
    """Where a device's signal comes from: of the first feed in FEEDS that offers it, the device's own region, else its place,
    else the region in FEEDS. None: no feed offers it.

    A device's region may name the feed that it is for, "carbon_intensity_gb:13"; others do not see it then.
    Raises LookupError with a sentence that says what to do: no such feed, a place is missing.
    """
    for name, usual in configured():
        feed = feeds.load(name)
        if signal in feed.signals:
            return Region(
                name,
                _own_region(device, name)
                or (_place(device, feed.label, usual) if feed.by_place else usual),
            )
    return None


def signals_for(device: Device) -> list[Signal]:
    """What its rule and its guard look at, the most wanted first. Raises LookupError, ValueError."""
    found: dict[Signal, None] = {}
    for name, options in ((device.guard, device.guard_options), (device.rule, device.options)):
        if name:
            rule = rules.load(name)
            found |= dict.fromkeys(rule.signals(rule.read(options)))
    return list(found)


def regions_for(devices: Iterable[Device]) -> tuple[list[Region], list[tuple[str, str]]]:
    """All that these devices look at, each once; and (device, why) where that cannot be told."""
    found: dict[Region, None] = {}
    problems = []
    for device in devices:
        try:
            found |= dict.fromkeys(
                region for signal in signals_for(device) if (region := region_for(device, signal))
            )
        except (LookupError, ValueError) as error:
            problems.append((str(device), str(error)))
        except (
            Exception
        ) as error:  # a rule's file is a newcomer's code: its fault is its own devices' alone
            problems.append((str(device), f"{type(error).__name__}: {error}"))
    return list(found), problems


def regions_without_device() -> list[Region]:
    """What FEEDS names and can be asked as it stands. A feed that does not load is among them, to be told when asked."""
    return [one for one in configured() if one.region or not _needs_place(one.feed)]


def _needs_place(feed: str) -> bool:
    try:
        return feeds.load(feed).by_place
    except Exception:  # a plug-in file may fail in any way
        return False


def _own_region(device: Device, feed: str) -> str:
    name, colon, region = device.region.partition(":")
    if colon and name in feeds.names():
        return region if name == feed else ""
    return device.region


def _place(device: Device, label: str, usual: str) -> str:
    """To a hundredth of a degree, about a kilometre, so that neighbours share what is fetched."""
    if device.latitude is None or device.longitude is None:
        if usual:
            return usual
        raise LookupError(
            f"{label} needs a place: give {device} its latitude and longitude, or a region such as 51.50,-0.12, "
            "or put one into FEEDS, after the feed and a colon."
        )
    return f"{round(device.latitude, 2) + 0.0:.2f},{round(device.longitude, 2) + 0.0:.2f}"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
