"""Least squares that shrink to zero (ridge regression), for a dozen features. Without numpy.

A. E. Hoerl, R. W. Kennard, Ridge Regression, Technometrics 12 (1970).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Moments:
    """Sums over rows of features x and a target y: all that a fit, and its error, need."""

    features: int
    rows: int = 0
    yy: float = 0
    xy: list[float] = field(default_factory=list)
    xx: list[list[float]] = field(default_factory=list)
    """The lower triangle."""

    def __post_init__(self) -> None:
        self.xy = self.xy or [0.0] * self.features
        self.xx = self.xx or [[0.0] * (place + 1) for place in range(self.features)]

    def add(self, x: Sequence[float], y: float) -> None:
        self.rows += 1
        self.yy += y * y
        for place, value in enumerate(x):
            self.xy[place] += value * y
            row = self.xx[place]
            for other in range(place + 1):
                row[other] += value * x[other]

    def __iadd__(self, more: Self) -> Self:
        self.rows += more.rows
        self.yy += more.yy
        self.xy = [a + b for a, b in zip(self.xy, more.xy, strict=True)]
        self.xx = [
            [a + b for a, b in zip(mine, theirs, strict=True)]
            for mine, theirs in zip(self.xx, more.xx, strict=True)
        ]
        return self

    def squared_error(self, weights: Sequence[float]) -> float:
        """Return the sum of squares that is left of y by these weights."""
        left = self.yy
        for place, weight in enumerate(weights):
            left -= 2 * weight * self.xy[place]
            left += weight * weight * self.xx[place][place]
            for other in range(place):
                left += 2 * weight * weights[other] * self.xx[place][other]
        return left


def total(moments: Iterable[Moments], features: int) -> Moments:
    summed = Moments(features)
    for one in moments:
        summed += one
    return summed


def fitted(moments: Moments, prior_rows: float) -> list[float]:
    """Return the weights. `prior_rows` is how many rows the belief in zero is worth."""
    size = moments.features
    matrix = [[moments.xx[max(i, j)][min(i, j)] for j in range(size)] for i in range(size)]
    for place in range(size):
        # By each feature's own size, so that its unit does not matter. A feature that was always
        # zero gets a weight of zero.
        own = matrix[place][place]
        matrix[place][place] += prior_rows * own / max(moments.rows, 1) if own > 0 else 1.0
    return _solved(matrix, moments.xy)


def _solved(matrix: list[list[float]], right: Sequence[float]) -> list[float]:
    """Solve a symmetric, positive definite system by Cholesky's method."""
    size = len(right)
    lower: list[list[float]] = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            left = matrix[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            # Rounding may leave a trifle below zero where features are nearly the same.
            lower[i][j] = max(left, 1e-12) ** 0.5 if i == j else left / lower[j][j]
    forward: list[float] = []
    for i in range(size):
        known = sum(lower[i][k] * forward[k] for k in range(i))
        forward.append((right[i] - known) / lower[i][i])
    weights = [0.0] * size
    for i in reversed(range(size)):
        known = sum(lower[k][i] * weights[k] for k in range(i + 1, size))
        weights[i] = (forward[i] - known) / lower[i][i]
    return weights
