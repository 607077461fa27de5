"""Labels of units and times: unique, none missing, and times in an order that is known."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from zoo_core.errors import InputError, enumeration
from zoo_synthetic_learner.panel import Ints

_NUMBERED = re.compile(r"(\D*)(\d+)")
_YEAR_FIRST = re.compile(
    r"\d{4}(?:[-/. ]?[QMWHS]?\d{1,2}){0,2}(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"
)


def read_axis(labels: pd.Index, name: str, *, times: bool) -> pd.Index:
    """Returns the labels of one axis of a matrix, which stand in its order.

    Args:
        labels: as a DataFrame has them.
        name: what they are, for errors.
        times: whether they are times. Those are then checked to ascend where their order is known;
            of text that has none the order given is taken.

    Raises:
        InputError: several levels, a missing or repeated label, times that do not ascend.
    """
    if isinstance(labels, pd.MultiIndex):
        raise InputError(f"{name} have {labels.nlevels} levels; expected one label for each.")
    missing = np.flatnonzero(labels.isna())
    if missing.size:
        raise InputError(f"{name} have no label at position {missing[0]}; expected one for each.")
    repeated = labels[labels.duplicated()]
    if len(repeated):
        raise InputError(f"{name} have the label {repeated[0]} more than once; expected it once.")
    if times:
        order = time_order(labels)
        if order is not None and not np.array_equal(order, np.arange(len(labels))):
            late = int(np.flatnonzero(np.diff(np.argsort(order)) < 0)[0])
            raise InputError(
                f"{name} are not in the order of time: {labels[late]} stands before "
                f"{labels[late + 1]}. Sort the columns, or use fit_frame, which sorts."
            )
    return _plain(labels)


def read_column(column: pd.Series, name: str, *, times: bool) -> tuple[Ints, pd.Index]:
    """Returns the distinct labels of a column, sorted, and for each row the place of its own.

    Args:
        column: [rows] labels; in the order of its categories where it is an ordered Categorical.
        name: the column, for errors.
        times: whether they are times, whose order has to be known.

    Raises:
        InputError: missing labels, or times without a known order.
    """
    missing = np.flatnonzero(column.isna())
    if missing.size:
        raise InputError(
            f"{name} has no label in row {missing[0]} (of {missing.size} such rows); "
            "fill them in or drop those rows."
        )
    try:
        codes, found = pd.factorize(column.infer_objects())
        labels = pd.Index(found)
        order = time_order(labels) if times else _unit_order(labels)
    except TypeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name} has labels that cannot be used: {reason}") from None
    if order is None:
        raise InputError(
            f"{name} has labels whose order in time is not known, such as "
            f"{enumeration(map(str, labels), 3)}; expected numbers, dates, periods, text such as "
            "1970Q1 or wave 2, or an ordered Categorical."
        )
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places[codes], _plain(labels[order]).rename(column.name)


def time_order(labels: pd.Index) -> Ints | None:
    """Returns the order [T] in which distinct labels ascend in time, or None if nobody can know.

    Text is ordered where it is one number after the same beginning ("wave 2" before "wave 10"), or
    where it starts with the year and has the larger parts first ("1970Q4", "1970-12-31").
    """
    if isinstance(labels, pd.CategoricalIndex):
        if labels.ordered:
            return np.argsort(labels.codes, kind="stable")
        labels = _plain(labels)
    labels = labels.infer_objects()
    if labels.dtype.kind in "iuf" and not np.isfinite(labels.to_numpy(np.float64)).all():
        return None
    if labels.dtype.kind in "iufMm" or isinstance(labels, pd.DatetimeIndex | pd.PeriodIndex):
        return np.asarray(labels.argsort(), dtype=np.int64)
    kind = pd.api.types.infer_dtype(labels)
    if kind == "date":
        return np.asarray(labels.argsort(), dtype=np.int64)
    return _text_order(list(labels)) if kind == "string" else None


def _text_order(labels: Sequence[str]) -> Ints | None:
    numbered = [_NUMBERED.fullmatch(label) for label in labels]
    if all(numbered) and len({found[1] for found in numbered if found}) == 1:
        numbers = [int(found[2]) for found in numbered if found]
        if len(set(numbers)) == len(numbers):
            return np.array(sorted(range(len(numbers)), key=numbers.__getitem__), dtype=np.int64)
    alike = len({len(label) for label in labels}) == 1
    if alike and all(map(_YEAR_FIRST.fullmatch, labels)):
        return np.array(sorted(range(len(labels)), key=labels.__getitem__), dtype=np.int64)
    return None


def _unit_order(labels: pd.Index) -> Ints:
    if isinstance(labels, pd.CategoricalIndex):
        return np.argsort(labels.codes, kind="stable")
    # Numbers before text, where there are both.
    codes, _ = pd.factorize(labels, sort=True)
    return np.argsort(codes, kind="stable")


def _plain(labels: pd.Index) -> pd.Index:
    if isinstance(labels, pd.CategoricalIndex):
        return pd.Index(labels.categories.take(labels.codes), name=labels.name)
    if pd.api.types.is_extension_array_dtype(labels.dtype) and labels.dtype.kind in "iuf":
        return pd.Index(labels.to_numpy(dtype=f"{labels.dtype.kind}8"), name=labels.name)
    return labels.infer_objects()


def cell(units: pd.Index, times: pd.Index, row: int, period: int) -> str:
    """Returns how errors name a cell."""
    return f"unit {units[row]} at time {times[period]}"


def named(units: pd.Index, rows: Ints) -> str:
    """Returns how errors name units: "unit A" or "units A, B and 3 more"."""
    some = enumeration([str(units[row]) for row in rows])
    return f"unit{'s' if len(rows) > 1 else ''} {some}"
