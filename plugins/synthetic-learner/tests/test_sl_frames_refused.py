from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.frames import read_frame

COLUMNS = {"unit": "who", "time": "when", "outcome": "y", "treatment": "on"}
SINCE = {"unit": "who", "time": "when", "outcome": "y", "first_treated": "since"}


def table(**columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "who": np.repeat(["a", "b", "c"], 4),
            "when": np.tile([1, 2, 3, 4], 3),
            "y": [1.0, 2.0, 3.0, 9.0, 2.0, 2.5, 3.5, 4.0, 0.0, 1.0, 1.5, 2.0],
            "on": [0, 0, 1, 1] + [0] * 8,
            "since": [3] * 4 + [0] * 8,
            "x": np.repeat([5.0, 6.0, 7.0], 4),
        }
    )
    return frame.assign(**columns)


def changed(column: str, row: int, value: object) -> pd.DataFrame:
    frame = table()
    frame[column] = frame[column].astype(object if isinstance(value, str) else float)
    frame.loc[row, column] = value
    return frame


def by_unit(*values: object) -> np.ndarray:
    return np.repeat(np.array(values, dtype=object), 4)


def by_time(*values: object) -> list[object]:
    return list(values) * 3


ROWS = {
    "a row twice": (
        pd.concat([table(), table().iloc[[6]]]),
        "more than one row for unit b at time 3, and 1 rows too many",
    ),
    "all rows twice": (pd.concat([table()] * 2), "unit a at time 1, and 12 rows too many"),
    "no rows": (table().iloc[:0], "df has no rows"),
    "no label": (table(who=by_unit("a", None, "c")), "unit column who has no label in row 4 (of 4"),
    "no time": (changed("when", 5, np.nan), "time column when has no label in row 5 (of 1 such"),
    "infinite time": (changed("when", 5, np.inf), "labels whose order in time is not known"),
    "lists": (table(who=[[1]] * 12), "unit column who has labels that cannot be used"),
    "months": (
        table(when=by_time("Jan", "Feb", "Mar", "Apr")),
        "order in time is not known, such as Jan, Feb, Mar",
    ),
    "days first": (table(when=by_time("01/2001", "02/2001", "03/2001", "01/2002")), "not known"),
    "quarters first": (table(when=by_time("Q1 1", "Q2 1", "Q3 1", "Q1 2")), "not known"),
    "two texts for one": (table(when=by_time("t1", "t01", "t2", "t3")), "not known"),
    "two beginnings": (table(when=by_time("wave 1", "trial 2", "wave 3", "wave 4")), "not known"),
    "years of two lengths": (table(when=by_time("1999", "2000-1", "2001", "2002")), "not known"),
    "mixed times": (table(when=by_time(1, "2", 3, 4)), "not known"),
    "unordered categories": (
        table(when=pd.Categorical(by_time("low", "mid", "top", "end"))),
        "not known",
    ),
    "times of their own": (
        pd.DataFrame(
            {"who": np.arange(4000), "when": np.arange(4000) * 1.0, "y": 1.0, "on": 0, "x": 0}
        ),
        "df has 4000 rows for 4000 units and 4000 times",
    ),
    "text": (table(y="1"), "outcome column y holds values of type str"),
    "text among numbers": (changed("y", 3, "x"), "outcome column y holds values of type str, such"),
    "infinite": (changed("y", 6, np.inf), "the outcome of unit b at time 3 is inf"),
    "an empty period": (
        table(y=by_time(1.0, np.nan, 2.0, 3.0)),
        "no unit has an outcome at time 2",
    ),
    "nobody": (table(on=0), "no unit is treated"),
    "everybody": (table(on=by_time(0, 0, 1, 1)), "all 3 units are treated at some time"),
    "always": (
        table(on=[1] * 8 + [0] * 4),
        "units a, b: treated from the first period, 1, on",
    ),
    "only after": (table().drop(index=[0, 1]), "unit a, treated from time 3 on, has no outcome be"),
    "ends": (changed("on", 3, 0), "unit a starts at time 3 and is off again at time 4"),
    "two": (changed("on", 6, 2), "the treatment of unit b at time 3 is 2"),
    "a half": (changed("on", 6, 0.5), "the treatment of unit b at time 3 is 0.5"),
    "negative": (changed("on", 6, -1), "the treatment of unit b at time 3 is -1"),
    "no treatment": (changed("on", 6, np.nan), "treatment of unit b at time 3 is missing, though"),
    "treatment as text": (table(on="0"), "treatment column on holds values of type str"),
}

