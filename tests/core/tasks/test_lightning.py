"""From strikes that are pushed to a plug that is off before the storm is here, and on after it."""

from datetime import UTC, datetime, timedelta

import pytest

from core.feeds._strikes import Strike
from core.models import FeedSource
from core.tasks import decide, gateways, poll
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.regions import Region
from core.tasks.forecasts.strikes import store_strikes

pytestmark = pytest.mark.django_db
BEGINS = datetime(2026, 8, 9, 20, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KM = 1 / 111.2
PASSES = 70
"""Minutes until the storm is at the home; it comes from the west with 40 km/h."""


def storm(minute):
    """Strikes each ten seconds of ten minutes, and somebody who watches."""
    for second in range(0, 600, 10):
        at = BEGINS + minute * MINUTE - timedelta(seconds=second)
        west = (PASSES - (at - BEGINS) / MINUTE) * 40 / 60
        spread = (second * 7 % 11 - 5) * KM
        yield Strike(at.timestamp(), 34 + spread, -110 - (west + second * 3 % 7 - 3) * KM)
        yield Strike(at.timestamp())


def test_off_before_the_storm_and_on_after_the_all_clear(heater, simulator, settings, time_machine):
    settings.FEEDS = ("lightning_nowcast",)
    gateways.change_device(heater.pk, rule="lightning_guard", latitude=34.0, longitude=-110.0)
    history = {}
    for minute in range(0, 170, 10):
        time_machine.move_to(BEGINS + minute * MINUTE, tick=False)
        store_strikes(list(storm(minute)), BEGINS + minute * MINUTE)
        poll.poll_devices(force=True)
        decide.decide()
        history[minute] = simulator.devices[0].on
    off = [minute for minute, is_on in history.items() if not is_on]
    arrives = PASSES - 15 / (40 / 60)  # the first strike within 15 km
    leaves = PASSES + 15 / (40 / 60)
    assert off == list(range(off[0], off[-1] + 1, 10)), history
    assert off[0] <= arrives - 15
    assert off[-1] + 10 >= leaves + 30
    assert history[0] and history[160]


def test_a_feed_that_nobody_told_anything_is_asked_again_at_the_next_run(time_machine):
    region = Region("lightning_nowcast", "34.00,-110.00")
    for minute in range(0, 60, 10):
        time_machine.move_to(BEGINS + minute * MINUTE, tick=False)
        result = fetch_regions([region])
        assert (result.asked, len(result.failed)) == (1, 1)
    assert FeedSource.objects.get().failures == 6
    store_strikes([Strike(BEGINS.timestamp() + 3600)], BEGINS + 60 * MINUTE)
    time_machine.move_to(BEGINS + 60 * MINUTE, tick=False)
    assert fetch_regions([region]).failed == []
