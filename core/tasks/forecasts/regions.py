"""Which feed, and which region of it, a device's signals come from."""

from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings

from core import feeds, rules
from core.feeds import Signal
from core.models import Device, Site

LONGEST_REGION = 60


class Region(NamedTuple):
    feed: str
    region: str

    def __str__(self) -> str:
        """Return it as FEEDS has it."""
        return f"{self.feed}:{self.region}" if self.region else self.feed


def configured() -> list[Region]:
    """Return what FEEDS names, in order.

    The comma in a place, "open_meteo:51.50,-0.12", is not one between two feeds.
    """
    found: list[Region] = []
    for word in settings.FEEDS:
        if found and _is_number(word):
            found[-1] = Region(found[-1].feed, f"{found[-1].region},{word}")
        else:
            feed, _, region = word.partition(":")
            found.append(Region(feed.strip(), region.strip()))
    return found


def region_for(device: Device, signal: Signal, site: Site) -> Region | None:
    """Return where a device's signal comes from; None if no feed offers it.

    That is, of the first feed in FEEDS that offers it, the device's own region, else its place or
    that of the home, else the region in FEEDS. A device's region may name the feed that it is for,
    "carbon_intensity_gb:13"; other feeds do not see it then. Raises LookupError with a sentence
    that says what to do: no such feed, a place is missing.
    """
    for name, default in configured():
        feed = feeds.load(name)
        if signal not in feed.signals:
            continue
        region = _own_region(device, name)
        if not region:
            region = _place(device, site, feed.label, default) if feed.by_place else default
        return Region(name, region)
    return None


def signals_for(device: Device) -> list[Signal]:
    """Return what its guard and its rule look at, in order of preference.

    Raises LookupError, ValueError.
    """
    found: dict[Signal, None] = {}
    for name, options in ((device.guard, device.guard_options), (device.rule, device.options)):
        if name:
            rule = rules.load(name)
            found |= dict.fromkeys(rule.signals(rule.read(options)))
    return list(found)


def regions_for(devices: Iterable[Device]) -> tuple[list[Region], list[tuple[str, str]]]:
    """Return the regions these devices look at, each once, and (device, why) for the others."""
    found: dict[Region, None] = {}
    site, problems = Site.home(), []
    for device in devices:
        try:
            regions = [region_for(device, signal, site) for signal in signals_for(device)]
            found |= dict.fromkeys(region for region in regions if region)
        except (LookupError, ValueError) as error:
            problems.append((str(device), str(error)))
        except Exception as error:  # a plug-in file may fail in any way, for its own devices only
            problems.append((str(device), f"{type(error).__name__}: {error}"))
    return list(found), problems


def regions_without_device() -> list[Region]:
    """Return what FEEDS names and can be asked without a device: of a place, that of the home.

    A feed that does not load is among them: fetching it reports why.
    """
    site, found = Site.home(), []
    for region in configured():
        if region.region or not _needs_place(region.feed):
            found.append(region)
        elif site.latitude is not None and site.longitude is not None:
            found.append(Region(region.feed, _rounded(site.latitude, site.longitude)))
    return found


def _needs_place(feed: str) -> bool:
    try:
        return feeds.load(feed).by_place
    except LookupError:  # fetching reports why
        return False


def _own_region(device: Device, feed: str) -> str:
    name, colon, region = device.region.partition(":")
    if colon and name in feeds.names():
        return region if name == feed else ""
    return device.region


def _place(device: Device, site: Site, label: str, default: str) -> str:
    latitude, longitude = site.position_of(device)
    if latitude is None or longitude is None:
        if default:
            return default
        raise LookupError(
            f"{label} needs a place: give the home its latitude and longitude (set_site, or the "
            f"page Home) or {device} its own, or a region such as 51.50,-0.12, or put one into "
            "FEEDS, after the feed and a colon."
        )
    return _rounded(latitude, longitude)


def _rounded(latitude: float, longitude: float) -> str:
    # To about a kilometre, so that neighbours share what is fetched. Adding 0.0 makes -0.0 0.0.
    return f"{round(latitude, 2) + 0.0:.2f},{round(longitude, 2) + 0.0:.2f}"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
