from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sl_data import data_root, fit_frame_arguments, frame_of, small_panel

from zoo_core.errors import InputError, ZooWarning
from zoo_synthetic_learner.frames import read_frame
from zoo_synthetic_learner.panel import Panel


def table(**columns: object) -> pd.DataFrame:
    """Units a (treated in the third of four periods), b and c, in order, with these changes."""
    frame = pd.DataFrame(
        {
            "who": np.repeat(["a", "b", "c"], 4),
            "when": np.tile([1, 2, 3, 4], 3),
            "y": [1.0, 2.0, 3.0, 9.0, 2.0, 2.5, 3.5, 4.0, 0.0, 1.0, 1.5, 2.0],
            "on": [0, 0, 1, 1] + [0] * 8,
            "since": [3] * 4 + [0] * 8,
            "x": np.repeat([5.0, 6.0, 7.0], 4),
            "z": np.arange(12.0),
        }
    )
    return frame.assign(**columns)


def read(frame: pd.DataFrame, **changes: object) -> Panel:
    arguments = {"unit": "who", "time": "when", "outcome": "y", "treatment": "on"} | changes
    return read_frame(frame, **arguments)


def same(one: Panel, other: Panel) -> None:
    np.testing.assert_array_equal(one.outcome, other.outcome)
    np.testing.assert_array_equal(one.first_treated, other.first_treated)
    np.testing.assert_array_equal(one.covariates, other.covariates)
    assert one.units.tolist() == other.units.tolist()
    assert one.times.tolist() == other.times.tolist()
    assert one.covariate_names == other.covariate_names


def test_a_table_by_hand() -> None:
    panel = read(table(), covariates=["x"])
    assert panel.outcome.tolist() == [[1, 2, 3, 9], [2, 2.5, 3.5, 4], [0, 1, 1.5, 2]]
    assert panel.first_treated.tolist() == [2, 4, 4]
    assert panel.covariates.tolist() == [[5], [6], [7]]
    assert panel.units.tolist() == ["a", "b", "c"]
    assert panel.units.name == "who"
    assert panel.times.tolist() == [1, 2, 3, 4]
    assert (panel.outcome_name, panel.covariate_names, panel.labelled) == ("y", ("x",), True)


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.booleans(), st.booleans())
def test_any_order_of_rows_gives_the_same_panel(
    random: object, time_varying: bool, staggered: bool
) -> None:
    panel = small_panel(
        5, N=6, T=7, T0=4, m=2, missing=0.3, staggered=staggered, time_varying=time_varying
    )
    frame = frame_of(panel)
    rows = list(range(len(frame)))
    random.shuffle(rows)
    same(read_frame(frame.iloc[rows], **fit_frame_arguments(panel)), panel)


@pytest.mark.parametrize("drop_rows", [False, True])
def test_a_panel_comes_back_from_its_table(drop_rows: bool) -> None:
    panel = small_panel(1, missing=0.4, staggered=True, labelled=True)
    frame = frame_of(panel)
    before = frame.copy(deep=True)
    given_rows = frame.dropna(subset="outcome") if drop_rows else frame
    assert len(given_rows) < 12 * 16 if drop_rows else len(given_rows) == 12 * 16
    same(read_frame(given_rows, **fit_frame_arguments(panel)), panel)
    by_time = fit_frame_arguments(panel) | {"treatment": None, "first_treated": "first"}
    same(read_frame(given_rows, **by_time), panel)
    pd.testing.assert_frame_equal(frame, before)


def test_cells_without_a_row_are_missing() -> None:
    panel = read(table().drop(index=[5, 11]))
    expected = [[1, 2, 3, 9], [2, np.nan, 3.5, 4], [0, 1, 1.5, np.nan]]
    np.testing.assert_array_equal(panel.outcome, expected)


def test_treatment_starts_with_the_first_treated_row_that_is_there() -> None:
    assert read(table().drop(index=2)).first_treated.tolist() == [3, 4, 4]
    assert read(table().drop(index=1)).first_treated.tolist() == [2, 4, 4]


