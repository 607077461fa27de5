from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zoo_core.errors import InputError
from zoo_synthetic_learner.matrices import read_matrices

Y = np.array(
    [
        [1.0, 2.0, 3.0, 9.0],
        [2.0, 2.5, 3.5, 4.0],
        [0.0, 1.0, 1.5, 2.0],
    ]
)
D = [3, 0, 0]
UNITS = ["a", "b", "c"]
YEARS = [2001, 2002, 2003, 2004]


def labelled(index: object = UNITS, columns: object = YEARS) -> pd.DataFrame:
    return pd.DataFrame(Y, index=index, columns=columns)


def changed(values: object, place: tuple[int, ...], value: object) -> np.ndarray:
    array = np.array(values)
    array[place] = value
    return array


ON = np.array([[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])

OUTCOMES = {
    "one dimension": (Y[0], "Y has shape [4]; expected [N, T]"),
    "three dimensions": (Y[None], "Y has shape [1, 3, 4]"),
    "no units": (np.empty((0, 4)), "Y has shape [0, 4]; expected [N, T], units by periods, not"),
    "no periods": (np.empty((3, 0)), "Y has shape [3, 0]"),
    "an empty list": ([], "Y has shape [0]"),
    "nothing": (None, "Y is of type NoneType; expected an array"),
    "a word": ("Y", "Y holds values of type <U1"),
    "ragged": ([[1.0, 2.0], [3.0]], "Y is no array of numbers"),
    "text": (Y.astype(str), "Y holds values of type <U32; expected numbers"),
    "text among objects": (changed(Y.astype(object), (1, 2), "3.5"), "of type str, such as '3.5'"),
    "a word of NumPy": (changed(Y.astype(object), (1, 2), np.str_("3.5")), "of type str_, such as"),
    "a date": (
        changed(Y.astype(object), (1, 2), np.datetime64("2001")),
        "of type datetime64, such",
    ),
    "a complex one": (changed(Y.astype(object), (1, 2), np.complex128(1j)), "of type complex128, "),
    "complex": (Y + 1j, "Y holds values of type complex128"),
    "complex frame": (pd.DataFrame(Y + 1j), "Y, column 0, holds values of type complex128"),
    "dates": (Y.astype("datetime64[D]"), "Y holds values of type datetime64[D]"),
    "a column of text": (labelled().assign(d="x"), "Y, column d, holds values of type str"),
    "infinite": (changed(Y, (1, 2), np.inf), "outcome of unit 1 at time 2 is inf"),
    "minus infinite": (changed(Y, (2, 0), -np.inf), "outcome of unit 2 at time 0 is -inf"),
    "a period without": (changed(Y, (slice(None), 1), np.nan), "no unit has an outcome at time 1"),
    "never before": (
        changed(Y, (0, slice(0, 3)), np.nan),
        "unit 0, treated from time 3 on, has no",
    ),
    "never after": (changed(Y, (0, 3), np.nan), "has no outcome in its treatment"),
    "labelled twice": (labelled(index=["a", "b", "a"]), "units of Y have the label a more than"),
    "times twice": (labelled(columns=[1, 2, 2, 3]), "the times of Y have the label 2 more than"),
    "no unit label": (labelled(index=["a", None, "c"]), "units of Y have no label at position 1"),
    "no time label": (
        labelled(columns=[2001, 2002, np.nan, 2004]),
        "the times of Y have no label at position 2",
    ),
    "levels": (
        labelled(index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])),
        "the units of Y have 2 levels",
    ),
    "years out of order": (
        labelled(columns=[2001, 2003, 2002, 2004]),
        "the times of Y are not in the order of time: 2003 stands before 2002",
    ),
    "dates out of order": (
        labelled(columns=pd.to_datetime(["2004-01-01", "2001-01-01", "2002-01-01", "2003-01-01"])),
        "2004-01-01 00:00:00 stands before 2001-01-01",
    ),
    "text out of order": (
        labelled(columns=["1970Q2", "1970Q1", "1970Q3", "1970Q4"]),
        "1970Q2 stands before 1970Q1",
    ),
}

