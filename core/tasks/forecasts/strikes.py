"""Strikes of lightning that were pushed: stored for two hours, read for a nowcast."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db import transaction

from core.feeds._strikes import KEPT_SECONDS, Strike
from core.models import LightningStrike

KEPT_FOR = timedelta(hours=2)
MOST_STRIKES = 5_000
"""In one message."""
MOST_READ = 100_000
"""For one nowcast, the newest."""


def store_strikes(strikes: Sequence[Strike], now: datetime) -> int:
    """Store those that are not stored yet, delete those that are too old; return how many are new.

    A strike sent again, or told by two programs alike, is stored once.
    """
    oldest = now - KEPT_FOR
    rows = [
        LightningStrike(
            struck_at=datetime.fromtimestamp(strike.at, UTC),
            latitude=strike.latitude,
            longitude=strike.longitude,
        )
        for strike in dict.fromkeys(strikes)
        if strike.at > oldest.timestamp()
    ]
    if not rows:
        return 0
    with transaction.atomic():
        old = LightningStrike.objects.filter(struck_at__lt=oldest).order_by("struck_at")
        pks = list(old.values_list("pk", flat=True)[: 2 * MOST_STRIKES])
        LightningStrike.objects.filter(pk__in=pks).delete()
        times = [row.struck_at for row in rows]
        known = LightningStrike.objects.filter(struck_at__gte=min(times), struck_at__lte=max(times))
        stored = set(known.values_list("struck_at", "latitude", "longitude"))
        new = [row for row in rows if (row.struck_at, row.latitude, row.longitude) not in stored]
        LightningStrike.objects.bulk_create(
            new,
            batch_size=1000,
            update_conflicts=True,
            unique_fields=["struck_at", "latitude", "longitude"],
            update_fields=["struck_at"],
        )
    return len(new)


def pushed_strikes(now: datetime) -> list[Strike]:
    """Return what was pushed of the time that a nowcast looks at, in order of time."""
    since = now - timedelta(seconds=KEPT_SECONDS)
    rows = LightningStrike.objects.filter(struck_at__gt=since, struck_at__lte=now)
    newest = rows.order_by("-struck_at").values_list("struck_at", "latitude", "longitude")
    found = [Strike(at.timestamp(), north, east) for at, north, east in newest[:MOST_READ]]
    return found[::-1]
