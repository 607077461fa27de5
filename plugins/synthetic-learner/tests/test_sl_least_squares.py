"""Least squares on donors, against numpy's with a column of ones, and of least norm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_core.errors import InputError
from zoo_synthetic_learner.synthesizers import LeastSquares, Task


def _task(seed: int = 0, periods: int = 20, p: int = 5, level: float = 10.0) -> Task:
    rng = np.random.default_rng(seed)
    donors = level + rng.normal(size=(periods + 4, p))
    targets = donors[:periods] @ rng.normal(size=(p, 3)) + rng.normal(size=(periods, 3))
    return Task(donors=donors, targets=targets, fit=np.arange(periods), start=periods)


def test_weights_are_those_with_a_column_of_ones() -> None:
    task = _task()
    found = LeastSquares()(task)
    ones = np.column_stack((np.ones(20), task.learnt))
    joint = np.linalg.lstsq(ones, task.targets, rcond=None)[0]
    np.testing.assert_allclose(found.weights, joint[1:], rtol=1e-9)
    np.testing.assert_allclose(found.intercept, joint[0], rtol=1e-8)
    every = np.column_stack((np.ones(24), task.donors)) @ joint
    np.testing.assert_allclose(found.predicted, every, rtol=1e-9)
    assert found.choices == ("ols",) * 3
    assert not found.notes


def test_balance_rows_are_rows_without_an_intercept() -> None:
    rng = np.random.default_rng(1)
    balance = (5 * rng.normal(size=(3, 5)), 5 * rng.normal(size=(3, 3)))
    task = replace(_task(2), balance=balance)
    found = LeastSquares()(task)
    ones = np.r_[np.ones(20), np.zeros(3)]
    rows = np.column_stack((ones, np.vstack((task.learnt, balance[0]))))
    joint = np.linalg.lstsq(rows, np.vstack((task.targets, balance[1])), rcond=None)[0]
    np.testing.assert_allclose(found.weights, joint[1:], rtol=1e-8)
    np.testing.assert_allclose(found.intercept, joint[0], rtol=1e-8)


@pytest.mark.parametrize("level", [0.0, 10.0, 1e4, 1e7])
@pytest.mark.parametrize("p", [19, 20, 60])
def test_of_many_weights_those_of_least_norm(p: int, level: float) -> None:
    task = _task(p, p=p, level=level)
    found = LeastSquares()(task)
    # Without the direction of ones, which the intercept takes, the rows have full rank.
    basis = np.linalg.qr(np.column_stack((np.ones(20), np.eye(20)[:, :19])))[0][:, 1:]
    donors, targets = basis.T @ (task.learnt - level), basis.T @ task.targets
    expected = donors.T @ np.linalg.solve(donors @ donors.T, targets)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.weights, expected, atol=1e-6 * scale)
    np.testing.assert_allclose(found.predicted[:20], task.targets, atol=1e-6 * (1 + level))
    (note,) = found.notes
    assert f"{p} donors" in note
    assert "20 periods" in note
    assert not LeastSquares()(_task(p, p=18)).notes


def test_dependent_donors_share_and_a_note_tells_the_rank() -> None:
    task = _task(3)
    twins = replace(task, donors=np.repeat(task.donors, 2, axis=1))
    found, once = LeastSquares()(twins), LeastSquares()(task)
    np.testing.assert_allclose(found.weights, np.repeat(once.weights, 2, axis=0) / 2, atol=1e-9)
    np.testing.assert_allclose(found.predicted, once.predicted)
    (note,) = found.notes
    assert "10 donors have rank 5" in note


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(-50, 50), st.floats(0.1, 10))
def test_level_scale_and_order_of_donors(seed: int, level: float, scale: float) -> None:
    task = _task(seed)
    found = LeastSquares()(task)
    order = np.random.default_rng(seed).permutation(5)
    moved = replace(
        task, donors=scale * task.donors[:, order] + level, targets=scale * task.targets - level
    )
    again = LeastSquares()(moved)
    np.testing.assert_allclose(again.weights, found.weights[order], atol=1e-8)
    np.testing.assert_allclose(again.predicted, scale * found.predicted - level, atol=1e-7)


def test_gaps_and_later_outcomes() -> None:
    task = _task(4)
    fit = np.delete(task.fit, [0, 7, 8])
    gaps = replace(task, fit=fit, targets=task.targets[fit])
    later = task.donors.copy()
    later[[0, 7, 8, 20, 21, 22, 23]] = 1e6
    before, after = LeastSquares()(gaps), LeastSquares()(replace(gaps, donors=later))
    np.testing.assert_array_equal(before.weights, after.weights)
    np.testing.assert_array_equal(before.predicted[fit], after.predicted[fit])
    ones = np.column_stack((np.ones(17), task.donors[fit]))
    joint = np.linalg.lstsq(ones, task.targets[fit], rcond=None)[0]
    np.testing.assert_allclose(before.weights, joint[1:], rtol=1e-9)


def test_one_donor_is_a_slope() -> None:
    task = _task(5, p=1)
    for target in range(3):
        slope, level = np.polyfit(task.learnt[:, 0], task.targets[:, target], 1)
        found = LeastSquares()(task)
        assert found.weights[0, target] == pytest.approx(slope)
        assert found.intercept[target] == pytest.approx(level)


def test_no_donors_and_no_periods() -> None:
    task = _task()
    with pytest.raises(InputError, match="no donors"):
        LeastSquares()(replace(task, donors=np.empty((24, 0))))
    with pytest.raises(InputError, match="0 periods"):
        LeastSquares()(replace(task, fit=task.fit[:0], targets=task.targets[:0]))
