"""Tables of observations: long, by spans, wide, gaps; as CSV, NDJSON and Parquet."""

import csv
import io
import json
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from core.models import Attribute, Observation, Silence
from core.readings import Kind
from core.tasks import export_observations as task
from core.tasks.events.outbox import publishing
from core.tasks.export_observations import Wanted
from tests.core.tasks.homes import make_device, make_gateway

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def plug():
    return make_device(make_gateway())


@pytest.fixture
def power(plug):
    return plug.attributes.get(name="power")


def store(attribute, *values, start=NOON, every=10 * MINUTE):
    rows = [
        Observation(
            attribute=attribute,
            observed_at=start + place * every,
            **({"text": value} if isinstance(value, str) else {"number": float(value)}),
        )
        for place, value in enumerate(values)
    ]
    Observation.objects.bulk_create(rows)
    Attribute.objects.filter(pk=attribute.pk).update(heard_at=rows[-1].observed_at)


def silent(attribute, since, until):
    Silence.objects.create(
        attribute=attribute, starts_at=NOON + since * MINUTE, ends_at=NOON + until * MINUTE
    )


def exported(*arguments):
    out = io.StringIO()
    call_command("export_observations", *map(str, arguments), stdout=out)
    return out.getvalue()


def rows_of(*arguments):
    return list(csv.DictReader(io.StringIO(exported(*arguments))))


def test_one_row_is_one_observation_in_utc_with_its_unit(power):
    store(power, 20.5)
    assert rows_of() == [
        {
            "attribute": str(power.pk),
            "device": str(power.device_id),
            "name": "power",
            "unit": "W",
            "observed_at": "2026-03-28T12:00:00.000Z",
            "value": "20.5",
        }
    ]


def test_local_times_carry_their_offset_also_where_clocks_change(power):
    call_command("set_site", zone="Europe/Berlin", stdout=io.StringIO())
    store(power, 1, 2, start=datetime(2026, 3, 29, 0, 30, tzinfo=UTC), every=60 * MINUTE)
    assert [row["observed_at"] for row in rows_of("--local")] == [
        "2026-03-29T01:30:00.000+01:00",
        "2026-03-29T03:30:00.000+02:00",
    ]


def test_devices_attributes_and_times_are_chosen(plug, power):
    other = make_device(plug.gateway, "other").attributes.get(name="power")
    store(power, 1, 2, 3)
    store(other, 4)
    store(plug.attributes.get(name="on"), 1)
    chosen = ("--device", plug.pk, "--attribute", "power")
    times = ("--from", "2026-03-28T12:00", "--to", "2026-03-28T12:10+00:00")
    assert [row["value"] for row in rows_of(*chosen)] == ["1", "2", "3"]
    assert [row["value"] for row in rows_of(*chosen, *times)] == ["2"]


@pytest.mark.parametrize("start", "=+-@\t\r＝＋－＠")
def test_a_text_is_no_formula_of_a_spreadsheet(plug, start):
    mode = Attribute.objects.create(device=plug, name=f"{start}mode", kind=Kind.TEXT)
    store(mode, f'{start}HYPERLINK("http://evil.example","x")')
    for table in ((), ("--wide",)):
        cells = next(csv.reader(io.StringIO(exported(*table).partition("\r\n")[2])))
        assert cells[-1].startswith(f"'{start}HYPERLINK") and not cells[2].startswith(start)
    assert json.loads(exported("--format", "ndjson"))["value"].startswith(start)


def test_a_negative_number_stays_a_number(power):
    store(power, -20.5)
    assert rows_of()[0]["value"] == rows_of("--wide")[0]["power (W)"].strip() == "-20.5"


def test_gaps_are_a_table(power):
    silent(power, 5, 25)
    [gap] = rows_of("--gaps")
    assert gap["name"] == "power" and gap["unit"] == "W"
    assert gap["starts_at"] == "2026-03-28T12:05:00.000Z"
    assert gap["ends_at"] == "2026-03-28T12:25:00.000Z"


def test_a_wide_row_holds_what_held_then_and_nothing_in_a_gap(plug, power):
    store(power, 1, 2, 5)
    store(plug.attributes.get(name="on"), 1, 0, every=15 * MINUTE)
    silent(power, 12, 17)
    rows = rows_of("--wide")
    assert [(row["observed_at"][11:23], row["on"], row["power (W)"]) for row in rows] == [
        ("12:00:00.000", "1.0", "1.0"),
        ("12:10:00.000", "1.0", "2.0"),
        ("12:12:00.001", "1.0", ""),
        ("12:15:00.000", "0.0", ""),
        ("12:17:00.000", "0.0", "2.0"),
        ("12:20:00.000", "0.0", "5.0"),
    ]


