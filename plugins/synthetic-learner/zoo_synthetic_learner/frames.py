"""A panel from a long table, with one row for each unit and time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import InputError, enumeration, suggestion
from zoo_synthetic_learner.adoption import check_design, from_indicator, from_labels
from zoo_synthetic_learner.covariates import check_covariates
from zoo_synthetic_learner.labels import cell, read_column
from zoo_synthetic_learner.matrices import check_outcome
from zoo_synthetic_learner.missing import check_how, complete
from zoo_synthetic_learner.numbers_given import as_numbers
from zoo_synthetic_learner.panel import Floats, Ints, Panel

_SPARSE = 50
"""So many cells for each row are no panel, but times that hardly any two units share."""


def read_frame(
    df: pd.DataFrame,
    *,
    unit: Hashable,
    time: Hashable,
    outcome: Hashable,
    treatment: Hashable | None = None,
    first_treated: Hashable | None = None,
    covariates: Hashable | Iterable[Hashable] = (),
    missing: str = "drop",
) -> Panel:
    """Returns the checked panel of a long table, whose rows may be in any order.

    Units are sorted, and periods are the times that occur. Cells without a row count as not
    observed.

    Args:
        df: one row for each unit and time.
        unit: the column with the units' labels.
        time: the column with the times: numbers, dates, periods, an ordered Categorical, or text
            such as "1970Q1" or "wave 2".
        outcome: the column with the outcome, NaN where not observed.
        treatment: the column that is 1 in the rows in which the unit is treated, else 0. A unit
            counts as treated from the first such row on, and has to stay so.
        first_treated: instead, the column with the time from which on the unit is treated, the
            same in all its rows; 0, inf and missing are never, and so is a time after the last
            period. Where the panel has no such period the next later one is taken.
        covariates: columns that tell about units. One that never differs within a unit is static,
            and a missing value of it is taken from the unit's other rows; if any does, covariates
            are time-varying.
        missing: what is done about missing outcomes, see `missing.complete`.

    Raises:
        InputError: columns that are not there, more than one row for a unit and time, and all that
            `read_matrices` refuses.
        ConfigError: another `missing`.

    Warns:
        ZooWarning: constant covariates were left out.
    """
    check_how(missing)
    chosen = _listed(df, covariates)
    _check_columns(df, unit, time, outcome, treatment, first_treated, chosen)
    rows, units = read_column(df[unit], f"unit column {unit}", times=False)
    periods, times = read_column(df[time], f"time column {time}", times=True)
    _check_cells(rows, periods, units, times)
    place = (rows, periods)
    shape = (len(units), len(times))

    values = np.full(shape, np.nan)
    values[place] = as_numbers(df[outcome], f"outcome column {outcome}")
    check_outcome(values, units, times)
    if treatment is not None:
        given = as_numbers(df[treatment], f"treatment column {treatment}")
        indicator = np.full(shape, np.nan)
        indicator[place] = given
        starts = from_indicator(indicator, ~np.isnan(values), units, times)
        del indicator
    else:
        column = f"first_treated column {first_treated}"
        starts = from_labels(
            _of_units(df[first_treated], rows, units, column), units, times, column
        )
    check_design(starts, values, units, times)
    table, names, given = check_covariates(
        _covariates(df, chosen, place, shape), tuple(map(str, chosen)), units, times
    )
    panel = Panel(
        outcome=values,
        first_treated=starts,
        covariates=table,
        units=units,
        times=times,
        covariate_names=names,
        given_covariates=given,
        outcome_name=str(outcome),
        labelled=True,
    )
    return complete(panel, missing)


def _listed(df: Any, covariates: Any) -> list[Hashable]:
    if not isinstance(df, pd.DataFrame):
        raise InputError(
            f"df is of type {type(df).__name__}; expected a pandas DataFrame. For matrices use fit."
        )
    if covariates is None:
        return []
    one = isinstance(covariates, str) or not isinstance(covariates, Iterable)
    return [covariates] if one else list(covariates)


def _check_columns(
    df: pd.DataFrame,
    unit: Hashable,
    time: Hashable,
    outcome: Hashable,
    treatment: Hashable | None,
    first_treated: Hashable | None,
    covariates: list[Hashable],
) -> None:
    if (treatment is None) == (first_treated is None):
        given = "neither" if treatment is None else "both"
        raise InputError(f"{given} of treatment and first_treated is given; expected one of them.")
    roles: dict[Hashable, str] = {}
    asked = [("unit", unit), ("time", time), ("outcome", outcome)]
    asked.append(
        ("first_treated", first_treated) if treatment is None else ("treatment", treatment)
    )
    asked += [("covariates", each) for each in covariates]
    for role, name in asked:
        if not isinstance(name, Hashable):
            raise InputError(f"{role} is {name!r}; expected the name of one column.")
        if name not in df.columns:
            where = (
                "it is a level of the index: call df.reset_index() first."
                if name in df.index.names
                else f"expected one of {enumeration(map(str, df.columns))}."
            )
            hint = suggestion(str(name), map(str, df.columns))
            raise InputError(f"{role}: df has no column {name}.{hint} {where.capitalize()}")
        if isinstance(df[name], pd.DataFrame):
            raise InputError(f"{role}: df has more than one column {name}; expected one.")
        if name in roles:
            raise InputError(
                f"{role}: column {name} is also given as {roles[name]}; expected different ones."
            )
        roles[name] = role
    if not len(df):
        raise InputError("df has no rows; expected one for each unit and time.")


def _check_cells(rows: Ints, periods: Ints, units: pd.Index, times: pd.Index) -> None:
    num_cells = len(units) * len(times)
    if num_cells > max(_SPARSE * len(rows), 10**7):
        raise InputError(
            f"df has {len(rows)} rows for {len(units)} units and {len(times)} times, so nearly all "
            "cells are empty; expected units that are observed at the same times. Round the times."
        )
    taken = np.zeros(num_cells, dtype=bool)
    flat = rows * len(times) + periods
    taken[flat] = True
    if np.count_nonzero(taken) < len(rows):
        again = flat[pd.Series(flat).duplicated().to_numpy()]
        row, period = divmod(int(again[0]), len(times))
        raise InputError(
            f"df has more than one row for {cell(units, times, row, period)}, and {len(again)} "
            "rows too many in all; expected one for each unit and time. Drop them or take means."
        )


def _of_units(column: pd.Series, rows: Ints, units: pd.Index, name: str) -> pd.Series:
    """Returns the one value [N] that each unit has in all its rows."""
    some = np.empty(len(units), dtype=np.int64)
    some[rows[::-1]] = np.arange(len(rows))[::-1]
    values = column.iloc[some].reset_index(drop=True)
    codes, _ = pd.factorize(column)
    differs = np.flatnonzero(codes != codes[some][rows])
    if differs.size:
        row = rows[differs[0]]
        raise InputError(
            f"{name} is {values[row]} and {column.iloc[differs[0]]} in rows of unit {units[row]}; "
            "expected the same value in all of them."
        )
    return values


def _covariates(
    df: pd.DataFrame, names: list[Hashable], place: tuple[Ints, Ints], shape: tuple[int, int]
) -> Floats:
    rows, _ = place
    columns = [as_numbers(df[name], f"covariate {name}").astype(np.float64) for name in names]
    static = np.full((len(names), shape[0]), np.nan)
    varying = np.zeros(len(names), dtype=bool)
    for each, column in enumerate(columns):
        high = np.full(shape[0], np.nan)
        np.fmin.at(static[each], rows, column)
        np.fmax.at(high, rows, column)
        varying[each] = (high > static[each]).any()
    if not varying.any():
        return np.ascontiguousarray(static.T)
    table = np.full((*shape, len(names)), np.nan)
    for each, column in enumerate(columns):
        if varying[each]:
            table[(*place, each)] = column
        else:
            table[:, :, each] = static[each][:, None]
    return table
