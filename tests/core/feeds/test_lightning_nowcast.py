"""The feed lightning_nowcast, from files, over HTTP, and from what was pushed.

The payload is an hour around 21:36 UTC on 9 August 2026 over the south-west of the United States:
NOAA GOES GLM, US Government, public domain."""

from datetime import UTC, datetime, timedelta

import pytest

from core import feeds
from core.feeds import Signal
from core.feeds._strikes import read_strikes
from core.net.errors import ApiError, ApiRefused
from tests.core.feeds.conftest import PAYLOADS

RECORDED = PAYLOADS / "lightning_nowcast" / "strikes.csv"
AT = datetime(2026, 8, 9, 21, 40, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STORM, CALM = "31.50,-112.50", "37.00,-121.00"


@pytest.fixture
def at(time_machine):
    time_machine.move_to(AT, tick=False)
    return AT


def feed(**options):
    kind = feeds.load("lightning_nowcast")
    return kind(options=kind.Options(**options))


def told(feed, region, signal):
    """Forecasts and measurements of a signal."""
    slots = feed.fetch(region, AT - 100 * MINUTE, AT + 60 * MINUTE)
    of_signal = [one for one in slots if one.signal == signal]
    ahead = [one for one in of_signal if one.issued_at]
    return ahead, [one for one in of_signal if not one.issued_at]


def test_the_chance_is_told_of_the_next_15_25_and_60_minutes(at):
    ahead, _ = told(feed(file=str(RECORDED)), STORM, Signal.LIGHTNING_CHANCE)
    begins = [(slot.starts_at - AT) / MINUTE for slot in ahead]
    ends = [(slot.ends_at - AT) / MINUTE for slot in ahead]
    assert (begins, ends) == ([0, 15, 25], [15, 25, 60])
    assert all(slot.value > 30 and slot.unit == "%" for slot in ahead)
    far, _ = told(feed(file=str(RECORDED)), CALM, Signal.LIGHTNING_CHANCE)
    assert all(slot.value < 2 for slot in far)


def test_what_was_seen_is_measured_where_somebody_watched(at):
    _, chance = told(feed(file=str(RECORDED)), STORM, Signal.LIGHTNING_CHANCE)
    seen = {f"{slot.starts_at:%H:%M}": slot.value for slot in chance}
    assert seen == {"20:40": 0.0, "20:50": 0.0, "21:30": 100.0}
    _, rate = told(feed(file=str(RECORDED)), CALM, Signal.LIGHTNING)
    assert rate and all(slot.value == 0 for slot in rate)


def test_strikes_of_the_last_ten_minutes_hold_for_ten_more(at):
    [now], _ = told(feed(file=str(RECORDED)), STORM, Signal.LIGHTNING)
    assert (now.starts_at, now.ends_at) == (AT, AT + 10 * MINUTE)
    assert now.value >= 6 and now.value % 6 == 0


def test_pushed_strikes_are_told_as_those_of_a_file(at):
    pushed = feed()
    pushed.strikes = sorted(read_strikes(RECORDED.read_text().splitlines()))
    window = (STORM, AT - 100 * MINUTE, AT + 60 * MINUTE)
    assert list(pushed.fetch(*window)) == list(feed(file=str(RECORDED)).fetch(*window))


def test_a_file_over_http(at, source):
    source.answers = {"/strikes.csv": (200, RECORDED.read_bytes())}
    asking = source.feed("lightning_nowcast", options=f"file={source.server.address}/strikes.csv")
    ahead, _ = told(asking, STORM, Signal.LIGHTNING_CHANCE)
    assert source.asked == ["/strikes.csv"] and len(ahead) == 3


@pytest.mark.parametrize(("status", "error"), [(401, ApiRefused), (429, ApiError), (503, ApiError)])
def test_a_source_that_does_not_answer(at, source, status, error):
    source.answers = {"/": (status, b"")}
    asking = source.feed("lightning_nowcast", options=f"file={source.server.address}/strikes.csv")
    with pytest.raises(error):
        told(asking, STORM, Signal.LIGHTNING)


@pytest.mark.parametrize("content", [b"", b"time_utc,lat,lon\nsoon,1,1\n", b"\xff\xfe\x00", b"{}"])
def test_garbage_is_no_calm(at, source, content):
    source.answers = {"/": (200, content)}
    asking = source.feed("lightning_nowcast", options=f"file={source.server.address}/strikes.csv")
    with pytest.raises(ApiError):
        told(asking, STORM, Signal.LIGHTNING)


def test_silence_is_no_calm(at, tmp_path):
    with pytest.raises(ApiError, match="Nobody told of strikes in the last hour"):
        told(feed(), STORM, Signal.LIGHTNING)
    file = tmp_path / "strikes.csv"
    file.write_text(f"time_utc,lat,lon\n{AT - 16 * MINUTE:%Y-%m-%dT%H:%M:%SZ},32,-108\n")
    with pytest.raises(ApiError, match="since 21:24 UTC"):
        told(feed(file=str(file)), STORM, Signal.LIGHTNING)


def test_who_watches_and_sees_nothing_tells_of_calm(at, tmp_path):
    file = tmp_path / "strikes.csv"
    file.write_text(f"time_utc,lat,lon\n{AT - MINUTE:%Y-%m-%dT%H:%M:%SZ},,\n")
    [now], _ = told(feed(file=str(file)), STORM, Signal.LIGHTNING)
    ahead, _ = told(feed(file=str(file)), STORM, Signal.LIGHTNING_CHANCE)
    assert now.value == 0 and max(slot.value for slot in ahead) < 2


def test_a_strike_and_who_watched_at_the_same_time_are_both_taken(at, tmp_path):
    file, same = tmp_path / "strikes.csv", f"{AT - MINUTE:%Y-%m-%dT%H:%M:%SZ}"
    file.write_text(f"time_utc,lat,lon\n{same},31.5,-112.5\n{same},,\n")
    [now], _ = told(feed(file=str(file)), STORM, Signal.LIGHTNING)
    assert now.value > 0


def test_a_file_that_is_not_there_is_for_a_person(at, tmp_path):
    with pytest.raises(ApiRefused, match="cannot be read: No such file"):
        told(feed(file=str(tmp_path / "no.csv")), STORM, Signal.LIGHTNING)


def test_a_place_is_needed(at):
    with pytest.raises(ApiRefused, match="no place"):
        told(feed(file=str(RECORDED)), "Arizona", Signal.LIGHTNING)


def test_what_is_no_file_is_refused():
    with pytest.raises(ValueError, match="neither a path nor a URL"):
        feed(file="ftp://example.com/strikes.csv")
