"""The nowcast of lightning, on storms that are made: where they are and how they move is known."""

import random
import subprocess
import sys

import pytest

from core.feeds import _nowcast
from core.feeds._cells import KM_PER_DEGREE, offset
from core.feeds._nowcast import Nowcast, chances
from core.feeds._strikes import LOOK_SECONDS, Look, Place, Strike, looks, read_strikes

NOON = 1_785_758_400.0  # 3 August 2026, 12:00 UTC
HALF_HOUR = 1800.0
KM = 1 / KM_PER_DEGREE


def storm(east=0.0, north=0.0, at=NOON, strikes=40):
    """A look of a hundred seconds at a storm so many km from 0, 0."""
    source = random.Random(13)
    places = [
        Place((north + source.gauss(0, 6)) * KM, (east + source.gauss(0, 6)) * KM)
        for _ in range(strikes)
    ]
    return Look(at, 140.0, places)


def calm(at=NOON):
    return Look(at, 140.0, ())


def within_an_hour(place, newest, before=None):
    """The chances of each window, of one place."""
    return chances([place], newest, before, newest.ended_at)[0]


def test_a_strike_is_likelier_the_nearer_the_storm():
    places = [Place(0, km * KM) for km in (0, 40, 120, 299)]
    told = [soon for soon, _, _ in chances(places, storm(), storm(at=NOON - HALF_HOUR), NOON)]
    assert told == sorted(told, reverse=True)
    assert 1 > told[0] > 0.4 > 0.05 > told[2]


def test_without_lightning_there_is_hardly_a_chance():
    assert max(within_an_hour(Place(0, 0), calm(), calm(NOON - HALF_HOUR))) < 0.01


@pytest.mark.parametrize(("east", "north"), [(40, 0), (-40, 0), (0, 40), (0, -40), (0, 0)])
def test_the_motion_of_a_cell_is_found(east, north):
    before = storm(-east / 2, -north / 2, NOON - HALF_HOUR)
    moving = Nowcast(storm(), before, [Place(0, 0)]).cells
    largest = max(moving, key=lambda cell: cell.strikes)
    assert (largest.east_kmh, largest.north_kmh) == pytest.approx((east, north), abs=10)


def test_where_a_storm_goes_a_strike_is_likelier_than_where_it_came_from():
    before = storm(-20, at=NOON - HALF_HOUR)
    [ahead], [behind] = (
        Nowcast(storm(), before, [place]).chances_of_a_look([place], 0.75)
        for place in (Place(0, 30 * KM), Place(0, -30 * KM))
    )
    assert ahead > 1.5 * behind


def test_a_growing_storm_is_likelier_to_last_than_one_that_dies():
    growing, dying = storm(at=NOON - HALF_HOUR, strikes=4), storm(at=NOON - HALF_HOUR, strikes=400)
    place = Place(0, 0)
    assert Nowcast(storm(), None, [place]).cells == []
    grown = Nowcast(storm(), growing, [place]).features([place], 0.5)[0]
    died = Nowcast(storm(), dying, [place]).features([place], 0.5)[0]
    assert grown[:13] == pytest.approx(died[:13], abs=0.5)  # now and moved
    assert sum(grown[13:19]) < sum(died[13:19])  # before


def test_distances_hold_across_the_date_line_and_towards_the_poles():
    assert offset(Place(0, 179.95), Place(0, -179.95)).east == pytest.approx(11.1, abs=0.1)
    assert offset(Place(60, 0), Place(60, 1)).east == pytest.approx(55.6, abs=0.1)
    look = Look(NOON, 140.0, [Place(0, -179.95)])
    [around, _] = Nowcast(look, None, [Place(0, 179.95)]).around(Place(0, 179.95))
    assert around.nearest == pytest.approx(11.1, abs=0.1)
    near_the_pole = Nowcast(Look(NOON, 140.0, [Place(89.9, 0)]), None, [Place(89.9, 90)])
    assert near_the_pole.around(Place(89.9, 90))[0].nearest < 300


def test_many_places_are_told_as_each_alone():
    places = [Place(number / 30, number / 20) for number in range(30)]
    newest, before = storm(50, 50), storm(40, 50, NOON - HALF_HOUR)
    together = chances(places, newest, before, NOON)
    assert len(together) == len(places)
    for place, told in list(zip(places, together, strict=True))[::7]:
        assert within_an_hour(place, newest, before) == pytest.approx(told)


def test_no_places_have_no_chances():
    assert chances([], storm(), None, NOON) == []


def test_what_is_seen_longer_is_no_larger_storm():
    place = Place(0, 5 * KM)
    longer = Look(NOON, 4 * 140.0, [*storm().places] * 4)
    short, long = (Nowcast(look, None, [place]).around(place)[0] for look in (storm(), longer))
    assert long.counts == pytest.approx(short.counts)


# Looks


def test_the_newest_look_and_one_of_half_an_hour_before():
    told = [Strike(NOON - 60 * minute, 0.0, float(minute)) for minute in range(90, -1, -1)]
    newest, before = looks(told, NOON)
    assert (newest.ended_at, newest.seconds) == (NOON, LOOK_SECONDS)
    assert {place.longitude for place in newest.places} == set(map(float, range(11)))
    assert {place.longitude for place in before.places} == set(map(float, range(26, 37)))


def test_looks_that_come_now_and_then_are_taken_as_they_are():
    told = [Strike(NOON - 50 * 60 - second, 1.0, 1.0) for second in range(140, -1, -20)]
    told += [Strike(NOON - second, 2.0, 2.0) for second in range(140, -1, -20)]
    newest, before = looks(told, NOON + 300)
    assert (newest.ended_at, newest.seconds, len(newest.places)) == (NOON, 140, 8)
    assert (before.ended_at, len(before.places)) == (NOON - 50 * 60, 8)


def test_who_watched_and_saw_nothing_has_a_look_without_strikes():
    newest, before = looks([Strike(NOON - 60)], NOON)
    assert (newest.places, before) == ([], None)


def test_what_is_too_old_is_not_looked_at_nor_is_the_future():
    assert looks([Strike(NOON - 101 * 60, 0.0, 0.0)], NOON) == (None, None)
    assert looks([Strike(NOON + 60, 0.0, 0.0)], NOON) == (None, None)
    assert looks([], NOON) == (None, None)


# Files


def test_a_file_of_strikes_is_read():
    lines = ["lon,time_utc,lat", "-110.03,2026-08-09T21:36:40Z,34.25", ",2026-08-09T21:37:40Z,"]
    struck, watched = read_strikes(lines)
    assert (struck.latitude, struck.longitude) == (34.25, -110.03)
    assert watched == Strike(struck.at + 60)


@pytest.mark.parametrize(
    "row", ["soon,1,1", "2026-08-09T21:36:40Z,91,1", "2026-08-09T21:36:40Z,nan,1", "2026-08-09,1,"]
)
def test_a_row_that_is_none_is_told_with_its_line(row):
    with pytest.raises(ValueError, match="line 2 "):
        list(read_strikes(["time_utc,lat,lon", row]))


def test_a_file_without_the_columns_is_none():
    with pytest.raises(ValueError, match="time_utc, lat, lon"):
        list(read_strikes(["when,where"]))


def test_a_start_without_the_feed_does_not_load_the_nowcast():
    code = "import sys, core.feeds; sys.exit('core.feeds._nowcast' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_there_is_a_weight_for_each_feature():
    [row] = Nowcast(calm(), None, [Place(0, 0)]).features([Place(0, 0)], 0.5)
    assert len(row) == len(_nowcast.WEIGHTS)
