from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sl_data import california, matrices_of, small_panel

from zoo_core.errors import ConfigError, InputError, ZooWarning
from zoo_synthetic_learner.matrices import read_matrices

Y = np.array(
    [
        [1.0, 2.0, 3.0, 9.0],
        [2.0, 2.5, 3.5, 4.0],
        [0.0, 1.0, 1.5, 2.0],
    ]
)
D = [3, 0, 0]
LABELLED = pd.DataFrame(Y, index=["a", "b", "c"], columns=[2001, 2002, 2003, 2004])


def indicator(*starts: int) -> np.ndarray:
    table = np.zeros(Y.shape, dtype=int)
    for unit, start in enumerate(starts):
        if start:
            table[unit, start:] = 1
    return table


def test_index_counts_the_periods_before_treatment() -> None:
    panel = read_matrices(Y, D)
    assert panel.first_treated.tolist() == [3, 4, 4]
    assert panel.first_treated.dtype == np.int64
    assert panel.treated.tolist() == [0]
    assert panel.never_treated.tolist() == [1, 2]
    assert panel.cohorts.tolist() == [3]
    np.testing.assert_array_equal(panel.outcome, Y)
    assert panel.covariates.shape == (3, 0)
    assert panel.units.tolist() == [0, 1, 2]
    assert panel.times.tolist() == [0, 1, 2, 3]
    assert not panel.labelled


@pytest.mark.parametrize(
    "never",
    [0, None, np.nan, np.inf, pd.NaT, pd.NA, 0.0, Decimal(0)],
    ids=["0", "None", "nan", "inf", "NaT", "NA", "0.0", "Decimal"],
)
def test_all_ways_to_say_never(never: object) -> None:
    assert read_matrices(Y, [2, never, never]).first_treated.tolist() == [2, 4, 4]
    array = np.array([2, never, never], dtype=object)
    assert read_matrices(Y, array).first_treated.tolist() == [2, 4, 4]


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32, object])
def test_a_table_of_zeros_and_ones_is_the_same_as_indices(dtype: type) -> None:
    assert read_matrices(Y, indicator(3, 0, 2).astype(dtype)).first_treated.tolist() == [3, 4, 2]


def test_the_input_is_copied_and_left_as_it_is() -> None:
    outcome, covariates = Y.copy(), np.arange(6.0).reshape(3, 2)
    table = indicator(3, 0, 0).astype(float)
    outcome.flags.writeable = covariates.flags.writeable = table.flags.writeable = False
    panel = read_matrices(outcome, table, covariates)
    panel.outcome[0, 0] = 77
    panel.covariates[0, 0] = 77
    assert outcome[0, 0] == 1
    assert covariates[0, 0] == 0
    frame = LABELLED.copy()
    read_matrices(frame, D).outcome[0, 0] = 77
    pd.testing.assert_frame_equal(frame, LABELLED)


@pytest.mark.parametrize(
    "values",
    [
        Y.astype(np.float32),
        np.asfortranarray(Y),
        Y.tolist(),
        Y.astype(object),
        np.ma.MaskedArray(Y, mask=False),
        pd.DataFrame(Y).convert_dtypes(),
        pd.DataFrame(Y).astype(object),
    ],
    ids=["float32", "fortran", "list", "object", "masked", "nullable", "object-frame"],
)
def test_outcomes_in_any_container(values: object) -> None:
    panel = read_matrices(values, D)
    np.testing.assert_array_equal(panel.outcome, Y)
    assert panel.outcome.dtype == np.float64
    assert panel.outcome.flags.c_contiguous


def test_what_a_container_calls_missing_is_nan() -> None:
    expected = Y.copy()
    expected[1, 2] = np.nan
    holes = np.isnan(expected)
    for values in (
        np.ma.MaskedArray(Y, mask=holes),
        np.where(holes, None, Y.astype(object)),
        pd.DataFrame(Y).astype("Float64").mask(holes, pd.NA),
    ):
        np.testing.assert_array_equal(read_matrices(values, D).outcome, expected)


def test_a_table_with_gaps_where_outcomes_have_them() -> None:
    outcome, table = Y.copy(), indicator(2, 0, 0).astype(float)
    outcome[1, 3] = table[1, 3] = np.nan
    assert read_matrices(outcome, table).first_treated.tolist() == [2, 4, 4]
    table[1, 2] = np.nan
    with pytest.raises(InputError, match="treatment of unit 1 at time 2 is missing"):
        read_matrices(outcome, table)


