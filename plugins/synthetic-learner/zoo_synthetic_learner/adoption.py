"""When each unit is first treated, from what a user may say about it.

Every function returns [N] int64: the index of a unit's first treated period, T for units that never
are treated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoo_core.errors import InputError, enumeration, suggestion
from zoo_synthetic_learner.labels import cell, named
from zoo_synthetic_learner.numbers_given import as_numbers
from zoo_synthetic_learner.panel import Bools, Floats, Ints


def from_periods(periods: Any, units: pd.Index, num_periods: int) -> Ints:
    """Reads the first treated periods as indices.

    Args:
        periods: [N] indices from 0, each the number of periods before a unit's treatment; 0, None,
            NaN, NaT or inf for never.
        units: [N] labels.
        num_periods: T.

    Raises:
        InputError: booleans, fractions, negative numbers, or a period that the panel does not have.
    """
    given = _without_missing_times(periods)
    numbers = as_numbers(given, "D")
    if numbers.dtype.kind == "b":
        raise InputError(
            "D has one boolean for each unit, which does not say when; expected the index of its "
            "first treated period, or a table of units by periods."
        )
    first = numbers.astype(np.float64)
    never = np.isnan(first) | (first == np.inf) | (first == 0)
    first[never] = num_periods
    wrong = np.flatnonzero((first != np.floor(first)) | (first < 0))
    if wrong.size:
        raise InputError(
            f"D is {first[wrong[0]]:g} for unit {units[wrong[0]]}; expected the index of its first "
            "treated period: a whole number from 1 on, or 0 for never."
        )
    late = np.flatnonzero((first >= num_periods) & ~never)
    if late.size:
        raise InputError(
            f"D is {first[late[0]]:g} for unit {units[late[0]]}, but the panel has {num_periods} "
            "periods; expected an index below that, or 0 for never. For a label of time use "
            "fit_frame with first_treated=."
        )
    return first.astype(np.int64)


def from_indicator(
    indicator: npt.NDArray[Any], observed: Bools, units: pd.Index, times: pd.Index
) -> Ints:
    """Reads whether each cell is treated.

    Args:
        indicator: [N, T] of 0 and 1; NaN where the outcome was not observed either. A unit is
            treated from its first 1 on.
        observed: [N, T] where there is an outcome.
        units: [N] labels.
        times: [T] labels.

    Raises:
        InputError: other values, missing ones, or a treatment that ends.
    """
    on = indicator == 1
    off = indicator == 0
    odd = ~(on | off)
    if odd.any():
        missing = np.isnan(indicator)
        _refuse_odd(indicator, odd & ~missing, units, times)
        _refuse_missing(missing & observed, units, times)
    treated = on.any(axis=1)
    first = np.where(treated, on.argmax(axis=1), len(times))
    ended = off & (np.arange(len(times)) > first[:, None])
    if ended.any():
        row, period = np.argwhere(ended)[0]
        raise InputError(
            f"the treatment of unit {units[row]} starts at time {times[first[row]]} and is off "
            f"again at time {times[period]}; expected one that stays. Drop the unit, or its rows "
            "from then on."
        )
    return first.astype(np.int64)


def from_labels(labels: pd.Series, units: pd.Index, times: pd.Index, name: str) -> Ints:
    """Reads the first treated times as labels of time.

    Where there is no period of that label the next later one is the first treated. A label after
    the last period is as good as never: the unit is not treated while it is watched.

    Args:
        labels: [N] times; missing, inf and 0 are never. 0 is refused where it could be a time.
        units: [N] labels.
        times: [T] labels, ascending.
        name: the column, for errors.

    Raises:
        InputError: a 0 that could be a time, labels of another kind than the times.
    """
    values = pd.Index(labels.to_numpy(dtype=object)).infer_objects()
    if values.isna().all():
        return np.full(len(units), len(times), dtype=np.int64)
    if times.dtype.kind in "iuf":
        return _from_numbers(as_numbers(labels, name), units, times, name)
    known = np.flatnonzero(~values.isna())
    first = np.full(len(units), len(times), dtype=np.int64)
    if not isinstance(times, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex):
        first[known] = _listed(values[known], units[known], times, name)
        return first
    try:
        first[known] = times.searchsorted(values[known].infer_objects(), side="left")
    except (TypeError, ValueError):
        raise InputError(
            f"{name} is {values[known[0]]!s} for unit {units[known[0]]}, and times are of type "
            f"{times.dtype}; expected labels of the same type, or missing for never."
        ) from None
    return first


def check_design(first_treated: Ints, outcome: Floats, units: pd.Index, times: pd.Index) -> None:
    """Checks that there is something to learn from.

    Raises:
        InputError: nobody is treated, or everybody, or a treated unit has no outcome before or
            after its treatment starts.
    """
    num_periods = len(times)
    treated = np.flatnonzero(first_treated < num_periods)
    if not treated.size:
        raise InputError("no unit is treated in the periods given; expected at least one.")
    always = treated[first_treated[treated] == 0]
    if always.size:
        raise InputError(
            f"{named(units, always)}: treated from the first period, {times[0]}, on; expected "
            "periods before treatment. Drop such units or give earlier periods."
        )
    if treated.size == len(units):
        raise InputError(
            f"all {treated.size} units are treated at some time; expected some that never are. "
            "Where the groups of units start at different times, cut the panel before the last "
            "group starts, so that it never does."
        )
    for row in treated:
        seen = ~np.isnan(outcome[row])
        start = first_treated[row]
        for part, where in ((seen[:start], "before"), (seen[start:], "in")):
            if not part.any():
                raise InputError(
                    f"unit {units[row]}, treated from time {times[start]} on, has no outcome "
                    f"{where} its treatment; expected one at least. Drop the unit."
                )


def _without_missing_times(periods: Any) -> Any:
    """Returns None in place of NaT, which is of no kind of number."""
    dtype = getattr(periods, "dtype", None)
    if getattr(dtype, "kind", None) in ("m", "M") and pd.isna(periods).all():
        return np.full(len(periods), np.nan)
    return periods


def _refuse_odd(indicator: npt.NDArray[Any], odd: Bools, units: pd.Index, times: pd.Index) -> None:
    if odd.any():
        row, period = np.argwhere(odd)[0]
        raise InputError(
            f"the treatment of {cell(units, times, row, period)} is {indicator[row, period]:g}; "
            "expected 0 or 1."
        )


def _refuse_missing(missing: Bools, units: pd.Index, times: pd.Index) -> None:
    if missing.any():
        row, period = np.argwhere(missing)[0]
        raise InputError(
            f"the treatment of {cell(units, times, row, period)} is missing, though its outcome "
            "is not; expected 0 or 1."
        )


def _from_numbers(numbers: npt.NDArray[Any], units: pd.Index, times: pd.Index, name: str) -> Ints:
    labels = numbers.astype(np.float64)
    ticks = times.to_numpy(dtype=np.float64)
    zero = np.flatnonzero(labels == 0)
    if zero.size and ticks[0] <= 0 <= ticks[-1]:
        raise InputError(
            f"{name} is 0 for unit {units[zero[0]]}, which may be the time 0 or never; give "
            "missing for never and, for units treated from time 0 on, another scale of time."
        )
    first = np.searchsorted(ticks, labels, side="left").astype(np.int64)
    first[(labels == 0) | np.isnan(labels)] = len(times)
    return first


def _listed(labels: pd.Index, units: pd.Index, times: pd.Index, name: str) -> Ints:
    places = times.get_indexer(labels)
    unknown = np.flatnonzero(places < 0)
    if unknown.size:
        label = str(labels[unknown[0]])
        raise InputError(
            f"{name} is {label} for unit {units[unknown[0]]}, which is no time of the panel."
            f"{suggestion(label, map(str, times))} Expected one of "
            f"{enumeration(map(str, times))}, or missing for never."
        )
    return places.astype(np.int64)
