"""Find all that is wrong now, causes before what they explain."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from core.tasks.alerts import devices, gateways, site
from core.tasks.alerts.finding import Finding


def find(now: datetime, open_keys: Collection[str]) -> list[Finding]:
    """Return what is wrong. `open_keys` are the causes of alerts that have not ended."""
    tasks = list(site.late_tasks(now))
    sources = site.feed_sources()
    silent_gateways = list(gateways.failing_gateways(now, sources))
    is_offline = any(one.key in (gateways.ALL, gateways.INTERNET) for one in silent_gateways)
    polls_are_late = any(task.key == site.POLL for task in tasks)
    silent = list(devices.silent_devices(now, polls_are_late))
    silent_pks = {one.device for one in silent if one.device is not None}
    found = [
        *tasks,
        *site.full_disk(open_keys),
        *site.failing_relay(),
        *_all_as_one(silent_gateways, "gateways"),
        *site.bad_feeds(sources, now, is_offline),
        *_all_as_one(silent, "devices"),
        *devices.orders_not_done(now, silent_pks),
    ]
    return [one for one in found if not one.explained or one.key in open_keys]


def _all_as_one(found: list[Finding], key: str) -> list[Finding]:
    """Let one that is about many explain each of them."""
    if not any(one.key == key for one in found):
        return found
    return [
        one if one.key == key or not one.gateway else replace(one, explained=True) for one in found
    ]
