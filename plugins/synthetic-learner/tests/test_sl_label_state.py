"""Labels are written as JSON and come back as the same index; others are refused."""

import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zoo_core.errors import CheckpointError, SaveError
from zoo_synthetic_learner.label_state import labels_of, labels_state

DAY = datetime.date(1970, 1, 2)


@pytest.mark.parametrize(
    "labels",
    [
        pd.RangeIndex(2, 11, 3),
        pd.Index(["Utah", "Ohio", "ß\n"], name="state"),
        pd.Index(["Utah", "Ohio"], dtype=object),
        pd.Index(["Utah", "Ohio"], dtype="string"),
        pd.Index([1970, 1971, 1980]),
        pd.Index([7, 2], dtype="int32"),
        pd.Index([2**64 - 1, 2**63], dtype="uint64"),
        pd.Index([0.1, 0.1 + 0.2, -1e300]),
        pd.Index([False, True]),
        pd.Index(["a", 1, 2.5], dtype=object),
        pd.Index([np.int64(3), "b"], dtype=object),
        pd.Index([DAY, DAY.replace(year=2000)], dtype=object),
        pd.date_range("1970-01-31", periods=4, freq="MS"),
        pd.DatetimeIndex(["1969-05-05 10:00:00.123456789", "2030-01-01"]),
        pd.DatetimeIndex(["1969-05-05", "2030-01-01"]).as_unit("s"),
        pd.date_range("2020-03-28 12:00", periods=3, freq="D", tz="Europe/Paris"),
        pd.date_range("2020-03-28", periods=2, freq="min", tz="UTC"),
        pd.to_timedelta(["1h", "2D"]),
        pd.period_range("1999Q4", periods=5, freq="Q"),
        pd.period_range("1969", periods=3, freq="Y-JUN", name="year"),
    ],
)
def test_labels_come_back_as_the_same_index(labels: pd.Index) -> None:
    state = json.loads(json.dumps(labels_state(labels, "units"), allow_nan=False))
    back = labels_of(state, len(labels), "units")
    pd.testing.assert_index_equal(back, labels, exact=True)
    assert back.tolist() == labels.tolist()
    assert getattr(back, "freq", None) == getattr(labels, "freq", None)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.Index([("a", 1), ("b", 2)]), r"label \('a', 1\), a tuple"),
        (pd.Index([1.0, np.nan]), "label nan"),
        (pd.Index(["a", None], dtype=object), "label None"),
        (pd.Index([1j, 2.0]), "label 1j, a complex"),
        (pd.Index([DAY, "a"], dtype=object), "a date in an index of object"),
        (pd.interval_range(0, 2), "Interval"),
        (pd.DatetimeIndex(["2020-01-01", pd.NaT]), "label Timestamp"),
        (pd.CategoricalIndex(["a", "b"]), "label 'a', a str in an index of category"),
        (pd.Index([1, 2], name=("a", "b")), r"the name of units is \('a', 'b'\)"),
    ],
)
def test_labels_of_other_kinds_are_refused(labels: pd.Index, message: str) -> None:
    with pytest.raises(SaveError, match=message):
        labels_state(labels, "units")


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {},
        {"kind": "str", "values": ["a", "b"]},
        {"kind": "str", "values": "ab", "name": None},
        {"kind": "str", "values": ["a", "b"], "name": ["x"]},
        {"kind": "str", "values": ["a"], "name": None},
        {"kind": "str", "values": ["a", "a"], "name": None},
        {"kind": "object", "values": [["a"], ["b"]], "name": None},
        {"kind": "object", "values": ["a", None], "name": None},
        {"kind": "category", "values": ["a", "b"], "name": None},
        {"kind": ["str"], "values": ["a", "b"], "name": None},
        {"kind": "int64", "values": ["a", "b"], "name": None},
        {"kind": "int8", "values": [1, 1000], "name": None},
        {"kind": "range", "values": [0, 10**15, 1], "name": None},
        {"kind": "range", "values": [0, 2, 0], "name": None},
        {"kind": "period", "values": [1, 2], "name": None, "freq": "nonsense"},
        {"kind": "period", "values": ["a", 2], "name": None, "freq": "Y"},
        {"kind": "datetime", "values": [1, 2], "name": None, "unit": "s", "tz": "Mars/One"},
        {"kind": "datetime", "values": [1, 2], "name": None, "unit": "x", "tz": None},
        {"kind": "datetime", "values": [1, 10**30], "name": None, "unit": "s", "tz": None},
        {"kind": "date", "values": ["1970-01-01", "x"], "name": None},
    ],
)
def test_values_that_are_no_labels_are_refused(state: Any) -> None:
    with pytest.raises(CheckpointError, match=r"^(the labels of )?units") as caught:
        labels_of(state, 2, "units")
    assert "\n" not in str(caught.value)