def test_a_row_without_outcome_and_treatment_counts_as_none() -> None:
    frame = table().astype({"on": float})
    frame.loc[5, ["y", "on"]] = np.nan
    same(read(frame), read(table().drop(index=5)))


@pytest.mark.parametrize("dtype", [bool, "int8", float, "boolean", "Int64"])
def test_treatment_of_any_type(dtype: object) -> None:
    assert read(table().astype({"on": dtype})).first_treated.tolist() == [2, 4, 4]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("whole floats", [1970.0, 1971.0, 1972.0, 1973.0]),
        ("fractions", [0.25, 0.5, 0.75, 1.0]),
        ("dates", pd.to_datetime(["2001-01-31", "2001-02-28", "2001-03-31", "2002-01-31"])),
        ("zoned", pd.date_range("2001", periods=4, freq="MS", tz="Europe/Paris")),
        ("periods", pd.period_range("1999Q3", periods=4, freq="Q")),
        ("plain dates", [datetime.date(2001, 12, day) for day in (1, 2, 10, 11)]),
        ("waves", ["wave 2", "wave 9", "wave 10", "wave 11"]),
        ("quarters", ["1999Q4", "2000Q1", "2000Q2", "2000Q3"]),
        ("months", ["1999-12", "2000-01", "2000-02", "2000-10"]),
        ("numbers as text", ["8", "9", "10", "11"]),
        ("nullable", pd.array([1, 2, 3, 10], dtype="Int64")),
        (
            "categories",
            pd.Categorical.from_codes([0, 1, 2, 3], ["spring", "autumn", "fall", "end"], True),
        ),
    ],
)
def test_times_of_any_kind_are_sorted_as_times(kind: str, values: object) -> None:
    column = pd.Series(values)
    backwards = pd.concat([column] * 3, ignore_index=True).take(np.arange(11, -1, -1))
    frame = table().iloc[::-1].reset_index(drop=True).assign(when=backwards.reset_index(drop=True))
    panel = read(frame)
    assert panel.times.tolist() == list(column)
    np.testing.assert_array_equal(panel.outcome, read(table()).outcome)
    since = pd.Series([column[2]] * 4 + [None] * 8)
    if isinstance(column.dtype, pd.CategoricalDtype):
        since = since.astype(column.dtype)
    first = frame.assign(since=since.iloc[::-1].to_numpy())
    assert read(first, treatment=None, first_treated="since").first_treated.tolist() == [2, 4, 4]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([3, 1, 2], [1, 2, 3]),
        (["b", "a", "B"], ["B", "a", "b"]),
        ([2.5, -1.0, 0.0], [-1.0, 0.0, 2.5]),
        ([10, "a", 9], [9, 10, "a"]),
        (pd.to_datetime(["2002", "2001", "2003"], format="%Y"), None),
        (pd.Categorical(["q", "p", "r"]), ["p", "q", "r"]),
    ],
)
def test_units_of_any_kind_are_sorted(labels: object, expected: list[object] | None) -> None:
    column = pd.Series(labels).repeat(4).reset_index(drop=True)
    panel = read(table(who=column))
    assert panel.units.tolist() == (sorted(labels) if expected is None else expected)
    treated = panel.units[panel.treated].tolist()
    assert treated == [column[0]]


def test_categories_that_do_not_occur_are_no_units_or_periods() -> None:
    who = pd.Categorical(np.repeat(["a", "b", "c"], 4), categories=["c", "z", "a", "b"])
    when = pd.Categorical(np.tile([1, 2, 3, 4], 3), categories=[9, 4, 3, 2, 1], ordered=True)
    panel = read(table(who=who, when=when, on=[1, 1, 0, 0] + [0] * 8))
    assert panel.units.tolist() == ["c", "a", "b"]
    assert panel.times.tolist() == [4, 3, 2, 1]
    assert panel.first_treated.tolist() == [4, 2, 4]


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ([3, 0, 0], [2, 4, 4]),
        ([3, np.nan, np.inf], [2, 4, 4]),
        ([2, None, 4], [1, 4, 3]),
        ([2.5, 0, 9999], [2, 4, 4]),
        ([4, 5, 4.5], [3, 4, 4]),
    ],
)
def test_first_treated_times(since: list[float], expected: list[int]) -> None:
    panel = read(table(since=np.repeat(since, 4)), treatment=None, first_treated="since")
    assert panel.first_treated.tolist() == expected


