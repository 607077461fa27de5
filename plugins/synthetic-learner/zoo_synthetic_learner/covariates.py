"""What is known of units: the paper's S, static or time-varying, without what tells nothing."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import InputError, ZooWarning, enumeration
from zoo_synthetic_learner.labels import cell
from zoo_synthetic_learner.numbers_given import as_floats
from zoo_synthetic_learner.panel import HUGE, Floats


def read_covariates(
    given: Any, units: pd.Index, times: pd.Index, *, labelled: bool
) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """Returns the covariates [N, d] or [N, T, d], and their d names, without constant ones.

    The names of all that were given are returned last.

    Args:
        given: [N, d], [N], or [N, T, d]; a DataFrame or Series too; None for no covariates.
        units: [N] labels.
        times: [T] labels.
        labelled: whether the labels are the user's own: rows of a DataFrame or Series are then
            found by them, in any order.

    Raises:
        InputError: another shape, a unit without a row, names that are not unique, values that are
            infinite or no numbers, a covariate without any value.

    Warns:
        ZooWarning: covariates were left out, being the same for all units and periods.
    """
    if given is None:
        return np.empty((len(units), 0)), (), ()
    names: tuple[str, ...] | None = None
    if isinstance(given, pd.DataFrame | pd.Series):
        given = aligned(given, units, "S") if labelled else given
        if isinstance(given, pd.DataFrame):
            names = tuple(map(str, given.columns))
        elif given.name is not None:
            names = (str(given.name),)
    values = as_floats(given, "S")
    if values.ndim == 1:
        values = values[:, None]
    _check_shape(values, len(units), len(times))
    if names is None:
        names = tuple(f"S{place + 1}" for place in range(values.shape[-1]))
    return check_covariates(values, names, units, times)


def check_covariates(
    values: Floats, names: tuple[str, ...], units: pd.Index, times: pd.Index
) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """Returns covariates without constant ones, their names, and the names of all.

    Raises and warns as `read_covariates`.
    """
    given = names
    repeated = [name for place, name in enumerate(names) if name in names[:place]]
    if repeated:
        raise InputError(f"there are two covariates named {repeated[0]}; expected other names.")
    infinite = np.argwhere(np.abs(values) > HUGE)
    if len(infinite):
        row, *period, place = (int(each) for each in infinite[0])
        where = cell(units, times, row, period[0]) if period else f"unit {units[row]}"
        raise InputError(
            f"covariate {names[place]} is infinite for {where}; expected at most {HUGE:g}, or NaN "
            "where it is missing."
        )
    over = tuple(range(values.ndim - 1))
    low = np.fmin.reduce(values, axis=over)
    high = np.fmax.reduce(values, axis=over)
    empty = np.flatnonzero(np.isnan(low))
    if empty.size:
        raise InputError(f"covariate {names[empty[0]]} has no values at all; leave it out.")
    constant = low == high
    if constant.any():
        dropped = [name for name, same in zip(names, constant, strict=True) if same]
        warnings.warn(
            f"covariates that are the same for all units and periods were left out: "
            f"{enumeration(dropped)}.",
            ZooWarning,
            stacklevel=4,
        )
        values = np.ascontiguousarray(values[..., ~constant])
        names = tuple(name for name in names if name not in dropped)
    return values, names, given


def aligned(table: Any, labels: pd.Index, name: str, kind: str = "unit") -> Any:
    """Returns the rows of a DataFrame or Series for these labels, in their order.

    Args:
        table: may have more rows than are asked for.
        labels: distinct ones.
        name: the argument, for errors.
        kind: what the labels are of.

    Raises:
        InputError: a label without a row, or with more than one; several levels of labels.
    """
    index = table.index
    if isinstance(index, pd.MultiIndex):
        raise InputError(
            f"{name} has {index.nlevels} levels of labels; expected one label for each {kind}. "
            "For covariates of units by periods use fit_frame or an array."
        )
    if not index.is_unique:
        again = index[index.duplicated()][0]
        raise InputError(f"{name} has more than one entry for {kind} {again}; expected one.")
    places = index.get_indexer(labels)
    absent = np.flatnonzero(places < 0)
    if absent.size:
        some = enumeration([str(labels[row]) for row in absent], 3)
        raise InputError(
            f"{name} has no entry for {kind} {some}; expected one for every {kind} of Y. Entries "
            "of pandas objects are found by their labels; pass an array in the order of Y instead."
        )
    return table.take(places)


def _check_shape(values: Floats, num_units: int, num_periods: int) -> None:
    shape = list(values.shape)
    fits = values.ndim in (2, 3) and shape[0] == num_units
    if not fits or (values.ndim == 3 and shape[1] != num_periods):
        raise InputError(
            f"S has shape {shape}; expected [{num_units}, d], or [{num_units}, {num_periods}, d] "
            "where covariates vary over time."
        )
