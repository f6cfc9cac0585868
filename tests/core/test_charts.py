"""Lines that hold, break where nothing was heard, and can be read at any place."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from core.charts import (
    COLUMNS,
    Around,
    Band,
    bands,
    draw,
    place,
    round_levels,
    sparkline,
    time_ticks,
)
from core.planning.timeline import Piece, from_samples, held

START = datetime(2026, 11, 21, tzinfo=UTC)
HOUR = timedelta(hours=1)
END = START + 24 * HOUR


def at(hours):
    return START + hours * HOUR


def spans(pieces):
    return [
        ((piece.start - START) / HOUR, (piece.end - START) / HOUR, piece.value) for piece in pieces
    ]


@pytest.mark.parametrize(
    ("points", "silences", "expected"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([(1, 5.0)], [], [(1, 20, 5.0)], id="a value holds to when it was last heard"),
        pytest.param([(-9, 5.0)], [], [(0, 20, 5.0)], id="one from before the start holds into it"),
        pytest.param(
            [(-9, 4.0), (-8, 5.0)],
            [],
            [(0, 20, 5.0)],
            id="of those before the start the last holds",
        ),
        pytest.param(
            [(1, 5.0), (3, 6.0)], [], [(1, 3, 5.0), (3, 20, 6.0)], id="until another is told"
        ),
        pytest.param(
            [(1, 5.0), (9, 6.0)], [(2, 9)], [(1, 2, 5.0), (9, 20, 6.0)], id="a silence is a gap"
        ),
        pytest.param(
            [(1, 5.0)],
            [(2, 4)],
            [(1, 2, 5.0), (4, 20, 5.0)],
            id="told again after it, it holds again",
        ),
        pytest.param(
            [(2, 5.0), (9, 6.0)], [(2, 9)], [(2, 2, 5.0), (9, 20, 6.0)], id="seen once is a point"
        ),
        pytest.param(
            [(1, 5.0)],
            [(2, 4), (6, 8)],
            [(1, 2, 5.0), (4, 6, 5.0), (8, 20, 5.0)],
            id="two silences",
        ),
        pytest.param([(-5, 5.0)], [(-4, 3)], [(3, 20, 5.0)], id="a silence over the start"),
        pytest.param([(-9, 5.0)], [(-8, -7)], [(0, 20, 5.0)], id="a silence before the start"),
        pytest.param([(1, 5.0)], [(6, 30)], [(1, 6, 5.0)], id="a silence over the end"),
        pytest.param([(20, 5.0)], [], [(20, 20, 5.0)], id="told just now is a point"),
        pytest.param([(21, 5.0)], [], [], id="later than heard is left out"),
    ],
)
def test_values_hold_and_silences_break_them(points, silences, expected):
    told = [(at(hours), value) for hours, value in points]
    silent = [(at(begin), at(end)) for begin, end in silences]
    assert spans(held(told, silent, START, at(20))) == expected


def test_samples_hold_until_the_next_unless_nobody_knew_it():
    times = [at(hours) for hours in range(5)]
    assert spans(from_samples(times, [1.0, 2.0, None, 3.0, 4.0])) == [
        (0, 1, 1.0),
        (1, 1, 2.0),
        (3, 4, 3.0),
        (4, 4, 4.0),
    ]
    assert from_samples([], []) == []


def test_a_sparkline_breaks_at_gaps():
    path = sparkline([0.0, 10.0, None, 5.0])
    assert path == "M0 95h0H33.3V5M100 50h0"


@pytest.mark.parametrize("values", [[], [None, None]])
def test_a_sparkline_of_nothing_is_nothing(values):
    assert sparkline(values) == ""


def test_a_flat_sparkline_lies_in_the_middle():
    assert sparkline([7.0, 7.0]) == "M0 50h0H100V50"


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [
        (0, 1, [0, 0.5, 1]),
        (0, 1383, [0, 500, 1000, 1500]),
        (18.2, 22.7, [18, 20, 22, 24]),
        (-3.1, 4.4, [-4, -2, 0, 2, 4, 6]),
        (0.001, 0.0034, [0.001, 0.002, 0.003, 0.004]),
        (230.01, 230.02, [230.01, 230.015, 230.02]),
    ],
)
def test_levels_are_round_and_hold_everything(low, high, levels):
    assert round_levels(low, high) == levels


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-9, 1e15, -1e15])
def test_a_flat_line_can_be_drawn_at_any_height(value):
    chart = draw([Piece(START, END, value)], START, END)
    assert "nan" not in chart.line
    assert all(0 <= tick.place <= 100 for tick in chart.y_ticks)


def test_values_that_differ_by_less_than_a_float_can_say_are_flat():
    draw([Piece(START, at(1), 1e15), Piece(at(1), END, 1e15 + 0.125)], START, END)


@pytest.mark.parametrize(("low", "first"), [(400.0, "0"), (600.0, "600")])
def test_the_axis_starts_at_zero_where_that_costs_less_than_half(low, first):
    chart = draw([Piece(START, at(1), low), Piece(at(1), END, 1000.0)], START, END)
    assert chart.y_ticks[0].label == first


def test_negative_values_hang_from_zero():
    assert (
        draw([Piece(START, at(1), -1000.0), Piece(at(1), END, -100.0)], START, END)
        .y_ticks[-1]
        .label
        == "0"
    )


def test_the_line_has_one_stroke_for_each_stretch_without_gap():
    chart = draw(
        [Piece(at(0), at(6), 0.0), Piece(at(6), at(12), 1.0), Piece(at(18), at(24), 1.0)],
        START,
        END,
    )
    assert chart.line == "M0 1000H250V0H500M750 0H1000"
    assert chart.area.count("Z") == 2


def test_what_is_on_or_off_has_two_levels():
    chart = draw([Piece(START, END, 1.0)], START, END, words=("off", "on"))
    assert [tick.label for tick in chart.y_ticks] == ["off", "on"]


def test_what_is_drawn_beside_shares_the_scale():
    low, high = [Piece(START, END, 10.0)], [Piece(START, END, 400.0)]
    assert draw(low, START, END, beside=high).y_ticks == draw(high, START, END, beside=low).y_ticks


def test_bands_are_cut_at_the_edges_and_those_outside_left_out():
    stretches = [
        (at(-3), at(6)),
        (at(12), at(18)),
        (at(23), at(99)),
        (at(30), at(40)),
        (at(5), at(5)),
    ]
    assert bands(stretches, START, END) == [Band(0, 25), Band(50, 25), Band(95.833, 4.167)]
    assert bands(stretches, START, END)[1].middle == 62.5
    assert place(at(6), START, END) == 25


def test_every_column_tells_its_last_value_and_how_far_it_went():
    pieces = [
        Piece(at(0), at(12), 5.0),
        *(Piece(at(12 + n / 100), at(12 + (n + 1) / 100), float(n)) for n in range(10)),
    ]
    columns = draw(pieces, START, END).columns
    assert len(columns) == COLUMNS
    assert (columns[0].low, columns[0].value, columns[0].high) == (5, 5, 5)
    assert (columns[120].low, columns[120].value, columns[120].high) == (0, 9, 9)
    assert columns[130].value is None
    assert columns[120].at == at(12)


@pytest.mark.parametrize(
    ("hours", "labels"),
    [
        (24, ["00:00", "04:00", "08:00", "12:00", "16:00", "20:00", "00:00"]),
        (7 * 24, ["15 Nov", "16 Nov", "17 Nov", "18 Nov", "19 Nov", "20 Nov", "21 Nov"]),
    ],
)
def test_times_are_marked_at_round_hours_or_midnights(hours, labels):
    end = END if hours == 24 else START + 10 * HOUR
    assert [tick.label for tick in time_ticks(end - hours * HOUR, end) if tick.shown] == labels


@pytest.mark.parametrize("days", [1, 7, 30])
def test_there_are_ticks_for_every_zone_on_earth(days):
    ticks = time_ticks(END - timedelta(days=days), END)
    for shift in range(-12, 15):
        moved = [tick.place + 100 * shift / (24 * days) for tick in ticks]
        assert 5 <= sum(0 <= place <= 100 for place in moved) <= 8


def test_paths_hold_only_what_a_path_may():
    chart = draw([Piece(at(n / 7), at((n + 1) / 7), n * 1.337) for n in range(100)], START, END)
    assert re.fullmatch(r"[MHVZ\d. -]+", chart.line + chart.area)


def test_the_band_goes_along_the_greatest_values_and_back_along_the_least():
    means, lows, highs = (
        [Piece(START, at(12), 5 + add), Piece(at(12), END, 6 + add)] for add in (0, -5, 4)
    )
    chart = draw(means, START, END, around=Around(lows, highs))
    assert chart.band == "M0 100H500V0H1000V900H500V1000H0Z"
    assert (chart.columns[0].low, chart.columns[0].value, chart.columns[0].high) == (0, 5, 9)
    assert chart.area == ""
    assert draw(means, START, END).band == ""
