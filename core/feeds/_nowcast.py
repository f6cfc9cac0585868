"""Nowcast lightning: how likely a strike near each of many places is, some minutes from now.

Pure functions over lists. Two looks are compared, the newest and one some half an hour earlier.
Strikes are gathered into cells, which move (core/feeds/_cells.py). A logistic regression makes a
chance of what is near a place now, what was near it before (whether it grows), what will be near it
once each cell has moved on, and the sun's hour. What it learnt is in _nowcast_weights.py;
bench/lightning.py taught it.
"""

from collections.abc import Sequence
from math import cos, exp, log1p, pi, sin

from core.feeds._cells import FAR_KM, Around, Cell, Field, Offset, cells, moved, patch
from core.feeds._nowcast_weights import WEIGHTS
from core.feeds._strikes import Look, Place

NEAR_KM = 15.0
"""A strike within this of a place is what is foretold."""
HOUR = 3600.0
SHORTEST_LEAD, LONGEST_LEAD = 0.4, 1.5
"""Hours: no look that it was taught with came sooner or later."""
WINDOWS_MINUTES = ((0, 15), (15, 25), (25, 60))
"""From now: what a chance is told of."""
APART_MINUTES = 30.0
"""In so long a time one more look counts as independent.

On the days of teaching, in one of two looks 41 minutes apart there was a strike in 84 to 90% of the
cases in which it would have been in one of two independent ones. Of the time between the two
nothing is known.
"""


class Nowcast:
    """Of two looks; `before` None: nothing is known of motion and growth.

    Only what is around the places that will be asked about is moved.
    """

    def __init__(self, newest: Look, before: Look | None, places: Sequence[Place]) -> None:
        self.ended_at = newest.ended_at
        self.now = Field(newest.places, newest.seconds)
        self.before = Field(before.places, before.seconds) if before else None
        keys = {key for place in places for key in self.now.keys_near(place, FAR_KM)}
        self.cells: list[Cell] = []
        if before and self.before:
            hours = (newest.ended_at - before.ended_at) / HOUR
            self.cells = cells(self.now, self.before, hours, keys)
        self._around: dict[Place, tuple[Around, Around | None]] = {}

    def moved(self, hours: float) -> Field:
        """Return the field as it will be if each cell moves on."""
        if not self.cells:
            return self.now
        places = [
            moved(strike, Offset(cell.east_kmh * hours, cell.north_kmh * hours))
            for cell in self.cells
            for strike in self.now.patches[patch(cell.centre)]
        ]
        field = Field(places)
        # Moved strikes are those of the newest look, and of as many seconds.
        field.weight = self.now.weight
        return field

    def around(self, place: Place) -> tuple[Around, Around | None]:
        """Return what is around a place now, and what was before. Kept: it is for all leads."""
        if place not in self._around:
            before = self.before.around(place) if self.before else None
            self._around[place] = (self.now.around(place), before)
        return self._around[place]

    def chances_of_a_look(self, places: Sequence[Place], lead: float) -> list[float]:
        """Return how likely a strike near each place is, in a look of TAUGHT_SECONDS.

        `lead` is in hours from the newest look.
        """
        return [logistic(row, WEIGHTS) for row in self.features(places, lead)]

    def features(self, places: Sequence[Place], lead: float) -> list[list[float]]:
        """Return what the regression is given: a row for each place, 1 in front."""
        # Beyond what it was taught with, a regression only guesses.
        lead = min(max(lead, SHORTEST_LEAD), LONGEST_LEAD)
        field = self.moved(lead)
        return [self._features(place, field, lead) for place in places]

    def _features(self, place: Place, field: Field, lead: float) -> list[float]:
        (now, before), then = self.around(place), field.around(place)
        counts_before: Sequence[float] = [0.0] * 6
        near_before, known = [0.0] * 5, 0.0
        if before:
            counts_before, near_before, known = before.counts, _near(before.nearest), 1.0
        near, near_then = _near(now.nearest), _near(then.nearest)
        # The hour by the sun at the place: 15 degrees of longitude are an hour.
        angle = (self.ended_at / HOUR + lead + place.longitude / 15) * pi / 12
        north = abs(place.latitude) / 50
        return [
            1.0,
            *now.counts,
            *then.counts,
            *counts_before,
            known,
            *near,
            *near_then,
            *near_before,
            lead,
            *(lead * count for count in now.counts),
            *(lead * one for one in near),
            *(sin(angle), cos(angle), sin(2 * angle), cos(2 * angle)),
            *(north, north**2),
        ]


def _near(km: float) -> list[float]:
    """Return a distance in several shapes: what is far is all alike."""
    return [log1p(km / 5), exp(-km / 8), exp(-km / 20), exp(-km / 50), exp(-km / 120)]


def logistic(row: Sequence[float], weights: Sequence[float]) -> float:
    total = sum(value * weight for value, weight in zip(row, weights, strict=True))
    # Bounded: exp() of a large number raises OverflowError.
    return 1 / (1 + exp(-min(max(total, -30.0), 30.0)))


def chances(
    places: Sequence[Place], newest: Look, before: Look | None, now: float
) -> list[list[float]]:
    """Return for each place how likely a strike near it is in each of WINDOWS_MINUTES from `now`.

    What was learnt is the chance of a look in the middle of the window. In a longer time there is a
    strike in one of several looks, of which one more counts for each APART_MINUTES.
    """
    nowcast = Nowcast(newest, before, places)
    told: list[list[float]] = [[] for _ in places]
    for begin, end in WINDOWS_MINUTES:
        lead = (now - newest.ended_at) / HOUR + (begin + end) / 2 / 60
        looks = 1 + (end - begin) / APART_MINUTES
        for place, chance in enumerate(nowcast.chances_of_a_look(places, lead)):
            told[place].append(1 - (1 - chance) ** looks)
    return told
