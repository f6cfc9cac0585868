"""Which gateways fail, and whether a network explains it: one alert then, not one for each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Max

from core import feeds
from core.models import Alert, FeedSource, Gateway
from core.tasks.alerts.finding import Finding
from core.tasks.polling.clock import AHEAD

ALL, INTERNET, HOME = "network", "internet", "home network"
TITLES = {
    ALL: "Nothing answers: is the network of this machine away?",
    INTERNET: "The internet is away",
    HOME: "The home network is away",
}
LEAST_MEMBERS = 2
"""Of one that fails nobody knows whether it is the network."""
MANY = 20
"""More alerts than these are one about all of them."""
NAMES_SHOWN = 10
HOME_NAMES = (".local", ".lan", ".home", ".internal", ".home.arpa", ".fritz.box")


@dataclass(frozen=True)
class Member:
    """Something that is asked over a network."""

    network: str
    failures: int
    refused: bool

    @property
    def is_away(self) -> bool:
        return self.failures > 0 and not self.refused


@dataclass(frozen=True)
class Networks:
    """Networks that are away now, those that are so by an open alert too, and when others came back
    last."""

    away_now: frozenset[str] = frozenset()
    away: frozenset[str] = frozenset()
    back_at: Mapping[str, datetime] = field(default_factory=dict)

    def explain(self, network: str, asked_at: datetime | None) -> bool:
        """Whether what was last asked then was asked while its network was away, and rests since
        then."""
        keys = (ALL, network)
        if self.away.intersection(keys):
            return True
        times = [self.back_at[key] for key in keys if key in self.back_at]
        return bool(times and asked_at and asked_at <= max(times))


def failing() -> list[Gateway]:
    return list(Gateway.objects.active().filter(failures__gt=0).order_by("pk"))


def networks(now: datetime, failing: Sequence[Gateway], sources: Sequence[FeedSource]) -> Networks:
    """Say which networks are away, by what fails that is asked over them."""
    # Most looks find nothing wrong, and make none of the queries below.
    if not failing and not any(one.failures for one in sources):
        return Networks()
    away = frozenset(_networks_away(sources))
    told = Alert.objects.filter(key__in=(ALL, INTERNET, HOME))
    is_open = Alert.objects.open().filter(key__in=(ALL, INTERNET, HOME))
    over = told.filter(ended_at__lte=now + AHEAD, opened_at__isnull=False).order_by()
    ends = dict(over.values_list("key").annotate(Max("ended_at")))
    return Networks(away, away | set(is_open.values_list("key", flat=True)), ends)


def silent_gateways(
    now: datetime, failing: Sequence[Gateway], networks: Networks
) -> Iterator[Finding]:
    """Yield the networks that are away, and the gateways that fail."""
    for key in (ALL, INTERNET, HOME):
        if key in networks.away_now:
            is_part = key != ALL and ALL in networks.away_now
            yield Finding(key, TITLES[key], explained=is_part)
    alone = []
    for gateway in failing:
        if not _is_silent(gateway, now):
            continue
        its = network_of(gateway.address)
        # A refusal came over the network, which is not away then.
        is_explained = not gateway.refused and networks.explain(its, gateway.asked_at)
        alone += [] if is_explained else [gateway]
        yield _finding(gateway, is_explained)
    if len(alone) > MANY:
        names = ", ".join(gateway.public_name for gateway in alone[:NAMES_SHOWN])
        yield Finding("gateways", f"{len(alone):,} gateways fail", f"{names} and others.")


def _finding(gateway: Gateway, is_explained: bool) -> Finding:
    what = "refuses us" if gateway.refused else "does not answer"
    return Finding(
        f"gateway:{gateway.pk}",
        f"{gateway.public_name} {what}",
        gateway.error,
        gateway=gateway.pk,
        explained=is_explained,
    )


def _is_silent(gateway: Gateway, now: datetime) -> bool:
    """Whether it has failed for so long that it is told of: a refusal at once."""
    times = settings.ALERT_AFTER_FAILURES
    if gateway.refused:
        return True
    if gateway.wakes_every and gateway.answered_at:
        # It sleeps, and is met by luck: silent when it was not met so many times that it woke.
        return now - gateway.answered_at >= times * gateway.wakes_every
    return gateway.failures >= times


def _networks_away(sources: Sequence[FeedSource]) -> Iterator[str]:
    members = [*_gateways(), *_feeds(sources)]
    for key in (ALL, INTERNET, HOME):
        there = [member for member in members if key in (ALL, member.network)]
        if len(there) < LEAST_MEMBERS or not all(member.is_away for member in there):
            continue
        # They are asked at different paces: one that failed often enough shows that it lasts.
        if max(member.failures for member in there) >= settings.ALERT_AFTER_FAILURES:
            yield key


def _gateways() -> Iterator[Member]:
    # Those on battery sleep, and those that push are never asked.
    asked = Gateway.objects.active().filter(wakes_every=None).exclude(asked_at=None)
    for address, failures, refused in asked.values_list("address", "failures", "refused"):
        yield Member(network_of(address), failures, refused)


def _feeds(sources: Sequence[FeedSource]) -> Iterator[Member]:
    for source in sources:
        was_asked = source.fetched_at or source.asked_at
        if was_asked and not _is_made_here(source.feed):
            yield Member(INTERNET, source.failures, source.refused)


def _is_made_here(feed: str) -> bool:
    """Whether it needs no network: a replay, or a model."""
    try:
        return feeds.is_replayed(feed) or issubclass(feeds.load(feed), feeds.Model)
    except feeds.UnknownFeed:
        return True


def network_of(address: str) -> str:
    host = urlsplit(address).hostname or ""
    try:
        is_home = not ip_address(host).is_global
    except ValueError:
        is_home = "." not in host or host.endswith(HOME_NAMES)
    return HOME if is_home else INTERNET
