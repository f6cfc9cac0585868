"""Prices from a feed into the database, and what rules and best-window make of them."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils.timezone import now

from core import feeds
from core.checks import check_feeds
from core.feeds import Signal
from core.models import FeedSource, Site
from core.tasks.best_window import best_window
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.fetch import fetch_forecasts
from core.tasks.forecasts.regions import Region
from core.tasks.forecasts.store import checked_answer, store_answer

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
REGION = Region("tariff", "")


@pytest.fixture
def tariff(settings, time_machine):
    time_machine.move_to("2026-06-15T20:00:00Z", tick=False)
    settings.FEEDS = ["tariff"]
    settings.FEED_OPTIONS = {"tariff": "currency=GBP prices='0.28, 00:30-04:30 0.07'"}
    Site.objects.create(name="Home", zone="Europe/London")


def test_the_tariff_goes_by_the_clock_at_home_and_best_window_finds_its_hours(tariff):
    assert fetch_forecasts().failed == []
    before = now() + 10 * HOUR
    found = best_window(now(), REGION, Signal.PRICE, minutes=120, before=before)
    # 00:30 in London in June.
    assert f"{found.plan.windows[0].starts_at:%H:%M}" == "23:30"
    assert found.value == pytest.approx(0.07) and found.plan.unit == "GBP"
    paid = AsOf(now()).measurements(REGION, Signal.PRICE, now() - 24 * HOUR, now())
    cheap = [slot for slot in paid if slot.value == 0.07]
    assert sum((slot.ends_at - slot.starts_at for slot in cheap), timedelta()) == 4 * HOUR


def test_another_currency_is_not_mixed_with_what_is_stored(tariff, settings):
    fetch_forecasts()
    settings.FEED_OPTIONS = {"tariff": "currency=EUR prices=0.3"}
    [(source, why)] = fetch_forecasts(force=True).failed
    assert source == "tariff" and "in EUR/kWh, and before in GBP/kWh" in why
    [slot, *_] = AsOf(now()).outlook(REGION, Signal.PRICE, now() + HOUR).slots
    assert slot.unit == "GBP/kWh"


def test_options_that_make_no_sense_are_a_failure_of_their_feed_alone(tariff, settings):
    settings.FEED_OPTIONS = {"tariff": "price=0.3"}
    [(_, why)] = fetch_forecasts().failed
    assert "TARIFF_OPTIONS: tariff has no option price. It has: currency, prices." in why
    assert FeedSource.objects.get().refused


def test_the_checks_tell_of_options_that_make_no_sense(tariff, settings):
    settings.FEED_OPTIONS = {"tariff": "prices='0.3, nights 0.1'"}
    [message] = check_feeds(None)
    assert message.id == "core.E010" and "nights" in message.msg


def test_an_answer_in_two_currencies_keeps_the_first(tariff):
    feed = feeds.load("tariff")
    slots = []
    for text in ("currency=GBP prices=0.2", "currency=EUR prices=0.3"):
        told = feed(options=feeds.read_options("tariff", text))
        slots += list(told.fetch("", now() - HOUR, now()))
    source = FeedSource.objects.create(feed="tariff")
    answer = checked_answer(slots, now() - HOUR, now(), now())
    store_answer(source.pk, answer)
    assert answer.left_out == 1 and source.series.get().unit == "GBP/kWh"


def test_a_file_of_prices_needs_its_currency(tmp_path):
    path = tmp_path / "prices.csv"
    rows = [
        f"2026-01-0{day}T{hour:02}:00,2026-01-0{day}T{hour:02}:30,0.1,0.1\n"
        f"2026-01-0{day}T{hour:02}:30,2026-01-0{day}T{hour:02}:59,0.2,0.2"
        for day in (1, 2)
        for hour in range(24)
    ]
    path.write_text("from,to,forecast,actual\n" + "\n".join(rows))
    asked = ["backtest", "cleanest_hours", "signal=price", "--from", "2026-01-01"]
    asked += ["--to", "2026-01-02", "--file", str(path)]
    with pytest.raises(CommandError, match="--currency GBP"):
        call_command(*asked)
    call_command(*asked, "--currency", "EUR")
