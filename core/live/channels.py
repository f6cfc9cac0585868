"""The channels of the hosted relay: one for each gateway, and one for what is of none.

Access is by gateway, so a channel is too. A subscription outlives a log-in and a role that was
taken back; therefore channels are changed every few minutes, and each person is asked again.
"""

from collections.abc import Collection, Iterator
from time import time
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac

from core.models import Gateway
from core.models.access import Access
from core.net.pusher import channel_auth

PERIOD_SECONDS = 600
LEAD_SECONDS = 120
"""So long before the end of a period those of the next are told too."""
MOST_GATEWAYS = 100
"""Of more, a page subscribes to those that it shows."""


def channel_of(gateway: int | None, at: float) -> str:
    """Return the channel for events of a gateway, or of none, at a time in seconds since 1970."""
    # A copy of a site that was left with the same RELAY_URL has another key, and other channels.
    site = salted_hmac("core.live.channels", "site", algorithm="sha256").hexdigest()[:10]
    return f"private-{site}-{at // PERIOD_SECONDS:.0f}-{gateway or 'home'}"


def channels_of(access: Access, shown: Collection[int], at: float) -> list[str]:
    """Return the channels that somebody may and should subscribe to now.

    `shown` are the gateways on their page: of many gateways only these count.
    """
    gateways = access.limit_gateways(Gateway.objects.present()).order_by("pk")
    pks = list(gateways.values_list("pk", flat=True)[: MOST_GATEWAYS + 1])
    if len(pks) > MOST_GATEWAYS:
        # SQLite takes a number of parameters only, and a page shows no more.
        wanted = list(shown)[:MOST_GATEWAYS]
        pks = list(gateways.filter(pk__in=wanted).values_list("pk", flat=True))
    return [channel_of(pk, moment) for moment in _moments(at) for pk in (None, *pks)]


def may_subscribe(access: Access, channel: str, at: float) -> bool:
    """Return whether it is one of now that somebody may read."""
    said = channel.rpartition("-")[2]
    gateway = int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else None
    if channel not in [channel_of(gateway, moment) for moment in _moments(at)]:
        return False
    found = access.limit_gateways(Gateway.objects.present())
    return gateway is None or found.filter(pk=gateway).exists()


def auth_of(socket_id: str, channel: str) -> str:
    """Return the signature that the service asks for."""
    relay: Any = settings.RELAY
    return channel_auth(relay.key, relay.secret, socket_id, channel)


def again_seconds(at: float) -> float:
    """Return after how long the channels of the next period are told."""
    left = PERIOD_SECONDS - at % PERIOD_SECONDS
    return left - LEAD_SECONDS if left > LEAD_SECONDS else left + PERIOD_SECONDS - LEAD_SECONDS


def _moments(at: float) -> Iterator[float]:
    yield at
    if at % PERIOD_SECONDS >= PERIOD_SECONDS - LEAD_SECONDS:
        yield at + LEAD_SECONDS


def now() -> float:
    return time()
