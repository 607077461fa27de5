"""Outcomes that were not observed: what is done about them, and which donors have none.

The default leaves them out: a donor without an outcome in a period that is needed is no donor, and
a treated unit learns from the periods that it has.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from zoo_core.errors import ConfigError, InputError, suggestion
from zoo_synthetic_learner.labels import cell
from zoo_synthetic_learner.panel import Bools, Floats, Ints, Panel

HOW = ("drop", "interpolate", "raise")
"""What can be done about missing outcomes."""


def check_how(how: object) -> None:
    """Raises ConfigError where `how` is none of `HOW`."""
    if not isinstance(how, str) or how not in HOW:
        raise ConfigError(
            f"missing is {how!r}.{suggestion(str(how), HOW)} Expected one of {', '.join(HOW)}."
        )


def complete(panel: Panel, how: str) -> Panel:
    """Returns the panel after what is to be done about missing outcomes.

    Args:
        panel: is left as it is.
        how: "drop" leaves missing outcomes as they are. "raise" refuses them. "interpolate" fills
            those without treatment, along a unit's periods: linearly by the number of periods
            between its neighbours, and with the nearest one at the ends. The time between two
            starts of treatment, of any units, is filled from within, so that nothing of a later
            period gets into what is learnt before a treatment starts. Periods in which the unit is
            treated, and stretches without any outcome, stay missing.

    Raises:
        ConfigError: another `how`.
        InputError: an outcome is missing, with "raise".
    """
    check_how(how)
    absent = np.isnan(panel.outcome)
    if how == "drop" or not absent.any():
        return panel
    if how == "raise":
        row, period = np.argwhere(absent)[0]
        raise InputError(
            f"there is no outcome for {cell(panel.units, panel.times, row, period)} "
            f"({np.count_nonzero(absent)} are missing in all); expected none missing, as "
            "missing='raise'. Let missing='drop' leave out donors with gaps, or 'interpolate' fill "
            "them."
        )
    return replace(panel, outcome=_interpolated(panel, absent))


def with_values(panel: Panel, donors: Ints, stop: int) -> tuple[Ints, Ints]:
    """Returns the donors with an outcome in all periods before `stop`, and the others.

    Args:
        panel: N units.
        donors: [p] int64 rows.
        stop: the number of periods, from the first on.
    """
    whole = ~np.isnan(panel.outcome[donors, :stop]).any(axis=1)
    return donors[whole], donors[~whole]


def _interpolated(panel: Panel, absent: Bools) -> Floats:
    outcome = panel.outcome.copy()
    edges = [0, *panel.cohorts.tolist(), panel.num_periods]
    for row in np.flatnonzero(absent.any(axis=1)):
        for begin, end in pairwise(edges):
            if begin >= panel.first_treated[row]:
                break
            gaps = absent[row, begin:end]
            if gaps.any() and not gaps.all():
                part = outcome[row, begin:end]
                part[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), part[~gaps])
    return outcome