def test_a_wide_row_agrees_with_what_charts_are_drawn_from(plug, power):
    """Each cell against Observation.sample(), an independent query."""
    on = plug.attributes.get(name="on")
    store(power, *range(30), every=7 * MINUTE)
    store(on, *[0, 1] * 10, every=11 * MINUTE)
    for since, until in ((1, 6), (22, 27), (50, 55)):
        silent(power, since, until)
    silent(on, 12, 21)
    rows = rows_of("--wide")
    times = [datetime.fromisoformat(row["observed_at"]) for row in rows]
    held = Observation.objects.sample([power.pk, on.pk], times)
    for pk, name in ((power.pk, "power (W)"), (on.pk, "on")):
        assert [float(row[name]) if row[name] else None for row in rows] == held[pk]


def test_units_never_share_a_column(plug, power):
    other = make_device(plug.gateway, "other").attributes.get(name="power")
    Attribute.objects.filter(pk=other.pk).update(unit="kW")
    store(power, 1500)
    store(other, 1.5)
    assert [(row["power (W)"], row["power (kW)"]) for row in rows_of("--wide")] == [
        ("1500.0", ""),
        ("", "1.5"),
    ]


@pytest.mark.parametrize("shape", [(), ("--wide",)])
def test_spans_say_how_much_of_them_is_known(plug, power, shape):
    store(power, 10, 20, 30, every=30 * MINUTE)
    silent(power, 30, 45)
    options = ("--attribute", "power", "--every", 60, "--from", "2026-03-28T12:00")
    [row] = rows_of(*options, "--to", "2026-03-28T13:00", *shape)
    assert row["coverage"] == "0.75"
    mean = (10 * 30 + 20 * 15) / 45
    assert float(row["power (W)" if shape else "mean"]) == pytest.approx(mean)


def test_while_a_wide_table_is_made_the_clock_may_go_on(plug, power, time_machine):
    store(power, 10, 20, 30)
    store(Attribute.objects.create(device=plug, name="energy", kind=Kind.NUMBER), 1, 2, 3)
    time_machine.move_to(NOON + 30 * MINUTE, tick=False)

    def take_a_minute(execute, *query):
        time_machine.shift(60)
        return execute(*query)

    attributes = task.attributes_of(names=("power", "energy"))
    wanted = Wanted(attributes, since=NOON, every=MINUTE, is_wide=True)
    with connection.execute_wrapper(take_a_minute):
        table = "".join(task.text_of(wanted)).splitlines()
    assert len(table) == 1 + 30


def test_a_unit_in_the_name_is_no_fault(plug, power):
    store(power, 1500)
    Attribute.objects.create(device=plug, name="power (W)", kind=Kind.NUMBER)
    mode = Attribute.objects.create(device=plug, name="mode", kind=Kind.TEXT)
    store(mode, "heat")
    assert rows_of("--wide")[0]["mode"] == "heat"


@pytest.mark.parametrize("shape", [(), ("--wide",), ("--gaps",)])
def test_ndjson_and_parquet_hold_the_same(plug, power, tmp_path, shape):
    parquet = pytest.importorskip("pyarrow.parquet")
    store(power, 1, -2, 3)
    store(Attribute.objects.create(device=plug, name="mode", kind=Kind.TEXT), "heat", "=off")
    silent(power, 12, 17)
    lines = [json.loads(line) for line in exported("--format", "ndjson", *shape).splitlines()]
    exported("--output", tmp_path / "table.parquet", *shape)
    table = parquet.read_table(tmp_path / "table.parquet")
    rows = table.to_pylist()
    assert len(rows) == len(lines) > 0
    for row, line in zip(rows, lines, strict=True):
        if not shape:
            text, number = row.pop("text"), row["value"]
            row["value"] = number if text is None else text
        for name, cell in row.items():
            told = line[name]
            assert cell == (datetime.fromisoformat(told) if isinstance(cell, datetime) else told)


def test_without_pyarrow_it_says_what_to_install(power, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    store(power, 1)
    with pytest.raises(CommandError, match="pip install pyarrow"):
        exported("--output", tmp_path / "table.parquet")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "2026-03-02", "--to", "2026-03-01"), "--to is not after --from"),
        (("--attribute", "colour"), "No such attribute: colour"),
        (("--device", 4711), "There is no device 4711"),
        (("--every", 60), "--every needs --from"),
        (("--gaps", "--wide"), "table of its own"),
        (("--format", "parquet"), "name a file"),
    ],
)
def test_a_wrong_wish_is_a_sentence(plug, arguments, says):
    with pytest.raises(CommandError, match=says):
        exported(*arguments)


def test_removed_devices_are_not_exported(plug, power):
    store(power, 1)
    with publishing():
        plug.removed_at = NOON
        plug.save()
    assert rows_of() == []


@pytest.mark.parametrize("shape", [{}, {"is_wide": True}])
def test_five_times_the_rows_take_no_more_memory(plug, power, shape):
    def peak(rows):
        Observation.objects.all().delete()
        store(power, *range(rows), every=MINUTE)
        wanted = Wanted([power], **shape)
        tracemalloc.start()
        length = sum(len(piece) for piece in task.text_of(wanted))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return length, most

    (short, little), (long, much) = peak(12_000), peak(60_000)
    assert long > 4 * short
    assert much < 1.3 * little + 500_000
