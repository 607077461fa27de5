"""Ids and times given by a user, as NumPy arrays, or an error that names the argument."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray

from zoo_core.errors import InputError

Ids = NDArray[np.int64]
Times = NDArray[np.int64] | NDArray[np.float64]

_LARGEST = np.iinfo(np.int64).max
_EXACT = 2**53
"""Up to here every integer is a float64."""


def as_ids(values: object, name: str, size: int | None = None) -> Ids:
    """Returns non-negative integers as int64 [n], contiguous and writable.

    That is without a copy where they are all of this already.

    Args:
        values: a tensor, an array or a list.
        name: the argument, for errors.
        size: how many there have to be, if known.

    Raises:
        InputError: another shape, values that are not integers, negative or too large.
    """
    array = _vector(values, name, size)
    if array.size == 0:
        return np.zeros(0, np.int64)
    _check_integers(array, name)
    if array.min() < 0:
        raise InputError(f"{name} has the negative id {array.min()}; ids count from 0.")
    if array.dtype.kind == "u" and array.max() > _LARGEST:
        raise InputError(f"{name} has the id {array.max()}; expected at most {_LARGEST}.")
    return _plain(array, np.int64)


def as_nodes(values: object, num_nodes: int, name: str = "nodes", size: int | None = None) -> Ids:
    """Returns node ids as int64 [n]; raises InputError as `as_ids`, and for unknown nodes."""
    nodes = as_ids(values, name, size)
    if nodes.size and nodes.max() >= num_nodes:
        raise InputError(
            f"{name} has the id {nodes.max()}, but there are {num_nodes} nodes; "
            f"expected ids below that."
        )
    return nodes


def check_num_nodes(num_nodes: object) -> int:
    """Returns a number of nodes as an int; raises InputError where it is none."""
    if isinstance(num_nodes, bool) or not isinstance(num_nodes, Integral) or num_nodes < 0:
        raise InputError(f"num_nodes is {num_nodes!r}; expected an integer of at least 0.")
    return int(num_nodes)


def count_nodes(*ids: Ids) -> int:
    """Returns one more than the largest id, 0 without ids."""
    return max((int(each.max()) + 1 for each in ids if each.size), default=0)


def as_times(values: object, name: str, size: int | None = None) -> Times:
    """Returns times exactly as they are: integers as int64 [n], others as float64 [n].

    As those of `as_ids` they are contiguous and writable.

    Raises:
        InputError: another shape, no numbers, NaN or infinite ones, integers beyond int64.
    """
    array = _vector(values, name, size)
    if array.size and array.dtype.kind not in "iuf":
        raise InputError(f"{name} are of type {array.dtype}; expected integers or floats.")
    if array.dtype.kind not in "iu":
        if array.size and array.dtype.itemsize > 8:
            raise InputError(f"{name} are of type {array.dtype}; expected float64 at most.")
        times = _plain(array, np.float64)
        if not np.isfinite(times).all():
            raise InputError(f"{name} has NaN or infinite values; expected finite times.")
        return times
    # The largest int64 is kept free: it stands for any time after all events.
    if array.size and array.max() >= _LARGEST:
        raise InputError(f"{name} has the value {array.max()}; expected below {_LARGEST}.")
    return _plain(array, np.int64)


def cut_times(times: Times, dtype: np.dtype) -> Times:
    """Returns the times in the dtype of events such that "event < time" stays exact.

    Among integers t < 5.5 is t < 6; among floats, t < 2^53 + 1 is t < 2^53 + 2.

    Args:
        times: [B], as `as_times` returns them.
        dtype: that of the events.
    """
    if times.dtype == dtype:
        return times
    if dtype == np.int64:
        ceiling = np.ceil(times)
        late = ceiling >= 2.0**63
        cuts = np.clip(np.where(late, 0.0, ceiling), -(2.0**63), None).astype(np.int64)
        cuts[late] = _LARGEST
        return cuts
    cuts = times.astype(np.float64)
    if times.size and max(-int(times.min()), int(times.max())) > _EXACT:
        # 2^63 itself comes from rounding up, and is no int64 to compare with.
        rounded_down = (cuts < 2.0**63) & (
            np.where(cuts < 2.0**63, cuts, 0).astype(np.int64) < times
        )
        cuts = np.where(rounded_down, np.nextafter(cuts, np.inf), cuts)
    return cuts


def same_dtype(times: Times, dtype: np.dtype, name: str) -> Times:
    """Returns the times of new events in the dtype of those already there, exactly.

    Raises:
        InputError: a fraction among integers, or an integer that is no float64.
    """
    if times.dtype == dtype:
        return times
    if dtype == np.int64:
        whole = (times == np.floor(times)) & (np.abs(times) < 2.0**63)
        if not whole.all():
            raise InputError(
                f"{name} has {times[~whole][0]}, and the index holds integer times; "
                f"build it with float times."
            )
        return times.astype(np.int64)
    if times.size and max(-int(times.min()), int(times.max())) > _EXACT:
        raise InputError(
            f"{name} has integers beyond 2^53, and the index holds float64 times; "
            f"build it with integer times."
        )
    return times.astype(np.float64)


def check_width(width: object, name: str = "width") -> None:
    """Checks that a window's width is a finite number of at least 0."""
    number = isinstance(width, int | float | np.integer | np.floating)
    if not number or isinstance(width, bool) or not 0 <= width < np.inf:
        raise InputError(f"{name} is {width!r}; expected a finite number of at least 0.")


def window_start(times: Times, width: float) -> Times:
    """Returns t - width [B]: in float64, or among integers exactly."""
    if times.dtype == np.int64 and width == int(width):
        # Held to the smallest int64, since all would wrap around below it.
        limits = np.iinfo(np.int64)
        reach = min(int(width), limits.max)
        return np.maximum(times, limits.min + reach) - reach
    return times - float(width)


def as_positions(values: object, rows: int, name: str) -> NDArray[np.int64]:
    """Returns integer positions as int64 [rows, K].

    Raises:
        InputError: another shape, or values that are not integers.
    """
    array = _array(values, name)
    if array.ndim != 2 or len(array) != rows:
        raise InputError(f"{name} has shape {list(array.shape)}; expected [{rows}, K].")
    if array.size:
        _check_integers(array, name)
    return _plain(array, np.int64)


def _check_integers(array: np.ndarray, name: str) -> None:
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} are of type {array.dtype}; expected integers.")


def _vector(values: object, name: str, size: int | None) -> np.ndarray:
    array = _array(values, name)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {list(array.shape)}; expected one dimension.")
    if size is not None and len(array) != size:
        raise InputError(f"{name} has length {len(array)}; expected {size}.")
    return array


def _plain(array: np.ndarray, dtype: type) -> np.ndarray:
    """Returns an array that torch can share, a copy where the given one is none."""
    plain = np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"])
    # NumPy calls a reversed array of one entry contiguous, which torch refuses.
    return plain.copy() if min(plain.strides) < 0 else plain


def _array(values: object, name: str) -> np.ndarray:
    if isinstance(values, torch.Tensor) and values.is_meta:
        raise InputError(f"{name} is on the meta device, without values; expected some.")
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()
            return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name} is no array of numbers: {reason}") from None


def whole_times(times: Times) -> Times:
    """Returns times as int64 where all are whole, else as they are.

    Differences to events at integer times are then exact. No float64 from 2^53 on has a fraction.
    """
    if times.dtype == np.int64 or not times.size:
        return times
    whole = (times == np.floor(times)) & (np.abs(times) < 2.0**63)
    return times.astype(np.int64) if whole.all() else times
