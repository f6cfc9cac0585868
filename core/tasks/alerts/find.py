"""Find all that is wrong now, causes before what they explain."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from core.tasks import runs
from core.tasks.alerts import devices, gateways, site
from core.tasks.alerts.finding import Finding


def find(now: datetime, open_keys: Collection[str]) -> list[Finding]:
    """Return what is wrong. `open_keys` are the causes of alerts that have not ended."""
    health = runs.health(now)
    tasks = list(site.late_tasks(now, health))
    sources, failing = site.feed_sources(), gateways.failing()
    networks = gateways.networks(now, failing, sources)
    silent_gateways = list(gateways.silent_gateways(now, failing, networks))
    polls_are_late = any(task.key == site.POLL for task in tasks)
    polled_at = health.last_poll.started_at if health.last_poll else None
    silent = list(devices.silent_devices(now, polled_at, polls_are_late))
    silent_pks = {one.device for one in silent if one.device is not None}
    found = [
        *tasks,
        *site.full_disk(open_keys),
        *site.failing_relay(),
        *_all_as_one(silent_gateways, "gateways"),
        *site.bad_feeds(sources, now, networks),
        *_all_as_one(silent, "devices"),
        *devices.orders_not_done(now, silent_pks),
    ]
    # What is explained opens nothing. But an open alert that is left out here would end.
    return [one for one in found if not one.explained or one.key in open_keys]


def _all_as_one(found: list[Finding], key: str) -> list[Finding]:
    """Let one that is about many explain each of them."""
    if not any(one.key == key for one in found):
        return found
    return [
        one if one.key == key or not one.gateway else replace(one, explained=True) for one in found
    ]