def test_first_treated_dates_between_periods_and_after_all() -> None:
    days = pd.to_datetime(["2001-01-01", "2001-02-01", "2001-03-01", "2001-04-01"])
    since = pd.to_datetime(["2001-02-14", None, "2011-01-01"])
    frame = table(when=np.tile(days, 3), since=np.repeat(since, 4))
    panel = read(frame, treatment=None, first_treated="since")
    assert panel.first_treated.tolist() == [2, 4, 4]


def test_covariates_are_static_unless_one_differs_within_a_unit() -> None:
    assert not read(table(), covariates=["x"]).time_varying
    panel = read(table(), covariates=["x", "z"])
    assert panel.covariates.shape == (3, 4, 2)
    assert panel.covariates[:, :, 0].tolist() == [[5] * 4, [6] * 4, [7] * 4]
    assert panel.covariates[:, :, 1].tolist() == np.arange(12.0).reshape(3, 4).tolist()
    one_cell = table()
    one_cell.loc[6, "x"] = 6.5
    assert read(one_cell, covariates=["x"]).covariates[1, :, 0].tolist() == [6, 6, 6.5, 6]


def test_a_static_value_is_taken_from_the_rows_that_have_it() -> None:
    frame = table()
    frame.loc[[0, 1, 3, 5, 8, 9, 10, 11], "x"] = np.nan
    panel = read(frame, covariates="x")
    np.testing.assert_array_equal(panel.covariates, [[5], [6], [np.nan]])


def test_cells_without_a_row_have_no_varying_covariate_but_the_static_one() -> None:
    panel = read(table().drop(index=5), covariates=["x", "z"])
    assert np.isnan(panel.covariates[1, 1]).tolist() == [False, True]
    assert np.isnan(panel.covariates).sum() == 1


def test_constant_covariates_are_left_out_and_named() -> None:
    with pytest.warns(ZooWarning, match="left out: k"):
        panel = read(table(k=1), covariates=["x", "k"])
    assert panel.covariate_names == ("x",)


def test_a_trend_that_all_units_share_is_not_constant() -> None:
    frame = table(trend=np.tile([1.0, 2.0, 3.0, 4.0], 3))
    assert read(frame, covariates=["trend"]).covariate_names == ("trend",)


def test_mpdta_has_its_published_cohorts() -> None:
    frame = pd.read_csv(data_root("mpdta.csv") + "/panels/mpdta.csv")
    panel = read_frame(
        frame.sample(frac=1, random_state=0),
        unit="countyreal",
        time="year",
        outcome="lemp",
        first_treated="first.treat",
        covariates="lpop",
    )
    counts = np.bincount(panel.first_treated, minlength=6)
    assert counts.tolist() == [0, 20, 0, 40, 131, 309]
    assert panel.covariates.shape == (500, 1)
    assert panel.times.tolist() == [2003, 2004, 2005, 2006, 2007]


def test_an_indicator_and_first_treated_times_agree_on_mpdta() -> None:
    frame = pd.read_csv(data_root("mpdta.csv") + "/panels/mpdta.csv")
    since = frame["first.treat"]
    frame["on"] = (since > 0) & (frame["year"] >= since)
    columns = {"unit": "countyreal", "time": "year", "outcome": "lemp"}
    one = read_frame(frame, **columns, treatment="on")
    same(one, read_frame(frame, **columns, first_treated="first.treat"))


def test_a_name_need_not_be_text() -> None:
    frame = table().rename(columns={"who": 0, "when": 1, "y": 2, "on": 3, "x": 4})
    panel = read_frame(frame, unit=0, time=1, outcome=2, treatment=3, covariates=[4])
    assert (panel.outcome_name, panel.covariate_names) == ("2", ("4",))
    with pytest.raises(InputError, match="treatment: df has no column 7"):
        read_frame(frame, unit=0, time=1, outcome=2, treatment=7)
