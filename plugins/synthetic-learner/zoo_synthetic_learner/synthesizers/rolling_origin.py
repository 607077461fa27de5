"""Rolling-origin validation: forecasts from earlier periods, judged on the periods after them.

Ours: the periods of a panel trend and depend on each other, so that leaving single ones out, or
shuffling them, finds that almost no penalty is best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zoo_synthetic_learner.panel import Floats, Ints
from zoo_synthetic_learner.synthesizers.synthesis import Task

LEAST = 4
"""An origin has at least so many periods before it."""

Forecasts = Callable[[Task], Floats]
"""From a task to k ways to tell the periods from its `start` on: [k, S - start, q]."""

TOO_FEW = "too few periods to validate on later ones ({periods}); {instead} was taken unseen."


def horizon_of(start: int) -> int:
    """Returns how many periods are judged together: a sixth of `start` periods, 3 at least."""
    return max(3, start // 6)


def origins(start: int) -> list[tuple[int, int]]:
    """Returns pairs (origin, stop): learn on periods below the origin, judge on those up to stop.

    The horizon is a sixth of the `start` periods, 3 at least; the last two horizons are judged.
    """
    horizon = horizon_of(start)
    pairs = ((start - 2 * horizon, start - horizon), (start - horizon, start))
    return [pair for pair in pairs if pair[0] >= LEAST]


def valid_origins(fit: Ints) -> list[tuple[int, int]]:
    """Returns the origins of periods [F] to fit, which may have gaps."""
    if not len(fit):
        return []
    found = []
    for origin, stop in origins(int(fit[-1]) + 1):
        known = np.searchsorted(fit, origin)
        if known >= LEAST and np.searchsorted(fit, stop) > known:
            found.append((origin, stop))
    return found


def errors(task: Task, forecasts: Forecasts) -> Floats | None:
    """Returns the sums of squared errors [k, q] over the judged periods, or None without any."""
    total: Floats | None = None
    for origin, stop in valid_origins(task.fit):
        judged = (task.fit >= origin) & (task.fit < stop)
        told = forecasts(task.until(origin, stop))[:, task.fit[judged] - origin]
        told = told - task.targets[judged]
        squared = np.einsum("klq,klq->kq", told, told)
        total = squared if total is None else total + squared
    return total