TREATMENTS = {
    "of another length": ([3, 0], "D has shape [2]; expected [3] with the index"),
    "of another shape": (np.zeros((3, 5)), "D has shape [3, 5]; expected [3] with"),
    "transposed": (ON.T, "D has shape [4, 3]"),
    "ragged": ([[0], [0, 1], [1]], "D has rows of different lengths"),
    "nothing": (None, "D has shape []"),
    "one number": (3, "D has shape []"),
    "nobody": ([0, 0, 0], "no unit is treated"),
    "nobody at all": (np.full(3, np.nan), "no unit is treated"),
    "nobody, as no time": (pd.to_datetime([None] * 3), "no unit is treated"),
    "nobody in a table": (np.zeros((3, 4)), "no unit is treated"),
    "everybody": ([1, 2, 3], "all 3 units are treated at some time"),
    "booleans": ([True, False, False], "D has one boolean for each unit"),
    "records": (np.zeros(3, dtype=[("a", int)]), "D holds values of type [('a', '<i8')]"),
    "a fraction": ([2.5, 0, 0], "D is 2.5 for unit 0; expected the index"),
    "negative": ([0, -1, 2], "D is -1 for unit 1"),
    "minus infinite": ([0, 2, -np.inf], "D is -inf for unit 2"),
    "just too late": ([0, 4, 0], "D is 4 for unit 1, but the panel has 4 periods"),
    "a year": ([2003, 0, 0], "D is 2003 for unit 0, but the panel has 4 periods"),
    "text": (["3", "0", "0"], "D holds values of type <U1"),
    "times": (pd.to_datetime(["2001", None, None], format="%Y"), "D holds values of type datetime"),
    "a half": (changed(ON.astype(float), (0, 2), 0.5), "treatment of unit 0 at time 2 is 0.5"),
    "two": (changed(ON, (1, 3), 2), "treatment of unit 1 at time 3 is 2; expected 0 or 1"),
    "minus one": (changed(ON, (1, 3), -1), "treatment of unit 1 at time 3 is -1"),
    "infinite": (changed(ON.astype(float), (0, 3), np.inf), "unit 0 at time 3 is inf"),
    "a gap": (changed(ON.astype(float), (0, 3), np.nan), "unit 0 at time 3 is missing, though"),
    "that ends": (changed(ON, (2, 1), 1), "unit 2 starts at time 1 and is off again at time 2"),
    "always": (changed(ON, (1, slice(None)), 1), "unit 1: treated from the first period, 0, on"),
}

COVARIATES = {
    "of another length": (np.arange(4.0), "S has shape [4, 1]; expected [3, d]"),
    "of other units": (np.ones((2, 5)), "S has shape [2, 5]"),
    "of other periods": (
        np.ones((3, 5, 2)),
        "S has shape [3, 5, 2]; expected [3, d], or [3, 4, d]",
    ),
    "of four dimensions": (np.ones((3, 4, 1, 1)), "S has shape [3, 4, 1, 1]"),
    "a number": (1.0, "S has shape []"),
    "text": ([["x"], ["y"], ["z"]], "S holds values of type <U1; expected numbers"),
    "infinite": ([1.0, np.inf, 3.0], "covariate S1 is infinite for unit 1;"),
    "infinite once": (
        changed(np.arange(12.0).reshape(3, 4, 1), (2, 3, 0), -np.inf),
        "covariate S1 is infinite for unit 2 at time 3",
    ),
    "without values": ([[1.0, np.nan], [2.0, np.nan], [3.0, np.nan]], "covariate S2 has no values"),
    "named twice": (
        pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["x", "x"]),
        "two covariates named x",
    ),
    "categories": (
        pd.DataFrame({"kind": pd.Categorical(["u", "v", "u"])}),
        "S, column kind, holds values of type category; expected numbers",
    ),
}


def refuses(message: str, *given: object) -> None:
    with pytest.raises(InputError) as caught:
        read_matrices(*given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcomes_refused(case: str) -> None:
    values, message = OUTCOMES[case]
    refuses(message, values, D)


@pytest.mark.parametrize("case", TREATMENTS)
def test_treatments_refused(case: str) -> None:
    values, message = TREATMENTS[case]
    refuses(message, Y, values)


@pytest.mark.parametrize("case", COVARIATES)
def test_covariates_refused(case: str) -> None:
    values, message = COVARIATES[case]
    refuses(message, Y, D, values)


def test_messages_name_units_and_times_by_their_labels() -> None:
    table = labelled()
    table.loc["b", 2003] = np.inf
    refuses("outcome of unit b at time 2003 is inf", table, D)
    refuses("D is 7 for unit c", labelled(), [3, 0, 7])
    refuses(
        "unit c starts at time 2002 and is off again at time 2003",
        labelled(),
        changed(ON, (2, 1), 1),
    )
    refuses("covariate S1 is infinite for unit c;", labelled(), D, [1.0, 2.0, np.inf])


def test_labels_that_do_not_fit() -> None:
    refuses("D has no entry for unit c", labelled(), pd.Series({"a": 3, "b": 0}))
    refuses("D has no entry for unit a, b, c", labelled(), pd.Series(D))
    refuses("more than one entry for unit a", labelled(), pd.Series([3, 0, 0, 0], [*UNITS, "a"]))
    refuses("S has no entry for unit b", labelled(), D, pd.DataFrame({"x": [1.0, 2.0]}, ["a", "c"]))
    refuses("S has no entry for unit a", labelled(), D, pd.Series([1.0, 2.0], ["b", "c"]))
    levels = pd.MultiIndex.from_product([UNITS, YEARS])
    refuses("S has 2 levels of labels", labelled(), D, pd.DataFrame({"x": np.arange(12.0)}, levels))


def test_one_unit_alone_has_no_controls() -> None:
    refuses("all 1 units are treated", Y[:1], [2])
    refuses("no unit is treated", Y[:1], [0])


def test_one_period_alone_has_none_before() -> None:
    refuses("D is 1 for unit 0, but the panel has 1 periods", Y[:, :1], [1, 0, 0])
    refuses("treated from the first period, 0, on", Y[:, :1], np.array([[1], [0], [0]]))
