"""Labels of units and times as JSON values, and back as they were."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import CheckpointError, SaveError

_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NUMBERS += ("float32", "float64", "bool")
_TEXTS = ("object", "str", "string")


def labels_state(labels: pd.Index, what: str) -> dict[str, Any]:
    """Returns labels as JSON values with their kind.

    Args:
        labels: [k] text, numbers, dates, times, durations or periods.
        what: whose they are, for the message.

    Raises:
        SaveError: labels of another kind, or a name of the index that is neither text nor None.
    """
    if not (labels.name is None or isinstance(labels.name, str)):
        raise SaveError(f"the name of {what} is {labels.name!r}; only text can be saved.")
    return {"name": labels.name, **_written(labels, what)}


def _written(labels: pd.Index, what: str) -> dict[str, Any]:
    if isinstance(labels, pd.RangeIndex):
        return {"kind": "range", "values": [labels.start, labels.stop, labels.step]}
    if isinstance(labels, pd.PeriodIndex):
        ordinals = [period.ordinal for period in labels]
        return {"kind": "period", "freq": labels.freqstr, "values": ordinals}
    if isinstance(labels, pd.DatetimeIndex | pd.TimedeltaIndex) and not labels.hasnans:
        kind = "datetime" if isinstance(labels, pd.DatetimeIndex) else "timedelta"
        state = {"kind": kind, "unit": labels.unit, "freq": labels.freqstr}
        if isinstance(labels, pd.DatetimeIndex):
            state["tz"] = None if labels.tz is None else str(labels.tz)
        return state | {"values": [int(value) for value in labels.asi8]}
    dtype, values = str(labels.dtype), labels.tolist()
    if dtype in _NUMBERS and (labels.dtype.kind != "f" or np.isfinite(labels).all()):
        return {"kind": dtype, "values": values}
    if dtype == "object" and values and all(type(value) is datetime.date for value in values):
        return {"kind": "date", "values": [value.isoformat() for value in values]}
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    for value in plain:
        finite = not isinstance(value, float) or np.isfinite(value)
        if (
            dtype not in (*_NUMBERS, *_TEXTS)
            or type(value) not in (str, int, float, bool)
            or not finite
        ):
            raise SaveError(
                f"{what} have the label {value!r}, a {type(value).__name__} in an index of "
                f"{dtype}; text, numbers, dates, times, durations and periods can be saved."
            )
    return {"kind": dtype, "values": plain}


def labels_of(state: Any, size: int, what: str) -> pd.Index:
    """Returns the labels that `labels_state` has written.

    Args:
        state: JSON values, which anyone may have written.
        size: how many there must be.
        what: whose they are, for the message.

    Raises:
        CheckpointError: they are not labels, not so many or not distinct.
    """
    try:
        labels = _read(state["kind"], state["values"], state, size).rename(state["name"])
    except Exception as error:  # the file may be anyone's
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"the labels of {what} cannot be read: {reason}.") from error
    if len(labels) != size or not labels.is_unique:
        raise CheckpointError(f"{what} have {labels.nunique()} labels; expected {size}.")
    return labels


def _read(kind: Any, values: Any, state: dict[str, Any], size: int) -> pd.Index:
    if not isinstance(values, list) or not isinstance(state["name"], str | None):
        raise TypeError("expected a list of values and a name")
    if kind == "range":
        if len(range(*values)) != size:
            raise ValueError(f"the range has another length than {size}")
        return pd.RangeIndex(*values)
    if kind == "period":
        return pd.PeriodIndex([pd.Period(ordinal=it, freq=state["freq"]) for it in values])
    if kind in ("datetime", "timedelta"):
        instants = np.array(values, dtype=np.int64)
        dtype = f"{kind}64[{state['unit']}]"
        if kind == "timedelta":
            return pd.TimedeltaIndex(instants.view(dtype), freq=state["freq"])
        naive = pd.DatetimeIndex(instants.view(dtype))
        zoned = naive if state["tz"] is None else naive.tz_localize("UTC").tz_convert(state["tz"])
        zoned.freq = state["freq"]
        return zoned
    if kind == "date":
        read: Callable[[str], Any] = datetime.date.fromisoformat
        return pd.Index([read(value) for value in values], dtype=object)
    if kind not in (*_NUMBERS, *_TEXTS):
        raise ValueError(f"the kind {kind!r} is not known")
    if not all(isinstance(value, str | int | float) for value in values):
        raise TypeError(f"expected {kind}")
    return pd.Index(values, dtype=kind)
