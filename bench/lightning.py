"""Judge the nowcast of lightning on a file of strikes: `python -m bench.lightning FILE`.

FILE is a CSV, gzipped or not, with time_utc, lat, lon. Strikes come in looks of some two minutes;
of each look the next one is foretold, if it comes within 90 minutes, at places on a grid. Looks of
the days that the nowcast was taught with are left out, all others are judged.
`--fit` teaches it anew with those days alone and judges nothing. The split was written down before
anything of it was judged: taught and tuned with 2 to 9 August 2026, judged on 10 to 12 August.
"""

import argparse
import csv
import gzip
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.feeds import _nowcast, _nowcast_weights
from core.feeds._cells import FAR_KM, KM_PER_DEGREE, TAUGHT_SECONDS, Field
from core.feeds._nowcast import NEAR_KM, Nowcast
from core.feeds._strikes import Look, Place

Array = NDArray[np.float64]

TAUGHT_SINCE = datetime(2026, 8, 2, tzinfo=UTC).timestamp()
TAUGHT_UNTIL = datetime(2026, 8, 10, tzinfo=UTC).timestamp()
HOUR = 3600.0
GAP_SECONDS = 300.0
"""Without a strike for so long, a look is over. Strikes are seen in half the world."""
LONGEST_LEAD_SECONDS, LONGEST_BEFORE_SECONDS = 90 * 60.0, 100 * 60.0
GRID_DEGREES = 0.8
BANDS = ((0, 90), (20, 40), (40, 60), (60, 90))
RESAMPLED = 2000
RADII = tuple(float(km) for km in range(6, 42, 2))
LIMITS = tuple(step / 100 for step in range(10, 50))
PERSISTENCE_KM, ADVECTION_KM, WARN_FROM = 22.0, 20.0, 0.19
"""Those with the best CSI on the days of teaching: `--fit` prints them."""


@dataclass(frozen=True)
class Cases:
    """Places at the end of a look, and what the next one saw there. A row for each.

    `missed` are events farther than FAR_KM from any strike: nothing warns of them. Told once for
    each pair of looks, at its first row.
    """

    features: Array
    nearest: Array
    nearest_moved: Array
    happened: Array
    lead_minutes: Array
    pair: Array
    missed: Array

    @cached_property
    def chance(self) -> Array:
        return _logistic(self.features @ np.array(_nowcast_weights.WEIGHTS))

    def some(self, chosen: NDArray[np.bool_]) -> "Cases":
        return Cases(*(getattr(self, field.name)[chosen] for field in fields(self)))


def looks_of(path: Path) -> list[Look]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    rows = [
        (datetime.fromisoformat(row["time_utc"]).timestamp(), row["lat"], row["lon"])
        for row in csv.DictReader(text.splitlines())
    ]
    strikes = np.array(sorted((at, float(lat), float(lon)) for at, lat, lon in rows))
    cuts = np.flatnonzero(np.diff(strikes[:, 0]) > GAP_SECONDS) + 1
    return [_look(part) for part in np.split(strikes, cuts)]


def _look(part: Array) -> Look:
    places = [Place(float(lat), float(lon)) for _, lat, lon in part]
    return Look(float(part[-1, 0]), TAUGHT_SECONDS, places)


