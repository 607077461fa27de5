"""The permutation test and its inversion, against loops and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_synthetic_learner.inference.inversion import invert, invert_around
from zoo_synthetic_learner.inference.permutation_test import (
    cyclic_shifts,
    p_values,
    shuffles,
    statistic,
)


def _slow_p_value(residuals: list[float], num_treated: int, q: float) -> float:
    """All cyclic shifts of a list, one by one."""

    def size(values):
        return (sum(abs(each) ** q for each in values) / math.sqrt(num_treated)) ** (1 / q)

    observed = size(residuals[-num_treated:])
    shifted = [residuals[shift:] + residuals[:shift] for shift in range(len(residuals))]
    return sum(size(each[-num_treated:]) >= observed for each in shifted) / len(residuals)


def test_the_statistic_by_hand():
    assert statistic(np.array([3.0, -4.0, 0.0, 0.0]), 1) == pytest.approx(7 / 2)
    assert statistic(np.array([3.0, -4.0, 0.0, 0.0]), 2) == pytest.approx(math.sqrt(25 / 2))


def test_the_p_value_by_hand():
    # |u| = 1 2 1 3: the last two are 1+3 as it is, then 3+1, 1+2 and 2+1: two of four are as large.
    residuals = np.array([[1.0, -2.0, 1.0, 3.0]])
    assert p_values(residuals, cyclic_shifts(4, 2), 1) == [0.5]


def test_the_shifts_by_hand():
    assert cyclic_shifts(4, 2).tolist() == [[2, 3], [3, 0], [0, 1], [1, 2]]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-5, 5).map(float), min_size=3, max_size=12),
    st.integers(1, 2),
    st.sampled_from([1.0, 2.0]),
)
def test_p_values_are_those_of_a_loop(residuals, num_treated, q):
    orders = cyclic_shifts(len(residuals), num_treated)
    found = p_values(np.array([residuals, residuals]), orders, q)
    assert found == pytest.approx([_slow_p_value(residuals, num_treated, q)] * 2)


def test_random_orders_keep_the_first_as_it_is_and_take_all_others_alike():
    orders = shuffles(5, 2, 20_000, np.random.default_rng(0))
    assert orders.shape == (20_001, 2)
    assert orders[0].tolist() == [3, 4]
    assert (orders[:, 0] != orders[:, 1]).all()
    pairs, counts = np.unique(orders[1:], axis=0, return_counts=True)
    assert len(pairs) == 20
    # Each pair has 1000 expected, with a standard deviation of 31.
    assert np.abs(counts - 1000).max() < 150


def test_a_perfect_fit_is_no_evidence():
    assert p_values(np.zeros((1, 10)), cyclic_shifts(10, 1), 1) == [1.0]


def test_ties_but_for_rounding_count():
    residuals = np.array([[0.1 + 0.2, 5.0, 0.3, 0.1, 0.3 * (1 + 1e-14)]])
    assert p_values(residuals, cyclic_shifts(5, 1), 1) == [0.8]


@pytest.mark.parametrize("how", ["moving-block", "iid"])
def test_p_values_are_uniform_where_residuals_are_exchangeable(how):
    rng = np.random.default_rng(1)
    residuals = rng.standard_normal((2000, 20))
    orders = cyclic_shifts(20, 3) if how == "moving-block" else shuffles(20, 3, 199, rng)
    found = p_values(residuals, orders, 1)
    for level in (0.1, 0.25, 0.5, 0.75):
        # Four standard deviations of a share of 2000; the iid orders are shared, which adds some.
        assert abs(np.mean(found <= level) - level) < 0.05


def _accepts(low, high):
    def test(effects):
        return np.where((effects >= low) & (effects <= high), 0.5, 0.01)

    return test


def test_the_interval_is_the_hull_of_what_is_accepted():
    grid = np.arange(-5.0, 6.0)
    found = invert(_accepts(-1.5, 2.0), 0.05, grid)
    assert (found.low, found.high, found.spacing) == (-1.0, 2.0, 1.0)
    holes = invert(lambda effects: np.where(np.abs(effects) == 2, 0.5, 0.0), 0.05, grid)
    assert (holes.low, holes.high) == (-2.0, 2.0)


def test_a_p_value_equal_to_alpha_rejects():
    grid = np.arange(-5.0, 6.0)
    found = invert(lambda effects: np.where(effects == 1, 0.06, 0.05), 0.05, grid)
    assert (found.low, found.high) == (1.0, 1.0)


def test_ends_of_the_grid_that_are_accepted_are_infinite():
    grid = np.arange(-5.0, 6.0)
    assert invert(_accepts(-9, 2.0), 0.05, grid).low == -np.inf
    assert invert(_accepts(-9, 2.0), 0.05, grid).high == 2.0
    assert invert(_accepts(1, 9), 0.05, grid).high == np.inf
    assert invert(_accepts(1, 9), 0.05, grid).low == 1.0


def test_nothing_accepted_is_no_number():
    found = invert(_accepts(9, 8), 0.05, np.arange(-5.0, 6.0))
    assert np.isnan([found.low, found.high]).all()


def test_a_grid_of_its_own_grows_until_its_ends_are_rejected():
    found = invert_around(_accepts(-3.0, 40.0), 0.05, 0.0, 1.0)
    assert found.spacing == pytest.approx(2 * 48 / 100)
    assert -3.0 <= found.low < -3.0 + found.spacing
    assert 40.0 - found.spacing < found.high <= 40.0
    near = invert_around(_accepts(-3.0, 4.0), 0.05, 0.0, 1.0)
    assert near.spacing == pytest.approx(0.12)


@pytest.mark.parametrize(("p_value", "times"), [(0.5, 9), (1.0, 1), (0.01, 1)])
def test_a_grid_of_its_own_does_not_grow_for_ever_or_for_nothing(p_value, times):
    calls = []

    def test(effects):
        calls.append(len(effects))
        return np.full(len(effects), p_value)

    found = invert_around(test, 0.05, 0.0, 1.0)
    expected = (-np.inf, np.inf) if p_value > 0.05 else (np.nan, np.nan)
    np.testing.assert_array_equal((found.low, found.high), expected)
    assert calls == [101] * times
