"""Feeds of prices against a real local server. The payloads are written after the public
documentation of each source."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from core import feeds
from core.feeds import Signal
from core.feeds._prices import read_tariff
from core.net.errors import ApiError, ApiRefused
from tests.core.feeds.conftest import PAYLOADS, payload

HOUR = timedelta(hours=1)
LONDON, BERLIN = ZoneInfo("Europe/London"), ZoneInfo("Europe/Berlin")
RATES = "/v1/products/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/standard-unit-rates/"


def xml(name):
    return (PAYLOADS / f"entsoe/{name}.xml").read_bytes()


def told(slots):
    return {f"{slot.starts_at:%H:%M}": slot.value for slot in slots}


def is_gapless(slots):
    return all(before.ends_at == after.starts_at for before, after in pairwise(slots))


# Octopus Agile


@pytest.fixture
def octopus(source):
    first, second = payload("octopus_agile/first_page"), payload("octopus_agile/second_page")
    source.answers = {RATES: (200, second)}
    source.once = {RATES: (200, first)}
    return source


def fetch(feed, now, region, since=-3 * HOUR, until=48 * HOUR):
    return feed.fetch(region, now + since, now + until)


def test_agile_comes_in_pages_newest_first_and_is_pounds_with_tax(octopus, now):
    slots = fetch(octopus.feed("octopus_agile"), now, "c", since=-4 * HOUR)
    assert [query["page"] for query in octopus.queries] == ["1", "2"]
    assert len(slots) == 16 and is_gapless(slots)
    assert {slot.unit for slot in slots} == {"GBP/kWh"}
    assert told(slots)["09:00"] == 0.2142
    # Below 0 one is paid for each kilowatt-hour, and 0 is a price.
    assert (told(slots)["12:30"], told(slots)["13:00"]) == (0.0, -0.01365)
    assert [slot.issued_at for slot in slots] == [None] * 6 + [now] * 10


def test_what_agile_is_asked_for(octopus, now):
    fetch(octopus.feed("octopus_agile"), now, "_C")
    assert set(octopus.asked) == {RATES}
    assert octopus.queries[0] == {
        "period_from": "2026-11-21T09:10:00Z",
        "period_to": "2026-11-23T12:10:00Z",
        "page_size": "1500",
        "page": "1",
    }


def test_another_product_is_an_option(octopus, now):
    octopus.answers["/v1/"] = (200, {"next": None, "results": []})
    fetch(octopus.feed("octopus_agile", options="product=AGILE-23-12-06"), now, "A")
    assert "AGILE-23-12-06/electricity-tariffs/E-1R-AGILE-23-12-06-A" in octopus.asked[0]


@pytest.mark.parametrize("region", ["", "I", "13", "CC", "../C"])
def test_agile_knows_its_regions(octopus, now, region):
    with pytest.raises(ApiRefused, match="A to P"):
        fetch(octopus.feed("octopus_agile"), now, region)
    assert octopus.asked == []


def test_a_product_that_is_gone_is_a_refusal(octopus, now):
    octopus.once[RATES] = (404, payload("octopus_agile/not_found"))
    with pytest.raises(ApiRefused, match="Not found"):
        fetch(octopus.feed("octopus_agile"), now, "C")


@pytest.mark.parametrize("answer", [{}, [], {"results": None}, {"results": [{"valid_from": 5}]}])
def test_something_else_than_rates_is_an_error(octopus, now, answer):
    octopus.once[RATES] = (200, answer)
    with pytest.raises(ApiError):
        fetch(octopus.feed("octopus_agile"), now, "C")


def test_pages_without_end_are_not_followed(octopus, now):
    octopus.answers[RATES] = (200, payload("octopus_agile/first_page"))
    fetch(octopus.feed("octopus_agile"), now, "C")
    assert len(octopus.asked) == 8


# Energy-Charts


@pytest.fixture
def charts(source):
    source.answers = {"/price": (200, payload("energy_charts/price"))}
    return source


def test_market_prices_are_per_kilowatt_hour_by_the_quarter(charts, now):
    slots = fetch(charts.feed("energy_charts"), now, "DE-LU", since=-4 * HOUR)
    assert told(slots)["09:00"] == 0.08 and told(slots)["12:00"] == -0.01241
    assert "10:15" not in told(slots)  # null: not told, and not filled in
    assert {slot.ends_at - slot.starts_at for slot in slots} == {timedelta(minutes=15)}
    assert {slot.unit for slot in slots} == {"EUR/kWh"}
    assert charts.queries[0] == {
        "bzn": "DE-LU",
        "start": "2026-11-21T08:10Z",
        "end": "2026-11-23T12:10Z",
    }


def test_before_tomorrow_is_published_the_answer_ends_with_today(charts, now):
    slots = fetch(charts.feed("energy_charts"), now, "DE-LU")
    assert slots[-1].ends_at == now.replace(hour=15, minute=0)


def test_hourly_prices_hold_an_hour(charts, now):
    answer = charts.answers["/price"][1]
    answer["unix_seconds"] = answer["unix_seconds"][::4]
    answer["price"] = answer["price"][::4]
    slots = fetch(charts.feed("energy_charts"), now, "AT")
    assert {slot.ends_at - slot.starts_at for slot in slots} == {HOUR}


def test_fees_by_the_hour_and_tax_come_on_top(charts, now):
    answer = charts.answers["/price"][1]
    answer["unix_seconds"] = answer["unix_seconds"][8:16:4]
    answer["price"] = [100.0, -50.0]  # from 11:00 and from 12:00 UTC
    options = "fees='0.1, 13:30-20:00 0.3' vat=20"
    slots = fetch(charts.feed("energy_charts", options=options, zone=BERLIN), now, "DE-LU")
    assert told(slots) == pytest.approx({"11:00": 0.24, "12:00": 0.06, "12:30": 0.3})
    assert is_gapless(slots)


@pytest.mark.parametrize("unit", ["EUR / kWh", None, "ct/kWh", "euro / MWh"])
def test_prices_in_a_unit_that_is_not_known_are_an_error(charts, now, unit):
    charts.answers["/price"][1]["unit"] = unit
    with pytest.raises(ApiError, match="not per MWh"):
        fetch(charts.feed("energy_charts"), now, "DE-LU")


def test_a_zone_that_is_none_is_refused_without_a_call(charts, now):
    with pytest.raises(ApiRefused, match="DE-LU"):
        fetch(charts.feed("energy_charts"), now, "../x")
    assert charts.asked == []


# ENTSO-E


@pytest.fixture
def entsoe(source):
    source.answers = {"/api": (200, xml("day_ahead"))}
    return source


def test_a_point_that_is_left_out_has_the_price_before_it(entsoe, now):
    slots = fetch(entsoe.feed("entsoe", credential="the-token"), now, "DE-LU", -13 * HOUR)
    assert len(slots) == 24 and is_gapless(slots)
    shown = told(slots)
    assert (shown["08:00"], shown["09:00"], shown["10:00"]) == (0.04825, 0.0315, 0.0315)
    assert (shown["11:00"], shown["12:00"], shown["22:00"]) == (-0.00532, -0.00001, 0.08)


def test_a_gap_without_the_curve_type_stays_a_gap(entsoe, now):
    entsoe.answers["/api"] = (200, xml("day_ahead").replace(b">A03<", b">A01<"))
    slots = fetch(entsoe.feed("entsoe"), now, "DE-LU", since=-13 * HOUR)
    assert "10:00" not in told(slots) and told(slots)["09:00"] == 0.0315


def test_of_two_auctions_the_first_counts(entsoe, now):
    slots = fetch(entsoe.feed("entsoe"), now, "DE-LU")
    assert {slot.ends_at - slot.starts_at for slot in slots} == {HOUR}
    swapped = xml("day_ahead").replace(b"position>1</class", b"position>3</class")
    entsoe.answers["/api"] = (200, swapped)
    slots = fetch(entsoe.feed("entsoe"), now, "DE-LU")
    assert {slot.ends_at - slot.starts_at for slot in slots} == {HOUR / 4}


def test_the_token_goes_along_and_is_never_told(entsoe, now):
    feed = entsoe.feed("entsoe", credential="canary-token")
    fetch(feed, now, "AT")
    query = entsoe.queries[0]
    assert query["securityToken"] == "canary-token" and query["in_Domain"] == "10YAT-APG------L"
    assert (query["periodStart"], query["periodEnd"]) == ("202611210910", "202611231210")
    entsoe.answers["/api"] = (401, b"Unauthorized canary-token")
    with pytest.raises(ApiRefused) as caught:
        fetch(entsoe.feed("entsoe", credential="canary-token"), now, "AT")
    assert "canary" not in str(caught.value)


def test_nothing_published_yet_is_no_error(entsoe, now):
    entsoe.answers["/api"] = (200, xml("nothing"))
    assert fetch(entsoe.feed("entsoe"), now, "DE-LU") == []


def test_another_reason_is_told(entsoe, now):
    entsoe.answers["/api"] = (200, xml("too_many"))
    with pytest.raises(ApiRefused, match="exceeds allowed limit"):
        fetch(entsoe.feed("entsoe"), now, "DE-LU")


def test_two_currencies_are_never_mixed(entsoe, now):
    # The first auction tells the morning only, so that the second fills the afternoon.
    [before, after] = xml("day_ahead").split(b"<mRID>2</mRID>")
    after = after.replace(b"21T23:00Z</end>", b"21T13:00Z</end>")
    mixed = before.replace(b">EUR<", b">PLN<") + b"<mRID>2</mRID>" + after
    entsoe.answers["/api"] = (200, mixed)
    with pytest.raises(ApiError, match="more than one currency"):
        fetch(entsoe.feed("entsoe"), now, "DE-LU")


LAUGHS = b"""<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>
<Publication_MarketDocument>&b;</Publication_MarketDocument>"""


@pytest.mark.parametrize(
    "body", [LAUGHS, b"", b"{}", b"<a>", b"<x/>", b"<a>" * 100 + b"</a>" * 100, b"\xff\xfe"]
)
def test_what_is_no_document_of_prices_is_an_error(entsoe, now, body):
    entsoe.answers["/api"] = (200, body)
    with pytest.raises(ApiError):
        fetch(entsoe.feed("entsoe"), now, "DE-LU")


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        ("2026-03-28T23:00Z", "2026-03-29T22:00Z", 23),
        ("2026-10-24T22:00Z", "2026-10-25T23:00Z", 25),
    ],
)
def test_days_of_23_and_25_hours_have_as_many_prices(entsoe, time_machine, first, last, hours):
    since, until = datetime.fromisoformat(first), datetime.fromisoformat(last)
    time_machine.move_to(since, tick=False)
    points = "".join(
        f"<Point><position>{place}</position><price.amount>{place}</price.amount></Point>"
        for place in range(1, 4 * hours + 1)
    )
    entsoe.answers["/api"] = (
        200,
        (
            "<Publication_MarketDocument><TimeSeries><currency_Unit.name>EUR</currency_Unit.name>"
            "<price_Measure_Unit.name>MWH</price_Measure_Unit.name><curveType>A03</curveType>"
            f"<Period><timeInterval><start>{first}</start><end>{last}</end></timeInterval>"
            f"<resolution>PT15M</resolution>{points}</Period></TimeSeries>"
            "</Publication_MarketDocument>"
        ).encode(),
    )
    slots = entsoe.feed("entsoe").fetch("DE-LU", since, until)
    assert len(slots) == 4 * hours and is_gapless(slots)
    assert (slots[0].starts_at, slots[-1].ends_at) == (since, until)
    assert slots[-1].value == 4 * hours / 1000


# A fixed tariff

NIGHT = "currency=GBP prices='0.28, 00:30-04:30 0.07'"


def tariff(text, zone=LONDON):
    return feeds.load("tariff")(options=feeds.read_options("tariff", text), zone=zone)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cheap_hours(slots):
    return sum((slot.ends_at - slot.starts_at) / HOUR for slot in slots if slot.value == 0.07)


def test_a_tariff_is_cheap_at_night_by_the_clock_at_home(time_machine):
    time_machine.move_to(utc("2026-07-01T12:00"), tick=False)
    slots = list(tariff(NIGHT).fetch("", utc("2026-07-01T12:00"), utc("2026-07-02T12:00")))
    cheap = [slot for slot in slots if slot.value == 0.07]
    # Summer time: 00:30 in London is 23:30 UTC.
    assert cheap[0].starts_at == utc("2026-07-01T23:30")
    assert cheap[-1].ends_at == utc("2026-07-02T03:30")
    assert is_gapless(slots) and slots[-1].ends_at == utc("2026-07-02T12:00")
    assert {(slot.unit, slot.signal) for slot in slots} == {("GBP/kWh", Signal.PRICE)}


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 3), ("2026-10-25", 5)])
def test_the_cheap_hours_of_a_short_and_of_a_long_night(time_machine, day, hours):
    since = utc(f"{day}T00:00") - 2 * HOUR
    time_machine.move_to(since, tick=False)
    slots = list(tariff(NIGHT).fetch("", since, since + 12 * HOUR))
    assert cheap_hours(slots) == hours and is_gapless(slots)


def test_hours_of_weekdays_and_over_midnight(time_machine):
    friday = utc("2026-11-20T20:00")
    time_machine.move_to(friday, tick=False)
    text = "currency=EUR prices='0.3, Mon-Fri 22:00-02:00 0.1, Sat 01:00-03:00 -0.05'"
    slots = told(tariff(text, UTC).fetch("", friday, friday + 8 * HOUR))
    assert slots["21:00"] == 0.3 and slots["22:00"] == slots["00:00"] == 0.1
    # The last that holds counts; what began on Friday evening goes on until two.
    assert slots["01:00"] == slots["02:00"] == -0.05 and slots["03:00"] == 0.3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.28, 00:30-04:30", "no price of some hours"),
        ("0.28, 25:00-26:00 0.1", "no time of day"),
        ("0.28, Mo 10:00-11:00 0.1", "no price of some hours"),
        ("0.28, Moo 10:00-11:00 0.1", "no price of some hours"),
        ("280", "not in cents"),
        ("nan", "no price of some hours"),
    ],
)
def test_a_tariff_that_makes_no_sense_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        read_tariff(text)


def test_a_tariff_without_prices_says_what_to_do(now):
    with pytest.raises(ApiRefused, match="TARIFF_OPTIONS"):
        list(tariff("").fetch("", now, now + HOUR))


@pytest.mark.parametrize("text", ["currency=gbp", "price=0.2", "prices", "prices='0.2, x'"])
def test_options_that_make_no_sense_are_refused(text):
    with pytest.raises(ValueError, match=r".+\."):
        feeds.read_options("tariff", text)
