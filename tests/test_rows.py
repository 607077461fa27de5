"""Rows are checked as they come, averaged over repetitions alone, and shown with honest digits."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo_core.errors import PluginError
from zoo_core.experiment import Figure
from zoo_core.rows import Mean, Rows, shown, values


def collected(*rows: Any, **options: Any) -> Rows:
    made = Rows(**{"measures": ("loss",)} | options)
    for row in rows:
        made.add(row)
    return made


def test_means_and_sample_deviations_are_those_worked_out_by_hand() -> None:
    rows = collected(
        {"method": "a", "depth": 1, "seed": 0, "loss": 1.0},
        {"method": "b", "depth": 1, "seed": 0, "loss": 10},
        {"method": "a", "depth": 1, "seed": 1, "loss": 2.0},
        {"method": "a", "depth": 2, "seed": 0, "loss": 5.0},
        {"method": "a", "depth": 1, "seed": 2, "loss": 6.0},
    )
    # a, 1: mean 9/3; deviations -2, -1, 3, so the variance is 14/2.
    assert rows.summary() == [
        {"method": "a", "depth": 1, "loss": Mean(3.0, math.sqrt(7), 3, 3)},
        {"method": "b", "depth": 1, "loss": Mean(10.0, None, 1, 1)},
        {"method": "a", "depth": 2, "loss": Mean(5.0, None, 1, 1)},
    ]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_a_summary_agrees_with_statistics(losses: list[float]) -> None:
    rows = collected(*({"seed": seed, "loss": loss} for seed, loss in enumerate(losses)))
    ((only,),) = (list(row.values()) for row in rows.summary())
    assert isinstance(only, Mean)
    assert only.mean == pytest.approx(statistics.mean(losses))
    assert only.std == pytest.approx(statistics.stdev(losses))


def test_repetitions_may_be_told_apart_by_more_than_the_seed() -> None:
    rows = collected(
        *({"seed": 0, "fold": fold, "loss": fold} for fold in range(3)), over=("seed", "fold")
    )
    assert rows.summary() == [{"loss": Mean(1.0, 1.0, 3, 3)}]


def test_rows_without_repetitions_stay_as_they_are() -> None:
    rows = collected({"size": 1, "loss": 2}, {"size": 1, "loss": 3})
    assert [row["loss"] for row in rows.summary()] == [Mean(2, None, 1, 1), Mean(3, None, 1, 1)]


def test_bools_are_rates_and_columns_may_come_in_any_order() -> None:
    rows = collected(
        {"seed": 0, "method": "a", "loss": True}, {"loss": False, "method": "a", "seed": 1}
    )
    assert rows.summary() == [{"method": "a", "loss": Mean(0.5, math.sqrt(0.5), 2, 2)}]


def test_what_is_not_finite_becomes_null_is_told_and_counted() -> None:
    rows = collected(
        {"seed": 0, "loss": 1.0},
        {"seed": 1, "loss": float("nan")},
        {"seed": 2, "loss": np.float32("inf")},
        {"seed": 3, "loss": None},
        {"seed": 4, "loss": -1.5e308},
        {"seed": 5, "loss": 10**400},
    )
    assert [row["loss"] for row in rows.rows] == [1.0, None, None, None, None, None]
    assert rows.summary() == [{"loss": Mean(1.0, None, 1, 6)}]
    assert shown(rows.summary()[0]["loss"]) == "1 (1 of 6)"
    assert rows.notes() == [
        "loss was not finite in the rows 1, 2, 4, 5, counted from 0; they are left out of its mean"
    ]


def test_scalars_of_numpy_and_torch_become_plain() -> None:
    rows = collected(
        {
            "seed": np.int64(0),
            "ok": np.bool_(True),
            "name": np.str_("n"),
            "at": torch.tensor(3),
            "loss": torch.tensor(0.5),
        }
    )
    assert rows.rows == [{"seed": 0, "ok": True, "name": "n", "at": 3, "loss": 0.5}]
    assert [type(value) for value in rows.rows[0].values()] == [int, bool, str, int, float]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (3, "row 1 is a int; expected a dict"),
        ({"loss": 1}, "row 1 has the columns loss; those of row 0 are seed, loss"),
        ({"seed": 1, "loss": 1, "more": 1}, "row 1 has the columns seed, loss, more"),
        ({"seed": 1, "loss": [1]}, "row 1: loss is a list; expected text, a number"),
        ({"seed": 1, "loss": np.zeros(1)}, "row 1: loss is a ndarray"),
        ({"seed": 1, "loss": "low"}, "row 1: loss is 'low'; a measure is a number"),
        ({"seed": 7, "loss": 1}, "row 1 is of seed 7; the seeds are fixed in advance: 0, 1"),
        ({"seed": True, "loss": 1}, "row 1 is of seed True"),
        ({"seed": 0, "loss": 2}, "row 1 repeats row 0: seed 0"),
        ({"seed": 1, 3: 2}, "row 1 has a column 3; expected names"),
    ],
)
def test_a_bad_row_is_refused(row: object, message: str) -> None:
    rows = collected({"seed": 0, "loss": 1}, seeds=(0, 1))
    with pytest.raises(PluginError, match=message):
        rows.add(row)
    assert len(rows.rows) == 1


def test_declared_columns_must_be_in_the_first_row() -> None:
    with pytest.raises(PluginError, match="row 0 lacks the column 'loss', which the experiment"):
        collected({"seed": 0})
    with pytest.raises(PluginError, match="row 0 lacks the column 'depth'"):
        collected({"loss": 0}, figure=Figure(x="depth", y=("loss",)))


def test_points_that_a_figure_would_draw_over_one_another_are_refused() -> None:
    first, second = ({"depth": 1, "method": each, "seed": 0, "loss": 0} for each in "ab")
    shape = Figure(x="depth", y=("loss",))
    with pytest.raises(PluginError, match=r"row 1 would be drawn over .* differs in method; add"):
        collected(first, second, figure=shape)
    collected(first, first | {"seed": 1}, figure=shape)
    collected(first, second, figure=Figure(x="depth", y=("loss",), series=("method",)))
    collected(first, second, figure=Figure(x="loss", y=("loss",)))


def test_seeds_that_lack_are_told_and_rows_without_a_seed_need_none() -> None:
    rows = collected(
        {"method": "a", "seed": 0, "loss": 1},
        {"method": "a", "seed": 2, "loss": 1},
        {"method": "prior", "seed": None, "loss": 1},
        seeds=(0, 1, 2),
    )
    assert rows.notes() == ["no row at method a of the seeds 1"]


def test_values_picks_a_column_where_the_others_are_as_given() -> None:
    rows = [{"m": "a", "top k": 1, "x": 2}, {"m": "a", "top k": 5, "x": None}, {"m": "b", "x": 4}]
    assert values(rows, "x", m="b") == [4.0]
    assert values(rows[:2], "x", m="a", **{"top k": 1}) == [2.0]
    with pytest.raises(PluginError, match="no row has m 'c'"):
        values(rows, "x", m="c")
    with pytest.raises(PluginError, match="x is null"):
        values(rows, "x", m="a")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        ("a|b", "a|b"),
        (30456168, "30456168"),
        (0.123456, "0.1235"),
        (90.0, "90"),
        (12345.6, "12346"),
        (1.5e9 + 0.5, "1.5e+09"),
        (-0.00001234567, "-1.235e-05"),
        (Mean(None, None, 0, 3), "– (0 of 3)"),
        (Mean(0.81234, 0.01234, 3, 3), "0.812 ± 0.012"),
        (Mean(90.123, 1.3, 3, 3), "90.1 ± 1.3"),
        (Mean(90.123, 0.00123, 3, 3), "90.12 ± 0.001"),
        (Mean(1234.5, 123.4, 3, 3), "1234 ± 123"),
        (Mean(0.0, 0.5, 2, 2), "0.00 ± 0.50"),
        (Mean(-0.0001, 0.5, 2, 2), "0.00 ± 0.50"),
        (Mean(0.5, 0.0, 2, 2), "0.5 ± 0"),
        (Mean(0.25, None, 1, 1), "0.25"),
        (Mean(2.5e8, 1.5e6, 2, 3), "2.5e+08 ± 1.5e+06 (2 of 3)"),
    ],
)
def test_numbers_are_shown_with_the_digits_that_they_carry(value: Any, text: str) -> None:
    assert shown(value) == text
