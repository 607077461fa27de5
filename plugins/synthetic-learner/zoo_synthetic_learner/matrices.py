"""A panel from matrices: outcomes Y, treatment D and covariates S in the paper's layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import InputError, enumeration
from zoo_synthetic_learner.adoption import check_design, from_indicator, from_periods
from zoo_synthetic_learner.covariates import aligned, read_covariates
from zoo_synthetic_learner.labels import cell, read_axis
from zoo_synthetic_learner.missing import check_how, complete
from zoo_synthetic_learner.numbers_given import as_floats, as_numbers
from zoo_synthetic_learner.panel import HUGE, Floats, Ints, Panel


def read_matrices(Y: Any, D: Any, S: Any = None, *, missing: str = "drop") -> Panel:  # noqa: N803
    """Returns the checked panel of matrices, which are copied.

    Args:
        Y: [N, T] outcomes, units by periods, NaN where not observed; an array, or a DataFrame
            whose index has the units and whose columns have the times, in their order.
        D: [N] the index of each unit's first treated period, counted from 0, which is the number
            of its periods before treatment; 0, None, NaN or inf for units that never are treated.
            Or [N, T] of 0 and 1, which stays 1 once it is; NaN only where Y is. With a DataFrame
            Y, a Series or DataFrame D is found by its labels.
        S: covariates: [N, d], [N] or, where they vary over time, [N, T, d]. With a DataFrame Y, a
            Series or DataFrame S [N, d] is found by its labels. None for no covariates.
        missing: what is done about missing outcomes, see `missing.complete`.

    Raises:
        InputError: shapes that do not fit, labels that are missing or repeated or out of order,
            infinite values, no numbers, a treatment that ends, nobody treated or everybody, a
            unit without an outcome before or in its treatment.
        ConfigError: another `missing`.

    Warns:
        ZooWarning: constant covariates were left out.
    """
    check_how(missing)
    outcome = as_floats(Y, "Y")
    if outcome.ndim != 2 or not outcome.size:
        raise InputError(
            f"Y has shape {list(outcome.shape)}; expected [N, T], units by periods, not empty."
        )
    labelled = isinstance(Y, pd.DataFrame)
    num_units, num_periods = outcome.shape
    units, times = pd.RangeIndex(num_units), pd.RangeIndex(num_periods)
    if labelled:
        units = read_axis(Y.index, "the units of Y", times=False)
        times = read_axis(Y.columns, "the times of Y", times=True)
    check_outcome(outcome, units, times)
    first_treated = _first_treated(D, outcome, units, times, labelled)
    check_design(first_treated, outcome, units, times)
    covariates, names, given = read_covariates(S, units, times, labelled=labelled)
    panel = Panel(
        outcome=outcome,
        first_treated=first_treated,
        covariates=covariates,
        units=units,
        times=times,
        covariate_names=names,
        given_covariates=given,
        labelled=labelled,
    )
    return complete(panel, missing)


def check_outcome(outcome: Floats, units: pd.Index, times: pd.Index) -> None:
    """Checks that no outcome is infinite or as large, and that every period has one.

    Raises:
        InputError: otherwise.
    """
    infinite = np.argwhere(np.abs(outcome) > HUGE)
    if len(infinite):
        row, period = infinite[0]
        raise InputError(
            f"the outcome of {cell(units, times, row, period)} is {outcome[row, period]}; expected "
            f"a finite number, {HUGE:g} at most, or NaN where it was not observed."
        )
    empty = np.flatnonzero(np.isnan(outcome).all(axis=0))
    if empty.size:
        raise InputError(
            f"no unit has an outcome at time {enumeration([str(times[each]) for each in empty])}; "
            "expected some. Leave that period out."
        )


def _first_treated(
    given: Any, outcome: Floats, units: pd.Index, times: pd.Index, labelled: bool
) -> Ints:
    if labelled and isinstance(given, pd.DataFrame | pd.Series):
        given = aligned(given, units, "D")
        if isinstance(given, pd.DataFrame):
            given = aligned(given.T, times, "D", "time").T
    try:
        shape = np.shape(given)
    except ValueError:
        raise InputError("D has rows of different lengths; expected a vector or matrix.") from None
    if shape == outcome.shape[:1]:
        return from_periods(given, units, len(times))
    if shape == outcome.shape:
        return from_indicator(as_numbers(given, "D"), ~np.isnan(outcome), units, times)
    raise InputError(
        f"D has shape {list(shape)}; expected [{len(units)}] with the index of each unit's first "
        f"treated period, or [{len(units)}, {len(times)}] of 0 and 1."
    )