FIRST = {
    "from the first": (table(since=by_unit(1, 0, 0)), "unit a: treated from the first period, 1"),
    "before": (table(since=by_unit(-3, 0, 0)), "unit a: treated from the first period, 1, on"),
    "minus infinite": (table(since=by_unit(-np.inf, 0, 0)), "unit a: treated from the first"),
    "all after": (table(since=by_unit(5, 9, 0)), "no unit is treated"),
    "all missing": (table(since=None), "no unit is treated"),
    "everybody": (table(since=3), "all 3 units are treated"),
    "changing": (changed("since", 6, 4), "column since is 0.0 and 4.0 in rows of unit b"),
    "at times missing": (changed("since", 2, np.nan), "since is 3.0 and nan in rows of unit a"),
    "text": (table(since=by_unit("3", "0", "0")), "since holds values of type str"),
    "dates": (
        table(since=by_unit(pd.Timestamp("2001"), None, None)),
        "first_treated column since holds values of type",
    ),
    "zero as a time": (
        table(when=by_time(-1, 0, 1, 2), since=by_unit(1, 0, 0)),
        "since is 0 for unit b, which may be the time 0 or never",
    ),
    "zero as the first time": (
        table(when=by_time(0, 1, 2, 3), since=by_unit(1, 0, 0)),
        "since is 0 for unit b, which may be",
    ),
    "a number among dates": (
        table(
            when=by_time(*pd.date_range("2001", periods=4, freq="YS")),
            since=by_unit(2003, None, None),
        ),
        "since is 2003.0 for unit a, and times are of type datetime64",
    ),
    "a word among quarters": (
        table(
            when=by_time("2001Q1", "2001Q2", "2001Q3", "2001Q4"),
            since=by_unit("2001Q5", None, None),
        ),
        "since is 2001Q5 for unit a, which is no time of the panel. Did you mean 2001Q",
    ),
}

ROLES = {
    "no such unit": ({"unit": "woh"}, "unit: df has no column woh. Did you mean who?"),
    "no such time": ({"time": "t"}, "time: df has no column t. Expected one of who, when, y, on"),
    "no such outcome": ({"outcome": "Y"}, "outcome: df has no column Y."),
    "no such treatment": ({"treatment": "un"}, "treatment: df has no column un."),
    "no such covariate": ({"covariates": ["x", "v"]}, "covariates: df has no column v."),
    "neither": ({"treatment": None}, "neither of treatment and first_treated is given"),
    "both": ({"first_treated": "since"}, "both of treatment and first_treated is given"),
    "time as unit": ({"unit": "when"}, "time: column when is also given as unit"),
    "outcome as covariate": (
        {"covariates": ["y"]},
        "covariates: column y is also given as outcome",
    ),
    "treatment as covariate": ({"covariates": ["x", "on"]}, "column on is also given as treatment"),
    "a list of one": ({"unit": ["who"]}, "unit is ['who']; expected the name of one column"),
    "a list of lists": ({"covariates": [["x"]]}, "covariates is ['x']; expected the name of one"),
    "a number": ({"covariates": 3}, "covariates: df has no column 3."),
    "one twice": ({"covariates": ["x", "x"]}, "column x is also given as covariates"),
}

COVARIATES = {
    "infinite": (changed("x", 5, np.inf), "covariate x is infinite for unit b at time 2"),
    "infinite throughout": (table(x=by_unit(1.0, np.inf, 2.0)), "x is infinite for unit b;"),
    "text": (table(x=by_unit("u", "v", "w")), "covariate x holds values of type str"),
    "dates": (table(x=pd.Timestamp("2001")), "covariate x holds values of type datetime64"),
    "nothing": (table(x=np.nan), "covariate x has no values at all"),
}


def refuses(message: str, frame: object, **arguments: object) -> None:
    with pytest.raises(InputError) as caught:
        read_frame(frame, **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ROWS)
def test_rows_refused(case: str) -> None:
    frame, message = ROWS[case]
    refuses(message, frame, **COLUMNS)


@pytest.mark.parametrize("case", FIRST)
def test_first_treated_times_refused(case: str) -> None:
    frame, message = FIRST[case]
    refuses(message, frame, **SINCE)


@pytest.mark.parametrize("case", ROLES)
def test_columns_refused(case: str) -> None:
    changes, message = ROLES[case]
    refuses(message, table(), **COLUMNS | changes)


@pytest.mark.parametrize("case", COVARIATES)
def test_covariates_refused(case: str) -> None:
    frame, message = COVARIATES[case]
    refuses(message, frame, **COLUMNS, covariates=["x"])


def test_something_else_than_a_table() -> None:
    refuses("df is of type dict; expected a pandas DataFrame", {"who": [1]}, **COLUMNS)
    refuses("df is of type ndarray", np.zeros((3, 4)), **COLUMNS)


def test_columns_that_are_in_the_index_or_there_twice() -> None:
    refuses("unit: df has no column who. It is a level", table().set_index("who"), **COLUMNS)
    twice = pd.concat([table(), table()[["y"]]], axis=1)
    refuses("outcome: df has more than one column y", twice, **COLUMNS)


def test_missing_outcomes_refused_on_request() -> None:
    with pytest.raises(InputError, match=r"no outcome for unit b at time 2 \(1 are missing in all"):
        read_frame(table().drop(index=5), **COLUMNS, missing="raise")
    with pytest.raises(ConfigError, match="missing is 'fill'"):
        read_frame(table(), **COLUMNS, missing="fill")