def test_labels_are_kept_and_pandas_arguments_found_by_them() -> None:
    starts = pd.Series({"c": 0, "a": 3, "b": 0, "elsewhere": 2})
    given = pd.DataFrame({"x": [3.0, 1.0, 2.0], "z": [30.0, 10.0, 20.0]}, index=["c", "a", "b"])
    panel = read_matrices(LABELLED, starts, given)
    assert panel.units.tolist() == ["a", "b", "c"]
    assert panel.times.tolist() == [2001, 2002, 2003, 2004]
    assert panel.first_treated.tolist() == [3, 4, 4]
    assert panel.covariates.tolist() == [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    assert panel.covariate_names == ("x", "z")
    assert panel.labelled


def test_a_labelled_table_of_treatment_is_found_by_both_labels() -> None:
    table = pd.DataFrame(indicator(3, 0, 2), index=LABELLED.index, columns=LABELLED.columns)
    mixed = table.loc[["c", "a", "b"], [2004, 2001, 2003, 2002]]
    assert read_matrices(LABELLED, mixed).first_treated.tolist() == [3, 4, 2]
    with pytest.raises(InputError, match="D has no entry for time 2003"):
        read_matrices(LABELLED, table.drop(columns=2003))


def test_arrays_beside_a_labelled_outcome_go_by_position() -> None:
    panel = read_matrices(LABELLED, np.array(D), np.array([5.0, 6.0, 7.0]))
    assert panel.covariates.ravel().tolist() == [5.0, 6.0, 7.0]
    assert panel.covariate_names == ("S1",)


def test_pandas_arguments_beside_an_array_go_by_position() -> None:
    starts = pd.Series([3, 0, 0], index=["x", "y", "z"])
    given = pd.Series([5.0, 6.0, 7.0], index=["z", "y", "x"], name="size")
    panel = read_matrices(Y, starts, given)
    assert panel.first_treated.tolist() == [3, 4, 4]
    assert panel.covariates.ravel().tolist() == [5.0, 6.0, 7.0]
    assert panel.covariate_names == ("size",)


def test_covariates_over_time() -> None:
    given = np.arange(24.0).reshape(3, 4, 2)
    panel = read_matrices(Y, D, given)
    assert panel.time_varying
    np.testing.assert_array_equal(panel.covariates, given)
    assert panel.covariate_names == ("S1", "S2")


def test_constant_covariates_are_left_out_and_named() -> None:
    given = pd.DataFrame({"k": 4.0, "x": [1.0, 2.0, 3.0], "l": [np.nan, 0.0, 0.0]}, LABELLED.index)
    with pytest.warns(ZooWarning, match=r"same for all units and periods were left out: k, l\."):
        panel = read_matrices(LABELLED, D, given)
    assert panel.covariate_names == ("x",)
    assert panel.covariates.tolist() == [[1.0], [2.0], [3.0]]


def test_one_differing_period_makes_a_covariate_worth_keeping() -> None:
    given = np.zeros((3, 4, 2))
    given[:, :, 1] = np.arange(3)[:, None]
    given[2, 3, 0] = 1e-300
    assert read_matrices(Y, D, given).covariate_names == ("S1", "S2")


def test_missing_covariates_go_through() -> None:
    panel = read_matrices(Y, D, [[1.0, np.nan], [2.0, 3.0], [np.nan, 4.0]])
    assert np.isnan(panel.covariates).tolist() == [[False, True], [False, False], [True, False]]


def test_no_covariates_at_all() -> None:
    assert read_matrices(Y, D, np.empty((3, 0))).covariates.shape == (3, 0)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("staggered", [False, True])
def test_reading_a_panels_own_matrices_gives_it_back(labelled: bool, staggered: bool) -> None:
    panel = small_panel(3, staggered=staggered, labelled=labelled, missing=0.2)
    again = read_matrices(*matrices_of(panel))
    np.testing.assert_array_equal(again.outcome, panel.outcome)
    np.testing.assert_array_equal(again.first_treated, panel.first_treated)
    np.testing.assert_array_equal(again.covariates, panel.covariates)
    assert np.isnan(panel.outcome).any()


def test_a_bad_way_with_missing_outcomes() -> None:
    with pytest.raises(ConfigError, match=r"missing is 'interpolat'\. Did you mean interpolate\?"):
        read_matrices(Y, D, missing="interpolat")


def test_the_noise_level_of_california_is_the_published_one() -> None:
    panel = california()
    assert panel.outcome.shape == (39, 31)
    assert panel.units[panel.treated].tolist() == ["California"]
    assert panel.cohorts.tolist() == [19]
    before = np.diff(panel.outcome[panel.never_treated, :19], axis=1)
    assert before.std(ddof=1) == pytest.approx(5.4944, abs=5e-5)
    gap = panel.outcome[:, 19:].mean(axis=1) - panel.outcome[:, :19].mean(axis=1)
    did = gap[panel.treated].mean() - gap[panel.never_treated].mean()
    assert did == pytest.approx(-27.349, abs=1e-3)
