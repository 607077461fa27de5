from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sl_data import matrices_of, small_panel

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.matrices import read_matrices
from zoo_synthetic_learner.missing import complete, with_values
from zoo_synthetic_learner.panel import Panel

NAN = np.nan
GAPS = [
    [NAN, 1.0, NAN, NAN, 7.0, NAN],
    [1.0, 2.0, 4.0, 5.0, NAN, 9.0],
    [NAN, NAN, NAN, 6.0, NAN, 8.0],
    [0.0, NAN, 5.0, NAN, 3.0, NAN],
]


def gaps(*starts: int) -> Panel:
    return read_matrices(np.array(GAPS), list(starts))


def test_gaps_are_filled_on_either_side_of_the_start_of_treatment() -> None:
    # Unit 1 is treated from period 3 on; its own later gap stays.
    expected = [
        [1.0, 1.0, 1.0, 7.0, 7.0, 7.0],
        [1.0, 2.0, 4.0, 5.0, NAN, 9.0],
        [NAN, NAN, NAN, 6.0, 7.0, 8.0],
        [0.0, 2.5, 5.0, 3.0, 3.0, 3.0],
    ]
    np.testing.assert_array_equal(complete(gaps(0, 3, 0, 0), "interpolate").outcome, expected)


def test_every_start_of_treatment_cuts() -> None:
    # Unit 1 starts in period 2, unit 3 in period 4: periods 0-1, 2-3 and 4-5 are filled alone.
    expected = [
        [1.0, 1.0, NAN, NAN, 7.0, 7.0],
        [1.0, 2.0, 4.0, 5.0, NAN, 9.0],
        [NAN, NAN, 6.0, 6.0, 8.0, 8.0],
        [0.0, 0.0, 5.0, 5.0, 3.0, NAN],
    ]
    np.testing.assert_array_equal(complete(gaps(0, 2, 0, 4), "interpolate").outcome, expected)


def test_gaps_count_periods() -> None:
    outcome = np.array([[0.0, NAN, NAN, 6.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    filled = read_matrices(outcome, [0, 4], missing="interpolate").outcome
    np.testing.assert_allclose(filled[0], [0, 2, 4, 6, 1], rtol=1e-15)


def test_the_default_leaves_gaps() -> None:
    panel = gaps(0, 3, 0, 0)
    np.testing.assert_array_equal(panel.outcome, GAPS)
    assert complete(panel, "drop") is panel


def test_the_panel_given_stays_as_it_is() -> None:
    panel = gaps(0, 3, 0, 0)
    complete(panel, "interpolate")
    np.testing.assert_array_equal(panel.outcome, GAPS)


def test_missing_outcomes_are_refused_on_request() -> None:
    with pytest.raises(InputError, match=r"unit 0 at time 0 \(12 are missing in all\)"):
        complete(gaps(0, 3, 0, 0), "raise")
    whole = small_panel(0)
    assert complete(whole, "raise") is whole


@pytest.mark.parametrize("how", ["Drop", "", None, "mean", 0, np.zeros(3)])
def test_other_ways_are_refused(how: object) -> None:
    with pytest.raises(ConfigError, match="Expected one of drop, interpolate, raise"):
        complete(small_panel(0), how)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 8))
def test_no_later_outcome_gets_into_a_period_before_treatment(
    seed: int, staggered: bool, later: int
) -> None:
    panel = small_panel(seed, N=8, T=12, T0=7, m=3, missing=0.5, staggered=staggered)
    first = int(panel.cohorts.min())
    outcome, starts, _ = matrices_of(panel)
    outcome[:, first:] *= later + 1.0
    one = read_matrices(outcome, starts, missing="interpolate").outcome
    other = complete(panel, "interpolate").outcome
    np.testing.assert_array_equal(one[:, :first], other[:, :first])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.booleans())
def test_what_is_filled_lies_between_the_outcomes_around(seed: int, staggered: bool) -> None:
    panel = small_panel(seed, N=8, T=12, T0=7, m=3, missing=0.5, staggered=staggered)
    filled = complete(panel, "interpolate").outcome
    known = ~np.isnan(panel.outcome)
    np.testing.assert_array_equal(filled[known], panel.outcome[known])
    assert np.nanmax(filled) == np.nanmax(panel.outcome)
    assert np.nanmin(filled) == np.nanmin(panel.outcome)
    # Every third outcome is there, and no part before or between starts is shorter than 2.
    assert np.isnan(filled).sum() <= np.isnan(panel.outcome).sum()


def test_donors_with_values_up_to_a_period() -> None:
    panel = gaps(0, 3, 0, 0)
    rows = np.array([3, 1, 0, 2])
    for stop, kept in ((0, [3, 1, 0, 2]), (1, [3, 1]), (2, [1]), (4, [1]), (5, []), (6, [])):
        inside, outside = with_values(panel, rows, stop)
        assert inside.tolist() == kept
        assert outside.tolist() == [row for row in rows if row not in kept]
    assert with_values(panel, np.array([], dtype=np.int64), 3)[0].size == 0


def test_donors_that_were_filled_count() -> None:
    panel = complete(gaps(0, 3, 0, 0), "interpolate")
    kept, dropped = with_values(panel, np.array([0, 2, 3]), 6)
    assert kept.tolist() == [0, 3]
    assert dropped.tolist() == [2]
