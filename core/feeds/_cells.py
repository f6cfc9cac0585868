"""Cells of lightning: strikes gathered by patches of half a degree, found near a place, moving.

Each cell moves as the strikes around it moved from an earlier look to the newest.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, exp, floor, log1p, radians, sqrt
from typing import NamedTuple

from core.feeds._strikes import Place

FAR_KM = 300.0
"""What is farther away says nothing."""
FINE_KM = 80.0
"""So near strikes are looked at one by one, farther ones by cells."""
KM_PER_DEGREE = 111.195
CELL_DEGREES = 0.5
FINE_WIDTHS_KM = (5.0, 10.0, 20.0)
WIDE_WIDTHS_KM = (40.0, 80.0, 160.0)
"""Of the Gaussians by which strikes around a place are counted."""
TAUGHT_SECONDS = 140.0
"""How long the looks were that the nowcast was taught with: counts are brought to that."""

MOTION_KM = 150.0
"""So far around a cell the two looks are compared."""
MOST_COMPARED = 24
"""Strikes of each look, for the motion of a cell."""
STEP_KMH, FASTEST_STEPS = 10.0, 8
USUAL_KMH = 35.0
"""How fast storms move: other motions weigh less, so that chance does not look fast."""


class Offset(NamedTuple):
    """How far east and north something is, in km."""

    east: float
    north: float


class Cell(NamedTuple):
    """The strikes of a patch of half a degree: their centre, how many, and how they move."""

    centre: Place
    strikes: int
    east_kmh: float = 0.0
    north_kmh: float = 0.0


@dataclass(frozen=True)
class Around:
    """What is around a place: how many strikes about how near, and how far the nearest is."""

    counts: Sequence[float]
    nearest: float


class Field:
    """Strikes, by patches in which those near a place are found."""

    def __init__(self, places: Iterable[Place], seconds: float = TAUGHT_SECONDS) -> None:
        self.weight = TAUGHT_SECONDS / seconds
        self.patches: dict[tuple[int, int], list[Place]] = {}
        for place in places:
            self.patches.setdefault(patch(place), []).append(place)
        self.cells = {key: _cell(inside) for key, inside in self.patches.items()}

    def around(self, place: Place) -> Around:
        """Count with Gaussians. The logarithm, so that no single storm rules."""
        fine, wide, nearest = [0.0] * 3, [0.0] * 3, FAR_KM
        scale = _km_per_longitude(place)
        for key in self.keys_near(place, FAR_KM):
            distance = _km(place, self.cells[key].centre, scale)
            _add(wide, WIDE_WIDTHS_KM, distance, self.cells[key].strikes)
            # None of its strikes is so near, but for a stray one: the centre stands for them.
            if distance > FINE_KM + CELL_DEGREES * KM_PER_DEGREE:
                nearest = min(nearest, distance)
                continue
            for strike in self.patches[key]:
                distance = _km(place, strike, scale)
                nearest = min(nearest, distance)
                if distance < FINE_KM:
                    _add(fine, FINE_WIDTHS_KM, distance, 1)
        counts = [log1p(3 * self.weight * count) for count in (*fine, *wide)]
        return Around(counts, nearest)

    def near(self, place: Place, km: float) -> list[Offset]:
        """Return where strikes are around a place, in the patches within so many km."""
        keys = self.keys_near(place, km)
        return [offset(place, strike) for key in keys for strike in self.patches[key]]

    def keys_near(self, place: Place, km: float) -> Iterator[tuple[int, int]]:
        row, _ = patch(place)
        rows = floor(km / KM_PER_DEGREE / CELL_DEGREES) + 1
        columns = floor(km / _km_per_longitude(place) / CELL_DEGREES) + 1
        around = round(360 / CELL_DEGREES)
        first = floor(place.longitude / CELL_DEGREES) - columns
        for north in range(row - rows, row + rows + 1):
            # Near a pole so many columns would go around the Earth more than once.
            for east in range(first, first + min(2 * columns + 1, around)):
                key = (north, east % around)
                if key in self.patches:
                    yield key


def patch(place: Place) -> tuple[int, int]:
    around = round(360 / CELL_DEGREES)
    return floor(place.latitude / CELL_DEGREES), floor(place.longitude / CELL_DEGREES) % around


def _cell(places: Sequence[Place]) -> Cell:
    # All of one patch: no longitude lies on the other side of the date line.
    latitude = sum(place.latitude for place in places) / len(places)
    longitude = sum(place.longitude for place in places) / len(places)
    return Cell(Place(latitude, longitude), len(places))


def _km_per_longitude(place: Place) -> float:
    # Never 0, as it would be at a pole: it is divided by.
    return KM_PER_DEGREE * max(cos(radians(place.latitude)), 0.02)


def offset(place: Place, other: Place) -> Offset:
    """Return where another place is seen from this one. The Earth is flat over such distances."""
    # The short way around, also over the date line.
    turn = (other.longitude - place.longitude + 180) % 360 - 180
    north = (other.latitude - place.latitude) * KM_PER_DEGREE
    return Offset(turn * _km_per_longitude(place), north)


def _km(place: Place, other: Place, km_per_longitude: float) -> float:
    """Return how long the offset is. A thousand places ask a million times: no tuple is made."""
    east = ((other[1] - place[1] + 180) % 360 - 180) * km_per_longitude
    north = (other[0] - place[0]) * KM_PER_DEGREE
    return sqrt(east * east + north * north)


def moved(place: Place, by: Offset) -> Place:
    longitude = place.longitude + by.east / _km_per_longitude(place)
    return Place(place.latitude + by.north / KM_PER_DEGREE, (longitude + 180) % 360 - 180)


def _add(counts: list[float], widths: Sequence[float], distance: float, count: int) -> None:
    for place, width in enumerate(widths):
        if distance < 4 * width:  # beyond, it is nothing
            counts[place] += count * exp(-0.5 * (distance / width) ** 2)


# Motion


def cells(now: Field, before: Field, hours: float, of: Iterable[tuple[int, int]]) -> list[Cell]:
    """Return these cells with how fast they move, by the strikes around them in both looks."""
    return [_moving(now.cells[key], now, before, hours) for key in of]


def _moving(cell: Cell, now: Field, before: Field, hours: float) -> Cell:
    here = _some(now.near(cell.centre, MOTION_KM))
    there = _some(before.near(cell.centre, MOTION_KM + 60 * hours))
    steps = _steps(here, there, hours * STEP_KMH)
    best, east, north = 0.0, 0, 0
    size = 2 * FASTEST_STEPS + 1
    for row in range(1, size + 1):
        for column in range(1, size + 1):
            alike = _smooth(steps, row, column) * _USUAL[row][column]
            if alike > best:
                best, east, north = alike, column - 1 - FASTEST_STEPS, row - 1 - FASTEST_STEPS
    return cell._replace(east_kmh=east * STEP_KMH, north_kmh=north * STEP_KMH)


def _some(offsets: Sequence[Offset]) -> Sequence[Offset]:
    # Evenly out of all of them: the work grows with the square of their number.
    step = len(offsets) / MOST_COMPARED
    if step <= 1:
        return offsets
    return [offsets[floor(number * step)] for number in range(MOST_COMPARED)]


def _steps(here: Sequence[Offset], there: Sequence[Offset], step: float) -> list[list[int]]:
    """Count the motions that would bring a strike of the earlier look to one of the newest.

    By rows to the north and columns to the east, with an edge of one around.
    """
    size = 2 * FASTEST_STEPS + 3
    found = [[0] * size for _ in range(size)]
    half = FASTEST_STEPS + 1.5
    for east, north in here:
        for was_east, was_north in there:
            row = floor((north - was_north) / step + half)
            column = floor((east - was_east) / step + half)
            if 0 <= row < size and 0 <= column < size:
                found[row][column] += 1
    return found


def _smooth(steps: Sequence[Sequence[int]], row: int, column: int) -> int:
    above, middle, below = steps[row - 1], steps[row], steps[row + 1]
    return (
        above[column - 1]
        + above[column + 1]
        + below[column - 1]
        + below[column + 1]
        + 2 * (above[column] + below[column] + middle[column - 1] + middle[column + 1])
        + 4 * middle[column]
    )


def _usual() -> list[list[float]]:
    size = 2 * FASTEST_STEPS + 3
    speeds = [(number - FASTEST_STEPS - 1) * STEP_KMH for number in range(size)]
    variance = 2 * USUAL_KMH**2
    return [[exp(-(north**2 + east**2) / variance) for east in speeds] for north in speeds]


_USUAL = _usual()