def cases_of(looks: Sequence[Look], is_taught: bool) -> Cases:
    found: list[Cases] = []
    pairs = [number for number in range(len(looks) - 1) if _counts(looks, number, is_taught)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for one in pool.map(partial(_cases, looks), pairs):
            found.append(one)
    names = [field.name for field in fields(Cases)]
    return Cases(*(np.concatenate([getattr(one, name) for one in found]) for name in names))


def _counts(looks: Sequence[Look], number: int, is_taught: bool) -> bool:
    look, later = looks[number : number + 2]
    inside = [TAUGHT_SINCE <= one.ended_at < TAUGHT_UNTIL for one in (look, later)]
    is_chosen = all(inside) if is_taught else not any(inside)
    return is_chosen and later.ended_at - look.ended_at <= LONGEST_LEAD_SECONDS


def _cases(looks: Sequence[Look], number: int) -> Cases:
    look, later = looks[number : number + 2]
    before = looks[number - 1] if number else None
    if before and look.ended_at - before.ended_at > LONGEST_BEFORE_SECONDS:
        before = None
    lead = (later.ended_at - later.seconds / 2 - look.ended_at) / HOUR
    to_come = Field(later.places)
    grid = _grid(number)
    is_near = _least_km(grid, look.places) < FAR_KM
    places = [Place(*one) for one in grid[is_near].tolist()]
    missed = (_least_km(grid[~is_near], later.places) < NEAR_KM).sum()
    nowcast = Nowcast(look, before, places)
    features = np.array(nowcast.features(places, lead))
    field = nowcast.moved(lead)
    size = len(places)
    return Cases(
        features,
        np.array([nowcast.around(place)[0].nearest for place in places]),
        np.array([_nearest(field, place) for place in places]),
        np.array([_nearest(to_come, place) < NEAR_KM for place in places], dtype=float),
        np.full(size, lead * 60),
        np.full(size, float(number)),
        np.array([float(missed), *[0.0] * (size - 1)]),
    )


def _grid(number: int) -> Array:
    """Return places that are about equally dense everywhere, shifted a little for each look."""
    shift = np.random.default_rng(number).uniform(0, GRID_DEGREES, 2)
    rows = []
    for latitude in np.arange(-54, 55, GRID_DEGREES) + shift[0]:
        step = GRID_DEGREES / np.cos(np.radians(latitude))
        longitudes = np.arange(-180 + shift[1], 180, step)
        rows.append(np.stack([np.full(len(longitudes), latitude), longitudes], axis=1))
    return np.concatenate(rows)


def _least_km(places: Array, strikes: Sequence[Place]) -> Array:
    """Return how far the nearest strike is from each place, on a round Earth."""
    points, others = _on_sphere(places), _on_sphere(np.array(strikes))
    nearest = [(part @ others.T).max(axis=1) for part in np.array_split(points, 50)]
    return np.asarray(np.arccos(np.clip(np.concatenate(nearest), -1, 1)) * 6371.0)


def _on_sphere(places: Array) -> Array:
    north, east = np.radians(places).T
    axes = (np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north))
    return np.stack(axes, axis=1).astype(np.float64)


def _nearest(field: Field, place: Place) -> float:
    offsets = field.near(place, 50)
    return min((np.hypot(*one) for one in offsets), default=FAR_KM)


def _logistic(sums: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(sums, -30, 30))))


# Teaching


def fitted(cases: Cases) -> str:
    weights = fit(cases.features, cases.happened)
    Path(_nowcast_weights.__file__).write_text(_written(weights))
    chance = _logistic(cases.features @ weights)
    best = (
        best_limit(-cases.nearest, cases, [-km for km in RADII]),
        best_limit(-cases.nearest_moved, cases, [-km for km in RADII]),
        best_limit(chance, cases, LIMITS),
    )
    return f"PERSISTENCE_KM, ADVECTION_KM, WARN_FROM = {-best[0]}, {-best[1]}, {best[2]}"


def fit(features: Array, happened: Array, ridge: float = 5.0) -> Array:
    """Return the weights of the regression that tells best what happened. The first is of a 1."""
    means, scales = features.mean(axis=0), features.std(axis=0) + 1e-9
    means[0], scales[0] = 0, 1
    rows = (features - means) / scales
    weights, penalty = np.zeros(rows.shape[1]), np.full(rows.shape[1], ridge)
    penalty[0] = 0
    for _ in range(30):
        expected = _logistic(rows @ weights)
        slope = rows.T @ (happened - expected) - penalty * weights
        curve = (rows * (expected * (1 - expected))[:, None]).T @ rows + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    weights = weights / scales
    weights[0] -= (weights * means).sum()
    return np.asarray(weights)


def _written(weights: Array) -> str:
    lines = "".join(f"    {float(weight):.5g},\n" for weight in weights)
    return (
        '"""What core/feeds/_nowcast.py learnt, by `python -m bench.lightning FILE --fit`."""'
        f"\n\nWEIGHTS: tuple[float, ...] = (\n{lines})\n"
    )


# Judging


def scored(warned: NDArray[np.bool_], cases: Cases) -> tuple[float, float, float]:
    """Return POD, FAR and CSI; NaN where there is nothing to divide by."""
    hits = float(cases.happened[warned].sum())
    events, warnings = cases.happened.sum() + cases.missed.sum(), float(warned.sum())
    nothing = float("nan")
    return (
        float(hits / events) if events else nothing,
        1 - hits / warnings if warnings else nothing,
        float(hits / (warnings + events - hits)) if warnings + events else nothing,
    )


def best_limit(values: Array, cases: Cases, limits: Sequence[float]) -> float:
    """Return the limit from which on a warning has the best CSI."""
    return max(limits, key=lambda limit: scored(values >= limit, cases)[2])


