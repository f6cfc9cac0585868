"""Rules that look at other devices, over the past: by what was stored of these."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from core import rules
from core.models import Attribute, Observation, Silence
from core.readings import Kind
from core.tasks.backtesting.backtest import backtest, read_options
from core.tasks.backtesting.device import BacktestSettings
from core.tasks.backtesting.others import others_named
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def sensor():
    return make_device(make_gateway(), "sensor")


def make_attribute(device, name, *told):
    """Each is so many minutes after noon, and what it was."""
    row, _ = Attribute.objects.get_or_create(device=device, name=name, kind=Kind.NUMBER)
    Observation.objects.bulk_create(
        Observation(attribute=row, observed_at=NOON + minute * MINUTE, number=number)
        for minute, number in told
    )
    row.heard_at = NOON + 60 * 24 * MINUTE
    row.save()
    return row


def played(rule, hours=2, **written):
    known = rules.load(rule)
    options, numbered = read_options(known, written)
    until = NOON + hours * 60 * MINUTE
    settings = BacktestSettings(known, options, NOON, until, every=5 * MINUTE)
    return backtest(settings, {}, None, others_named(known, numbered, NOON, until))


def on(result):
    return [((one.starts_at - NOON) / MINUTE, (one.ends_at - NOON) / MINUTE) for one in result.on]


def test_it_switches_when_it_would_have_then(sensor):
    make_attribute(sensor, "temperature", (-60, 20.0), (12, 26.0), (50, 24.5), (70, 23.0))
    result = played("when", device="Sensor", minutes=10)
    assert on(result) == [(25, 70)]
    assert (result.ticks, result.undecided, result.switches) == (24, 0, 2)


def test_over_the_days_that_are_read_one_by_one_nothing_is_lost(sensor):
    """Above the limit from 80 minutes before noon to two hours after it, on each day."""
    told = [(20 * step, 26.0 if (20 * step + 80) % 1440 < 200 else 20.0) for step in range(-9, 216)]
    make_attribute(sensor, "temperature", *told)
    Attribute.objects.update(heard_at=NOON + timedelta(days=9))
    result = played("when", hours=72, device="Sensor", minutes=90)
    assert on(result) == [(10, 120), (10 + 1440, 120 + 1440), (10 + 2880, 120 + 2880)]


def test_of_a_silence_nothing_is_known(sensor):
    row = make_attribute(sensor, "temperature", (-60, 26.0))
    silence = {"starts_at": NOON + 10 * MINUTE, "ends_at": NOON + 80 * MINUTE}
    Silence.objects.create(attribute=row, **silence)
    result = played("when", device="Sensor", minutes=20)
    # Fresh for a while after it was last heard, as live; then undecided until it is heard again.
    assert on(result) == [(0, 120)]
    assert 0 < result.undecided < 14


def test_what_came_later_is_not_known_then(sensor):
    row = make_attribute(sensor, "temperature", (61, 26.0))
    row.heard_at = NOON + 61 * MINUTE
    row.save()
    result = played("when", device="Sensor")
    assert result.undecided >= 13
    assert on(result)[0][0] == 65


METER = {"meter": "Sensor", "watts": 1000, "minutes": 10, "hysteresis": 100}


def test_the_meter_has_what_the_device_draws(sensor):
    """1,500 W are left over for an hour, then 500 W: what is stored knows nothing of the device."""
    make_attribute(sensor, "power", (-60, 200.0), (0, -1500.0), (60, -500.0))
    result = played("surplus", **METER)
    assert on(result) == [(10, 70)]
    assert (result.used, result.bought) == (pytest.approx(1), pytest.approx(10 / 60 * 0.5))
    assert "1.0 kWh, 0.9 of them (92%) left over" in result.in_words()
    assert "by what is stored of Sensor" in result.in_words()
    assert "forecasts" not in result.in_words()


def test_where_positive_is_fed_in_it_is_the_same(sensor):
    make_attribute(sensor, "power", (-60, -200.0), (0, 1500.0), (60, 500.0))
    result = played("surplus", positive_is="fed in", **METER)
    assert (on(result), result.bought) == ([(10, 70)], pytest.approx(10 / 60 * 0.5))


def test_the_command_says_what_it_did(sensor):
    make_attribute(sensor, "temperature", (-60, 20.0), (12, 26.0), (50, 24.5), (70, 23.0))
    out = StringIO()
    words = ("when", "device=Sensor", "minutes=10", "--from", "2026-06-01", "--to", "2026-06-01")
    call_command("backtest", *words, "--zone", "UTC", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["switches"], told["minutes_on"]) == (2, 40)


RANGE = ("--from", "2026-06-01", "--to", "2026-06-01", "--zone", "UTC")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("attribute=wet",), "Sensor has no attribute wet"),
        ((), "Of temperature of Sensor nothing is stored before 2026-06-02"),
        (("attribute=power", "--svg", "a.svg"), "--svg: it looks at no price and no forecast"),
        (("attribute=power", "--file", "a.csv"), "looks at no price and no forecast: take no file"),
    ],
)
def test_what_cannot_be_is_said(sensor, words, sentence):
    make_attribute(sensor, "temperature")
    make_attribute(sensor, "power", (-60, 5.0))
    with pytest.raises(CommandError, match=sentence):
        call_command("backtest", "when", "device=Sensor", *words, *RANGE, stdout=StringIO())
