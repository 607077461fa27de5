"""Intervals from a test: the effects that it does not reject, found on a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zoo_synthetic_learner.panel import Floats

POINTS = 101
SCALES = 6.0
DOUBLINGS = 8

Test = Callable[[Floats], Floats]
"""From effects [G] to their p-values [G]."""


@dataclass(frozen=True)
class Accepted:
    """The hull of the effects that are not rejected.

    Attributes:
        low: the smallest one; -inf where the grid's first is not rejected; NaN where all are.
        high: the largest one, +inf likewise.
        spacing: of the grid, how exact both are.
    """

    low: float
    high: float
    spacing: float


EVERYTHING = Accepted(-np.inf, np.inf, 0.0)
UNKNOWN = Accepted(np.nan, np.nan, np.nan)


def invert(test: Test, alpha: float, grid: Floats) -> Accepted:
    """Returns the effects of an ascending grid [G] whose p-value is above alpha."""
    return _hull(grid, test(grid), alpha)


def invert_around(test: Test, alpha: float, center: float, scale: float) -> Accepted:
    """Returns the same on a grid of its own.

    That has 101 points, from six scales below the center to six above. While an end of it is not
    rejected it is doubled, up to eight times; not where all p-values are 1, as then nothing is
    evidence.
    """
    reach = SCALES * scale
    for _ in range(1 + DOUBLINGS):
        grid = np.linspace(center - reach, center + reach, POINTS)
        values = test(grid)
        found = _hull(grid, values, alpha)
        if not np.isinf([found.low, found.high]).any() or (values == 1).all():
            break
        reach *= 2
    return found


def _hull(grid: Floats, values: Floats, alpha: float) -> Accepted:
    accepted = values > alpha
    spacing = float(np.diff(grid).max())
    if not accepted.any():
        return Accepted(np.nan, np.nan, spacing)
    first, last = np.flatnonzero(accepted)[[0, -1]]
    low = -np.inf if first == 0 else float(grid[first])
    high = np.inf if last == len(grid) - 1 else float(grid[last])
    return Accepted(low, high, spacing)
