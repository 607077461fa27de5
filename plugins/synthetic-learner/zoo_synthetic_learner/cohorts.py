"""Which units are imputed from which, over which periods: block and staggered designs.

Staggered designs are a reconstruction of ours: every cohort, the units treated from the same period
on, is a block design of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner.labels import named
from zoo_synthetic_learner.panel import Ints, Panel

DONORS = ("never", "not-yet")


class Cohort(NamedTuple):
    """Units that are imputed together.

    Attributes:
        units: rows of the panel.
        donors: rows of the panel.
        start: the first period with an effect.
        stop: the period after the last one.
        size: how many treated units the cohort has.
    """

    units: Ints
    donors: Ints
    start: int
    stop: int
    size: int


def treated_cohorts(
    panel: Panel, donors: str = "never", horizon: int | None = None
) -> list[Cohort]:
    """Returns treated units by their first treated period.

    Args:
        panel: N units.
        donors: "never" for units that never are treated; "not-yet" for units that are not treated
            before the end of the horizon.
        horizon: how many treated periods are looked at; None for all up to the end.

    Raises:
        InputError: a cohort has no donors.
    """
    found = []
    for start in panel.cohorts.tolist():
        stop = _stop(panel, start, horizon)
        units = np.flatnonzero(panel.first_treated == start)
        pool = panel.never_treated
        if donors == "not-yet":
            pool = np.flatnonzero(panel.first_treated >= stop)
        if not pool.size:
            raise InputError(
                f"no unit is untreated up to {panel.times[stop - 1]}, so "
                f"{named(panel.units, units)}, treated from {panel.times[start]} on, has no "
                "donors; expected one at least."
            )
        found.append(Cohort(units, pool, start, stop, units.size))
    return found


def control_cohorts(
    panel: Panel, horizon: int | None = None, starts: Sequence[int] | None = None
) -> list[Cohort]:
    """Returns control units once for each cohort of treated donors, or those of these starts."""
    found = []
    for start in panel.cohorts.tolist() if starts is None else starts:
        donors = np.flatnonzero(panel.first_treated == start)
        stop = _stop(panel, start, horizon)
        found.append(Cohort(panel.never_treated, donors, start, stop, donors.size))
    return found


def _stop(panel: Panel, start: int, horizon: int | None) -> int:
    return panel.num_periods if horizon is None else min(start + horizon, panel.num_periods)
