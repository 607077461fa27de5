"""Numbers given by a user in any container, or an error that names the argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import issparse

from zoo_core.errors import InputError
from zoo_synthetic_learner.panel import Floats

_NO_NUMBERS = (np.character, np.complexfloating, np.datetime64, np.timedelta64)
"""NumPy's own scalars, which all have a float, though these should not."""


def as_numbers(values: Any, name: str) -> npt.NDArray[Any]:
    """Returns numbers as an array of booleans, integers or floats, NaN where there are none.

    That is without a copy where they are one already.

    Args:
        values: an array, a list, a masked array, a Series or a DataFrame.
        name: the argument or column, for errors.

    Raises:
        InputError: something else than real numbers.
    """
    if isinstance(values, pd.DataFrame):
        return _of_table(values, name)
    if isinstance(values, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        return _of_column(pd.Series(values, copy=False), name)
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(_checked(values, name).astype(np.float64), np.nan)
    if issparse(values):
        raise InputError(f"{name} is sparse; expected a dense array, as toarray() returns.")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name} is no array of numbers: {reason}") from None
    if array.dtype.kind == "O" and array.ndim == 0:
        raise InputError(f"{name} is of type {type(values).__name__}; expected an array.")
    return _checked(array, name)


def as_floats(values: Any, name: str) -> Floats:
    """Returns numbers as a new float64 array in C order; raises InputError as `as_numbers`."""
    return np.array(as_numbers(values, name), dtype=np.float64, order="C")


def _of_table(table: pd.DataFrame, name: str) -> npt.NDArray[Any]:
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in table.dtypes):
        return table.to_numpy()
    columns = np.empty(table.shape, dtype=np.float64)
    for place, label in enumerate(table.columns):
        columns[:, place] = _of_column(table.iloc[:, place], f"{name}, column {label},")
    return columns


def _of_column(column: pd.Series, name: str) -> npt.NDArray[Any]:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return _checked(column.to_numpy(), name)
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    raise _no_numbers(name, str(dtype))


def _checked(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if array.dtype.kind in "biuf" or array.size == 0:
        return array
    if array.dtype.kind != "O":
        raise _no_numbers(name, str(array.dtype))
    try:
        return _of_objects(array, name)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())
        raise InputError(f"{name} is no array of numbers: {reason}") from None


def _of_objects(array: npt.NDArray[Any], name: str) -> Floats:
    missing = pd.isna(array)
    for each in array[~missing]:
        if isinstance(each, _NO_NUMBERS) or not hasattr(each, "__float__"):
            raise _no_numbers(name, type(each).__name__, each)
    numbers = np.full(array.shape, np.nan)
    numbers[~missing] = array[~missing].astype(np.float64)
    return numbers


def _no_numbers(name: str, kind: str, example: object = None) -> InputError:
    such = "" if example is None else f", such as {str(example)[:40]!r}"
    return InputError(
        f"{name} holds values of type {kind}{such}; expected numbers. Convert them, with "
        "astype(float) or, for categories, pandas.get_dummies."
    )
