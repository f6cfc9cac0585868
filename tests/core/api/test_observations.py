"""Values over time: raw and by spans, in pages and streamed, and only of what one may see."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from core.models import Attribute, Observation, Silence
from core.serializers import utc_text
from core.tasks import observations
from core.tasks.events.outbox import publishing

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def power(device):
    return device.attributes.get(name="power")


@pytest.fixture
def switch(device):
    return device.attributes.get(name="on")


def store(attribute, *values, start=NOON, every=MINUTE, until=None):
    """Values at regular times; heard until the last of them, or until another time."""
    rows = [
        Observation(
            attribute=attribute,
            observed_at=start + place * every,
            **({"text": value} if isinstance(value, str) else {"number": float(value)}),
        )
        for place, value in enumerate(values)
    ]
    Observation.objects.bulk_create(rows)
    attribute.heard_at = until or (rows[-1].observed_at if rows else None)
    attribute.save()


def results(response):
    assert response.status_code == 200, response.content
    return response.json()["results"]


def text_of(response):
    assert response.status_code == 200
    return b"".join(response.streaming_content).decode()


def test_an_observation_is_a_row(viewer, power):
    store(power, 20.5)
    assert results(viewer.get("/observations/")) == [
        {
            "attribute": power.pk,
            "device": power.device_id,
            "name": "power",
            "unit": "W",
            "observed_at": "2026-03-28T12:00:00.000Z",
            "value": 20.5,
        }
    ]


def test_a_switch_is_true_or_false_in_every_format(viewer, switch):
    store(switch, 1, 0)
    assert [row["value"] for row in results(viewer.get("/observations/"))] == [True, False]
    lines = text_of(viewer.get("/observations/", format="ndjson")).splitlines()
    assert [json.loads(line)["value"] for line in lines] == [True, False]
    rows = text_of(viewer.get("/observations/", format="csv")).splitlines()[1:]
    assert [row.rpartition(",")[2] for row in rows] == ["true", "false"]


@pytest.mark.parametrize("order", ["observed_at", "-observed_at"])
def test_pages_hold_everything_once(viewer, power, switch, order):
    store(power, *range(7))
    store(switch, 1, 0, 1)
    seen, address = [], f"/observations/?limit=2&order={order}"
    while address:
        page = viewer.get(address).json()
        seen += [(row["attribute"], row["value"]) for row in page["results"]]
        address = page["next"] and page["next"].partition("/api/v1")[2]
    step = -1 if order.startswith("-") else 1
    expected = [(switch.pk, value) for value in [True, False, True][::step]]
    assert seen == expected + [(power.pk, float(value)) for value in list(range(7))[::step]]


def test_a_range_is_after_its_start_and_up_to_its_end(viewer, power):
    store(power, 0, 1, 2, 3)
    found = viewer.get(
        "/observations/", since="2026-03-28T12:00:00Z", until="2026-03-28T13:02:00+01:00"
    )
    assert [row["value"] for row in results(found)] == [1, 2]


def test_observations_are_found_by_attribute_device_and_name(viewer, power, switch, other):
    lamp = other.attributes.get(name="power")
    for attribute in (power, switch, lamp):
        store(attribute, 1)

    def found(**parameters):
        return {row["attribute"] for row in results(viewer.get("/observations/", **parameters))}

    assert found(attribute=f"{power.pk},{lamp.pk}") == {power.pk, lamp.pk}
    assert found(device=power.device_id) == {power.pk, switch.pk}
    assert found(gateway=other.gateway_id, name="power") == {lamp.pk}
    assert found(name="power") == {power.pk, lamp.pk}


def test_who_is_limited_gets_no_other_rows_in_any_format(limited, power, other):
    lamp = other.attributes.get(name="power")
    store(power, 1)
    store(lamp, 2)
    for form in ("csv", "ndjson"):
        assert "lamp" not in text_of(limited.get("/observations/", format=form))
        assert f"\n{lamp.pk}," not in text_of(limited.get("/observations/", format=form))
    assert {row["attribute"] for row in results(limited.get("/observations/"))} == {power.pk}
    assert results(limited.get("/observations/", attribute=lamp.pk)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("attribute", text) for text in ("x", "0", "-1", "1,", ",", "1, 2", "9" * 30, "١")),
        *(("since", text) for text in ("yesterday", "2026-03-28T12:00:00")),
        *(("every", text) for text in ("1s", "0h", "")),
        *(("format", text) for text in ("xml", "")),
        ("order", "value"),
    ],
)
def test_a_wrong_parameter_is_named(viewer, name, value):
    response = viewer.get("/observations/", **{name: value})
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [name]


@pytest.mark.parametrize(
    "values",
    [
        (0, 1, -2.5, 0.1, 1 / 3, 1e15, -1e-7, 123456789.123),
        ("heat", "", 'say "hi", and\r\ngo', "Grüße 🌡", "a\\b", "true"),
    ],
)
def test_every_value_comes_back_from_every_format(viewer, power, values):
    """Of a text that was stored when the attribute was one, too."""
    store(power, *values, start=NOON + timedelta(microseconds=999_999))
    times = [utc_text(one) for one in Observation.objects.values_list("observed_at", flat=True)]
    told = results(viewer.get("/observations/"))
    assert [row["observed_at"] for row in told] == sorted(times)
    lines = [
        json.loads(line)
        for line in text_of(viewer.get("/observations/", format="ndjson")).split("\n")[:-1]
    ]
    assert lines == told
    table = csv.DictReader(
        io.StringIO(text_of(viewer.get("/observations/", format="csv")), newline="")
    )
    for row, expected in zip(table, told, strict=True):
        assert row["observed_at"] == expected["observed_at"]
        is_text = isinstance(expected["value"], str)
        assert (row["value"] if is_text else float(row["value"])) == expected["value"]


def test_the_format_is_chosen_by_the_header_too(viewer, power):
    store(power, 1)
    response = viewer.get("/observations/", headers={"Accept": "text/csv"})
    assert response["Content-Type"].startswith("text/csv")
    assert text_of(response).startswith("attribute,device,name,unit,observed_at,value\r\n")


def test_a_table_is_made_in_blocks(viewer, power, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(observations, "BLOCK", 3)
    store(power, *range(7))
    response = viewer.get("/observations/", format="csv", attribute=power.pk)
    with django_assert_num_queries(3):
        assert text_of(response).count("\r\n") == 8


def test_many_short_series_are_read_together(viewer, device, django_assert_max_num_queries):
    attributes = [Attribute(device=device, name=f"a{place}", kind="number") for place in range(60)]
    for place, attribute in enumerate(Attribute.objects.bulk_create(attributes)):
        store(attribute, *range(place % 3))
    response = viewer.get("/observations/", format="csv")
    with django_assert_max_num_queries(2):
        assert text_of(response).count("\r\n") == 1 + 60


@pytest.mark.parametrize("block", [2, 3, 7, 20, 5000])
@pytest.mark.parametrize("parameters", [{}, {"since": "2026-03-28T12:01:00Z"}])
def test_read_together_or_one_by_one_a_table_is_the_same(
    viewer, device, monkeypatch, block, parameters
):
    monkeypatch.setattr(observations, "BLOCK", block)
    attributes = [Attribute(device=device, name=f"a{place}", kind="number") for place in range(9)]
    for attribute, length in zip(
        Attribute.objects.bulk_create(attributes), [1, 0, 12, 2, 0, 3, 40, 4, 1], strict=True
    ):
        store(attribute, *range(length))
    lines = text_of(viewer.get("/observations/", format="ndjson", **parameters)).splitlines()
    rows = results(viewer.get("/observations/", limit=1000, **parameters))
    assert [json.loads(line) for line in lines] == rows
    assert len(rows) == (51 if parameters else 63)


@pytest.mark.parametrize("block", [1, 2, 3, 5])
@pytest.mark.parametrize("since", ["2026-03-28T11:00:00Z", "2026-03-28T12:00:00.000250Z"])
def test_several_observations_of_one_millisecond_are_each_in_the_table(
    viewer, power, monkeypatch, block, since
):
    monkeypatch.setattr(observations, "BLOCK", block)
    store(power, *[1] * 3, *range(9), every=timedelta(microseconds=200))
    table = text_of(viewer.get("/observations/", format="csv", since=since))
    numbers = [line.rpartition(",")[2] for line in table.splitlines()[1:]]
    assert numbers == [str(number) for number in [*[1] * 3, *range(9)]][-len(numbers) :]
    assert len(numbers) == (12 if since.endswith("11:00:00Z") else 10)


# Spans


def spans(api, attribute, **parameters):
    asked = {"since": "2026-03-28T12:00:00Z", "until": "2026-03-28T15:00:00Z", "every": "1h"}
    return results(api.get("/observations/", attribute=attribute.pk, **{**asked, **parameters}))


def test_a_mean_is_weighted_by_time(viewer, power):
    store(power, 0, 60, every=45 * MINUTE, until=NOON + 2 * HOUR)
    first, second, third = spans(viewer, power)
    assert (first["mean"], first["minimum"], first["maximum"]) == (15, 0, 60)
    assert (second["mean"], second["coverage"]) == (60, 1)
    assert (third["mean"], third["minimum"], third["coverage"]) == (None, None, 0)


def test_a_span_counts_its_observations(viewer, power):
    store(power, 0, 60, every=45 * MINUTE, until=NOON + 2 * HOUR)
    assert [one["count"] for one in spans(viewer, power)] == [2, 0, None]
    assert [one["minutes_on"] for one in spans(viewer, power)] == [None, None, None]


def test_a_switch_says_how_long_it_was_on(viewer, switch):
    store(switch, 1, 0, 1, every=40 * MINUTE, until=NOON + 2 * HOUR)
    assert [one["minutes_on"] for one in spans(viewer, switch)] == [40, 40, None]
    assert [one["count"] for one in spans(viewer, switch)] == [2, 1, None]


def test_a_silence_is_no_data(viewer, power):
    store(power, 10, until=NOON + 3 * HOUR)
    Silence.objects.create(attribute=power, starts_at=NOON + 30 * MINUTE, ends_at=NOON + 2 * HOUR)
    assert [(one["mean"], one["coverage"]) for one in spans(viewer, power)] == [
        (10, 0.5),
        (None, 0),
        (10, 1),
    ]


def test_a_value_of_before_holds_on(viewer, power):
    store(power, 7, start=NOON - 5 * HOUR, until=NOON + 3 * HOUR)
    assert [one["mean"] for one in spans(viewer, power)] == [7, 7, 7]


def test_spans_are_the_same_whatever_the_blocks(viewer, power, monkeypatch):
    store(power, *range(150), until=NOON + 3 * HOUR)
    Silence.objects.create(
        attribute=power, starts_at=NOON + 59.5 * MINUTE, ends_at=NOON + 60 * MINUTE
    )
    whole = spans(viewer, power, every="10m")
    monkeypatch.setattr(observations, "BLOCK", 7)
    assert spans(viewer, power, every="10m") == whole
    assert len(whole) == 18
    assert whole[0]["mean"] == pytest.approx(4.5)
    assert whole[5]["coverage"] == pytest.approx(0.95)


def test_spans_come_in_pages_too(viewer, power, switch):
    store(power, *range(170))
    store(switch, *[1, 0] * 85)
    parameters = {"since": "2026-03-28T12:00:00Z", "until": "2026-03-28T15:00:00Z", "every": "15m"}
    whole = results(viewer.get("/observations/", **parameters))
    seen, page = [], viewer.get("/observations/", limit=5, **parameters).json()
    while True:
        seen += page["results"]
        if not page["next"]:
            break
        page = viewer.get(page["next"].partition("/api/v1")[2]).json()
    assert seen == whole
    assert len(whole) == 24


def test_spans_are_streamed_too(viewer, power):
    store(power, *range(170))
    told = spans(viewer, power)
    asked = {"since": "2026-03-28T12:00:00Z", "until": "2026-03-28T15:00:00Z", "every": "1h"}
    lines = text_of(viewer.get("/observations/", format="ndjson", attribute=power.pk, **asked))
    assert [json.loads(line) for line in lines.splitlines()] == told
    table = text_of(viewer.get("/observations/", format="csv", attribute=power.pk, **asked))
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [float(row["mean"]) for row in rows] == [row["mean"] for row in told]


def test_days_are_those_of_the_clock_at_home(viewer, power):
    """In Berlin 29 March 2026 has 23 hours."""
    with publishing():
        power.device.zone = "Europe/Berlin"
        power.device.save()
    store(power, 1, until=NOON + 72 * HOUR)
    found = spans(viewer, power, every="1d", until="2026-03-30T12:00:00Z")
    assert [one["starts_at"][:16] for one in found] == [
        "2026-03-27T23:00",
        "2026-03-28T23:00",
        "2026-03-29T22:00",
    ]
    assert found[0]["coverage"] == pytest.approx(11 / 24, abs=1e-6)


def test_spans_need_a_start(viewer, power):
    response = viewer.get("/observations/", every="1h")
    assert response.status_code == 422
    assert "since" in response.json()["detail"]


def test_a_text_has_no_spans(viewer, device):
    mode = Attribute.objects.create(device=device, name="mode", kind="text")
    store(mode, "heat", "cool")
    assert spans(viewer, mode) == []


@pytest.mark.parametrize(
    "cursor", ["x", "WyIgb2JzZXJ2ZWRfYXQiLDEsMl0", "WyIgb2JzZXJ2ZWRfYXQiLC0xLCIyMDI2Il0"]
)
def test_a_cursor_that_is_none_is_refused(viewer, power, cursor):
    assert viewer.get("/observations/", cursor=cursor).status_code == 404


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "query", [observations.BLOCK_QUERY, observations.FIRST_ROWS["postgresql"]], ids=["one", "many"]
)
def test_the_table_is_read_by_its_index(power, query):
    time_text, number = observations.TEXTS["postgresql"]
    query = query.format(time=time_text, number=number)
    asked = {"pk": power.pk, "pks": [power.pk], "since": NOON, "until": NOON + HOUR, "most": 10}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + query, asked)
        plan = " ".join(row[0] for row in cursor.fetchall())
    assert "one_observation_per_time" in plan
    assert "Sort" not in plan or "place" in query  # of many, those of each are put in order