def methods() -> dict[str, Callable[[Cases], NDArray[np.bool_]]]:
    return {
        "nowcast": lambda cases: cases.chance >= WARN_FROM,
        f"persistence, {PERSISTENCE_KM:g} km": lambda cases: cases.nearest < PERSISTENCE_KM,
        f"persistence, {NEAR_KM:g} km": lambda cases: cases.nearest < NEAR_KM,
        f"advection, {ADVECTION_KM:g} km": lambda cases: cases.nearest_moved < ADVECTION_KM,
        f"advection, {NEAR_KM:g} km": lambda cases: cases.nearest_moved < NEAR_KM,
    }


def report(cases: Cases) -> Iterator[str]:
    yield "| lead, min | looks | places | events | method | POD | FAR | CSI | nowcast better by |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for least, most in BANDS:
        some = cases.some((cases.lead_minutes >= least) & (cases.lead_minutes < most))
        if len(some.happened):
            yield from _rows(f"{least} to {most}", some)
    yield "\n| foretold | places | mean foretold | happened |\n| --- | --- | --- | --- |"
    edges = (0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.01)
    for low, high in zip(edges, edges[1:], strict=False):
        chosen = (cases.chance >= low) & (cases.chance < high)
        if chosen.any():
            means = f"{cases.chance[chosen].mean():.3f} | {cases.happened[chosen].mean():.3f}"
            yield f"| {low:g} to {min(high, 1):g} | {chosen.sum():,} | {means} |"
    brier, rate = ((cases.chance - cases.happened) ** 2).mean(), cases.happened.mean()
    yield f"\nBrier score {brier:.4f}; the base rate {rate:.2%} alone {rate * (1 - rate):.4f}."
    yield f"Never warning would be right in {1 - rate:.1%}, which is why accuracy is not told."


def _rows(band: str, cases: Cases) -> Iterator[str]:
    events = f"{cases.happened.sum() + cases.missed.sum():,.0f}"
    counts = f"{len(set(cases.pair))} | {len(cases.happened):,} | {events}"
    tables = {name: _by_pair(warned(cases), cases) for name, warned in methods().items()}
    for name, warned in methods().items():
        cells = " | ".join(f"{score:.3f}" for score in scored(warned(cases), cases))
        better = "" if name == "nowcast" else _interval(tables["nowcast"], tables[name])
        yield f"| {band} | {counts} | {name} | {cells} | {better} |"


def _by_pair(warned: NDArray[np.bool_], cases: Cases) -> Array:
    """Return hits, and warnings or events, of each pair of looks."""
    rows = []
    for pair in np.unique(cases.pair):
        chosen = cases.pair == pair
        hits = cases.happened[chosen & warned].sum()
        events = cases.happened[chosen].sum() + cases.missed[chosen].sum()
        rows.append((hits, (chosen & warned).sum() + events - hits))
    return np.array(rows, dtype=float)


def _interval(nowcast: Array, other: Array) -> str:
    """Return the 90% interval of the difference in CSI: looks drawn anew, all places of each."""
    drawn = np.random.default_rng(13).integers(0, len(other), (RESAMPLED, len(other)))
    one, two = nowcast[drawn].sum(axis=1), other[drawn].sum(axis=1)
    differences = one[:, 0] / one[:, 1] - two[:, 0] / two[:, 1]
    low, high = np.percentile(differences, (5, 95))
    return f"{low:+.3f} to {high:+.3f}"


def seconds_of(looks: Sequence[Look]) -> float:
    """Return how long a thousand places, near strikes, take for three leads: processor time."""
    number = max(range(1, len(looks)), key=lambda number: len(looks[number].places))
    source = np.random.default_rng(13)
    places = []
    for place in source.choice(np.array(looks[number].places), 1000):
        north, east = source.normal(0, 200 / KM_PER_DEGREE, 2)
        places.append(Place(float(place[0] + north), float(place[1] + east)))
    began = time.process_time()
    _nowcast.chances(places, looks[number], looks[number - 1], looks[number].ended_at)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lightning")
    parser.add_argument("file", type=Path)
    parser.add_argument("--fit", action="store_true", help="teach it anew, and judge nothing")
    options: Any = parser.parse_args()
    looks = looks_of(options.file)
    if options.fit:
        print(fitted(cases_of(looks, is_taught=True)))
        return
    cases = cases_of(looks, is_taught=False)
    print("\n### Nowcast of lightning within 15 km, looks of other days than it was taught with\n")
    print(*report(cases), sep="\n")
    print(f"A thousand places take {seconds_of(looks):.2f} s of processor time.", flush=True)


if __name__ == "__main__":
    main()
