"""The script says values and reckons freshness as Python does: the same cases for both."""

import random
from datetime import timedelta
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
from django.utils import timezone

from core.formatting import ago, due, is_overdue, value_text
from core.models.freshness import freshness, late_after

pytestmark = [pytest.mark.browser, pytest.mark.sqlite]  # once: the script knows no database
SCRIPT = Path(__file__).resolve().parents[2] / "core" / "static" / "core" / "formatting.js"
PLAIN = [
    0.0,
    -0.0,
    0.031,
    4.25,
    21.5,
    431.2,
    12345.0,
    1850.0,
    99999.5,
    999.95,
    0.0004,
    -0.0004,
    1e9,
    123456789.0,
    100.0,
    10.0,
]
HALVES = [
    0.0625,
    0.1875,
    1.125,
    1.375,
    2.675,
    1.005,
    100.25,
    100.75,
    10000.5,
    10001.5,
    99999.5,
    -1.125,
    1234500000.0,
    0.00012345,
]
TINY = [
    1e-5,
    1.5e-7,
    9.9996e-4,
    0.001,
    0.00099999,
    5e-324,
    1e15,
    1.5e22,
    1.7e308,
    999999999.9,
    1000000001.0,
]
CASES = [
    *((number, "") for number in [*PLAIN, *HALVES, *TINY]),
    (True, ""),
    (False, "W"),
    (None, "W"),
    ("heat", ""),
    ("heat", "x"),
    (21.5, "°C"),
    (50.0, "%"),
    (180.0, "°"),
    (5, "W"),
]


@pytest.fixture(scope="module")
def script(chromium):
    page = chromium.new_page()
    address = f"data:text/javascript,{quote(SCRIPT.read_text())}"
    yield page.evaluate_handle("(address) => import(address)", address)
    page.close()


def test_values_are_said_as_python_says_them(script):
    assert script.evaluate(
        "(script, cases) => cases.map(([value, unit]) => script.valueText(value, unit))", CASES
    ) == [value_text(*case) for case in CASES]


def test_any_number_is_said_as_python_says_it(script):
    chance = random.Random(4)
    numbers = [chance.uniform(-1, 1) * 10 ** chance.randint(-6, 11) for _ in range(3000)]
    numbers += [chance.randint(-(2**22), 2**22) / 2 ** chance.randint(0, 12) for _ in range(3000)]
    said = script.evaluate("(script, numbers) => numbers.map(script.numberText)", numbers)
    assert [
        (number, text)
        for number, text in zip(numbers, said, strict=True)
        if text != value_text(number)
    ] == []


def test_times_are_said_as_python_says_them(script):
    now = timezone.now().replace(microsecond=0)
    seconds = [0, 4, 5, 59, 60, 3599, 3600, 86_399, 86_400, 10 * 86_400]
    times = [now + timedelta(seconds=sign * size) for size in seconds for sign in (1, -1)]
    said = script.evaluate(
        "(script, [times, now]) => times.map((time) =>"
        " [script.ago(time, now), script.due(time, now), script.isOverdue(time, now)])",
        [[1000 * time.timestamp() for time in times], 1000 * now.timestamp()],
    )
    assert said == [[ago(time, now), due(time, now), is_overdue(time, now)] for time in times]


def test_freshness_is_reckoned_as_python_reckons_it(script):
    now, late = timezone.now(), late_after()
    ages = [
        None,
        timedelta(),
        late - timedelta(seconds=1),
        late + timedelta(seconds=1),
        timedelta(days=2),
    ]
    silences = (None, timedelta(hours=1), timedelta(seconds=-1))
    cases = list(product(ages, ages, (True, False), (0, 3), silences))
    told = [
        {
            "heard": (now - heard).timestamp() if heard is not None else 0,
            "measured": (now - measured).timestamp() if measured is not None else 0,
            "isAvailable": available,
            "isFailing": failures > 0,
            "isPaused": False,
            "silence": silence.total_seconds() if silence and heard is not None else 0,
        }
        for heard, measured, available, failures, silence in cases
    ]
    said = script.evaluate(
        "(script, [cases, now, late]) => cases.map((one) => script.freshness(one, now, late))",
        [told, now.timestamp(), late.total_seconds()],
    )
    times = [[now - age if age is not None else None for age in case[:2]] for case in cases]
    expected = []
    for (heard, measured), case in zip(times, cases, strict=True):
        due_at = heard + case[4] if heard and case[4] else None
        expected.append(freshness(heard, measured, *case[2:4], now, due_at).value)
    assert said == expected
