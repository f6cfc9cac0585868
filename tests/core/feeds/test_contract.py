"""The contract of core/feeds, held by every file in it: a new feed is tested here without a new
line."""

import inspect
import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import feeds
from core.feeds import Feed, Signal, Slot, in_order, moment, place
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from tests.core.feeds.conftest import CREDENTIAL, NOW, PAYLOADS

HOUR = timedelta(hours=1)
REGIONS = ["", "13", "SW1", "52.52,13.41", "CAISO_NORTH", "C", "DE-LU", "nowhere at all"]
each_feed = pytest.mark.parametrize("name", feeds.names())

text = st.sampled_from(
    [
        "",
        "soon",
        "nan",
        "\x00",
        "J/kg",
        "2026-11-21T12:00Z",
        "9999-12-31T23:59Z",
        "0001-01-01T00:00+23:00",
    ]
)
numbers = st.sampled_from([-1, 0, 1, 300, 1e308, -1e308, 10**250]) | st.floats(
    allow_nan=False, allow_infinity=False
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(text | st.sampled_from(["data", "meta"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@cache
def recorded(name: str) -> list[str]:
    paths = sorted((PAYLOADS / name).glob("*.json")) + sorted((PAYLOADS / name).glob("*.xml"))
    return [path.read_text() for path in paths] or ["{}"]


@st.composite
def damaged(draw: st.DrawFn, name: str) -> Any:
    """A recorded answer with one part of it replaced."""
    written = draw(st.sampled_from(recorded(name)))
    if written.startswith("<"):
        texts = list(re.finditer(r">([^<]*)<", written))
        place = draw(st.sampled_from(texts))
        damage = draw(text | numbers.map(str))
        return (written[: place.start(1)] + damage + written[place.end(1) :]).encode()
    holder: Any = [json.loads(written)]
    answer, key = holder, 0
    while isinstance(holder[key], list | dict) and holder[key] and draw(st.integers(0, 6)):
        holder = holder[key]
        key = draw(
            st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder)))
        )
    holder[key] = draw(anything)
    return answer[0]


class Parrot(Http):
    """The wire replaced: says these answers in turn, whatever it is asked."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__("http://127.0.0.1", credential=CREDENTIAL)
        self.answers = answers
        self.said = 0

    def get(self, path: str, params: dict[str, str | int] | None = None) -> Any:
        assert path.startswith("/") and ".." not in urlsplit(path).path, path
        self.said += 1
        return (
            {"token": "a-token"}
            if path == "/login"
            else self.answers[self.said % len(self.answers)]
        )

    def fetch(self, method: str, path: str, **_: Any) -> bytes:
        answer = self.get(path)
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def check(feed: Feed, slots: Iterable[Slot]) -> None:
    """Slots as the contract promises them."""
    series: dict[tuple[Signal, bool], list[Slot]] = {}
    for slot in slots:
        assert slot.signal in feed.signals and slot.signal.has_unit(slot.unit)
        assert isinstance(slot.value, float) and math.isfinite(slot.value)
        assert (
            slot.starts_at.tzinfo is UTC
            and slot.ends_at.tzinfo is UTC
            and slot.starts_at < slot.ends_at
        )
        assert slot.starts_at < NOW + 2 * HOUR and slot.ends_at > NOW - 3 * HOUR
        assert (
            slot.ends_at > NOW and slot.issued_at <= NOW
            if slot.issued_at
            else slot.starts_at <= NOW
        )
        series.setdefault((slot.signal, bool(slot.issued_at)), []).append(slot)
    for told in series.values():
        assert all(before.ends_at <= after.starts_at for before, after in pairwise(told))


def test_the_files_are_found_by_their_names():
    assert {"replay", "carbon_intensity_gb", "watttime", "open_meteo"} <= set(feeds.names())
    with pytest.raises(feeds.UnknownFeed, match="replay"):
        feeds.load("nobody")


def test_every_signal_has_a_unit():
    assert all(signal.unit and signal.meaning for signal in feeds.signals())


def test_what_two_feeds_tell_by_one_name_is_in_one_unit():
    for name in feeds.names():
        for signal in feeds.load(name).signals:
            assert feeds.signal(signal).unit == signal.unit


@each_feed
def test_a_feed_is_whole(name):
    feed = feeds.load(name)
    assert issubclass(feed, Feed) and not inspect.isabstract(feed)
    assert feed.label and feed.region_hint
    assert (
        feed.signals
        and set(feed.signals) <= set(feeds.signals())
        and len(set(feed.signals)) == len(feed.signals)
    )
    assert min(feed.every, feed.ahead, feed.behind) > timedelta(0)
    assert isinstance(feed.needs_credential, bool) and isinstance(feed.by_place, bool)


@each_feed
def test_a_feed_asks_over_tls_or_asks_nobody(name):
    parts = urlsplit(feeds.load(name).address)
    assert (parts.scheme, bool(parts.hostname)) in (("https", True), ("", False))


def test_no_two_feeds_have_one_label():
    assert len({feeds.load(name).label for name in feeds.names()}) == len(feeds.names())


@each_feed
def test_a_feed_that_asks_has_recorded_payloads(name):
    assert recorded(name) != ["{}"] or not feeds.load(name).address


@each_feed
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_whatever_the_source_answers_is_refused_or_well_formed(now, name, data):
    answers = data.draw(st.lists(damaged(name), min_size=1, max_size=2))
    for region in REGIONS:
        feed = feeds.load(name)(Parrot(answers))
        try:
            slots = list(feed.fetch(region, NOW - 3 * HOUR, NOW + 2 * HOUR))
        except (ApiError, ApiRefused) as error:
            assert str(error)
        else:
            check(feed, slots)


@each_feed
@pytest.mark.parametrize("hours", [0, -1])
def test_no_time_at_all_holds_no_slot(now, name, hours):
    feed = feeds.load(name)(Parrot([{"data": []}]))
    try:
        assert list(feed.fetch("", NOW, NOW + hours * HOUR)) == []
    except (ApiError, ApiRefused) as error:
        assert str(error)


@pytest.mark.parametrize(
    ("region", "found"),
    [
        *(
            ("51.50,-0.12", (51.5, -0.12)),
            (" 51.5 , -0.12 ", (51.5, -0.12)),
            ("-90,180", (-90, 180)),
            ("+1,0", (1, 0)),
        ),
        *(
            (wrong, None)
            for wrong in (
                "",
                "51.5",
                "51.5;0",
                "90.1,0",
                "0,-181",
                "nan,nan",
                "1e1,0",
                "1,2,3",
                "٣,٤",
            )
        ),
    ],
)
def test_a_place_is_latitude_and_longitude(region, found):
    assert place(region) == found


@pytest.mark.parametrize(
    "told", ["2026-11-21T12:00Z", "2026-11-21T12:00", "2026-11-21T05:00:00-07:00"]
)
def test_a_moment_is_in_utc(told):
    assert moment(told) == datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "told", [None, 5, "", "noon", "0001-01-01T00:00+23:00", "9999-12-31T23:59Z"]
)
def test_nonsense_is_no_moment(told):
    assert moment(told) is None


def test_slots_come_in_order_without_overlap():
    def slot(start, minutes, issued_at=None):
        begin = NOW + timedelta(minutes=start)
        return Slot(begin, begin + timedelta(minutes=minutes), 1.0, "gCO2/kWh", issued_at)

    told = [
        slot(30, 30),
        slot(0, 30, NOW),
        slot(0, 30),
        slot(15, 30),
        slot(60, 0),
        slot(60, -30),
        slot(60, 60 * 25),
    ]
    assert in_order(told, NOW, NOW + 9 * HOUR) == [slot(0, 30), slot(30, 30), slot(0, 30, NOW)]
    assert in_order(told, NOW + HOUR / 2, NOW + HOUR) == [slot(30, 30)]
