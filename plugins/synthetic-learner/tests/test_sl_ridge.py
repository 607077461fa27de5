"""Ridge weights, against scikit-learn's and against least squares with rows for the penalty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as SklearnRidge

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.synthesizers import Ridge, Task


def _task(seed: int = 0, periods: int = 24, p: int = 6, q: int = 3, post: int = 5) -> Task:
    rng = np.random.default_rng(seed)
    factors = np.cumsum(rng.normal(size=(periods + post, 2)), axis=0)
    donors = 5 + factors @ rng.normal(size=(2, p)) + rng.normal(size=(periods + post, p))
    targets = 20 + factors[:periods] @ rng.normal(size=(2, q)) + rng.normal(size=(periods, q))
    return Task(donors=donors, targets=targets, fit=np.arange(periods), start=periods)


def _balanced(task: Task, seed: int = 3, rows: int = 2) -> Task:
    rng = np.random.default_rng(seed)
    balance = (rng.normal(size=(rows, task.num_donors)), rng.normal(size=(rows, task.num_targets)))
    return replace(task, balance=balance)


def _alpha(task: Task, penalty: float) -> float:
    centred = task.learnt - task.learnt.mean(axis=0)
    extra = 0 if task.balance is None else len(task.balance[0])
    total = (centred**2).sum() + (0 if task.balance is None else (task.balance[0] ** 2).sum())
    return penalty * total / min(len(centred) + extra - 1, task.num_donors)


@pytest.mark.parametrize("penalty", [1e-3, 0.3, 50.0])
@pytest.mark.parametrize(("periods", "p"), [(24, 6), (12, 30), (10, 10)])
def test_weights_are_those_of_sklearn(periods: int, p: int, penalty: float) -> None:
    task = _task(periods, periods, p)
    found = Ridge(penalty)(task)
    reference = SklearnRidge(alpha=_alpha(task, penalty)).fit(task.learnt, task.targets)
    np.testing.assert_allclose(found.weights, reference.coef_.T, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.intercept, reference.intercept_, rtol=1e-7)
    np.testing.assert_allclose(found.predicted, reference.predict(task.donors), rtol=1e-7)
    assert found.choices == (f"ridge({penalty:.3g})",) * 3


@pytest.mark.parametrize("p", [4, 30])
def test_balance_rows_have_no_intercept(p: int) -> None:
    task = _balanced(_task(5, 12, p))
    found = Ridge(0.2)(task)
    root = np.sqrt(_alpha(task, 0.2))
    ones = np.r_[np.ones(12), np.zeros(2 + p)][:, None]
    rows = np.vstack((task.learnt, task.balance[0], root * np.eye(p)))
    right = np.vstack((task.targets, task.balance[1], np.zeros((p, 3))))
    # The mean of the periods is what the intercept takes, so it solves the joint problem.
    joint = np.linalg.lstsq(np.hstack((ones, rows)), right, rcond=None)[0]
    np.testing.assert_allclose(found.weights, joint[1:], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.intercept, joint[0], rtol=1e-7)


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 1000),
    st.floats(-100, 100),
    st.floats(0.01, 100),
    st.sampled_from([0.1, "rolling"]),
)
def test_level_scale_and_order_of_donors(
    seed: int, level: float, scale: float, penalty: float | str
) -> None:
    task = _task(seed)
    found = Ridge(penalty)(task)
    order = np.random.default_rng(seed).permutation(task.num_donors)
    moved = replace(
        task, donors=scale * task.donors[:, order] + level, targets=scale * task.targets - level
    )
    again = Ridge(penalty)(moved)
    assert again.choices == found.choices
    np.testing.assert_allclose(again.weights, found.weights[order], rtol=1e-5, atol=1e-7)
    expected = scale * found.predicted - level
    np.testing.assert_allclose(again.predicted, expected, rtol=1e-6, atol=1e-6 * (1 + scale))


def _forecast_errors(task: Task, grid: tuple[float, ...]) -> np.ndarray:
    periods = len(task.fit)
    horizon = max(3, periods // 6)
    errors = np.zeros((len(grid), task.num_targets))
    for origin in (periods - 2 * horizon, periods - horizon):
        part = replace(task, targets=task.targets[:origin], fit=task.fit[:origin])
        for k, penalty in enumerate(grid):
            model = SklearnRidge(alpha=_alpha(part, penalty)).fit(part.learnt, part.targets)
            ahead = model.predict(task.donors[origin : origin + horizon])
            errors[k] += ((task.targets[origin : origin + horizon] - ahead) ** 2).sum(axis=0)
    return errors


@pytest.mark.parametrize("seed", range(4))
def test_rolling_penalties_forecast_best(seed: int) -> None:
    task = _task(seed, periods=30, p=20, q=5)
    grid = (100.0, 3.0, 0.1, 0.003, 1e-5)
    errors = _forecast_errors(task, grid)
    least, penalties = Ridge(grid=grid).tune(task)
    np.testing.assert_allclose(least, errors.min(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(penalties, np.array(grid)[errors.argmin(axis=0)])
    found = Ridge(grid=grid[::-1])(task)
    for target, penalty in enumerate(penalties):
        alone = Ridge(float(penalty))(task).weights[:, target]
        np.testing.assert_allclose(found.weights[:, target], alone, rtol=1e-12)


def test_generalised_cross_validation_is_that_of_the_hat_matrix() -> None:
    for p in (6, 40):
        task = _task(8, periods=16, p=p, q=4)
        grid = (10.0, 1.0, 0.1, 1e-2, 1e-4)
        errors = np.empty((len(grid), 4))
        centred = task.learnt - task.learnt.mean(axis=0)
        for k, penalty in enumerate(grid):
            inner = centred.T @ centred + _alpha(task, penalty) * np.eye(p)
            hat = centred @ np.linalg.solve(inner, centred.T) + np.full((16, 16), 1 / 16)
            residual = task.targets - hat @ task.targets
            errors[k] = 16 * (residual**2).sum(axis=0) / (16 - np.trace(hat)) ** 2
        found = Ridge("gcv", grid=grid)(task)
        chosen = np.array(grid)[errors.argmin(axis=0)]
        assert found.choices == tuple(f"ridge({each:.3g})" for each in chosen)


def test_ties_go_to_the_larger_penalty() -> None:
    task = _task(1)
    constant = replace(task, targets=np.full_like(task.targets, 7.0))
    found = Ridge(grid=(1e-3, 10.0, 0.1))(constant)
    assert found.choices == ("ridge(10)",) * 3
    np.testing.assert_allclose(found.weights, 0, atol=1e-12)
    np.testing.assert_allclose(found.predicted, 7.0)


def test_later_outcomes_do_not_move_weights() -> None:
    task = _task(2)
    later = task.donors.copy()
    later[task.start :] += 1000.0
    for penalty in (0.1, "rolling", "gcv"):
        before, after = Ridge(penalty)(task), Ridge(penalty)(replace(task, donors=later))
        np.testing.assert_array_equal(before.weights, after.weights)
        np.testing.assert_array_equal(before.intercept, after.intercept)
        assert before.choices == after.choices


def test_one_donor_and_equal_donors() -> None:
    task = _task(3, p=1)
    centred = (task.learnt - task.learnt.mean())[:, 0]
    found = Ridge(0.5)(task)
    slopes = centred @ task.targets / (1.5 * centred @ centred)
    np.testing.assert_allclose(found.weights[0], slopes)
    twins = replace(task, donors=np.repeat(task.donors, 2, axis=1))
    weights = Ridge(0.5)(twins).weights
    np.testing.assert_allclose(weights[0], weights[1])
    still = replace(task, donors=np.ones_like(task.donors))
    np.testing.assert_array_equal(Ridge(0.5)(still).weights, 0)


def test_too_few_periods_take_the_largest_penalty_and_say_so() -> None:
    task = _task(4, periods=6)
    found = Ridge(grid=(0.1, 30.0))(task)
    assert found.choices == ("ridge(30)",) * 3
    (note,) = found.notes
    assert "(6)" in note
    assert "largest penalty, 30," in note
    assert not Ridge()(_task(4, periods=7)).notes


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"penalty": "roling"}, "did you mean rolling"),
        ({"penalty": 0}, "above 0"),
        ({"penalty": -1.0}, "at least 0"),
        ({"penalty": float("nan")}, "finite"),
        ({"penalty": True}, "True"),
        ({"grid": ()}, "grid"),
        ({"grid": (1.0, 0.0)}, "grid"),
        ({"grid": 3.0}, "grid"),
    ],
)
def test_bad_options(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=f"(?i){says}"):
        Ridge(**options)


def test_no_donors_and_no_periods() -> None:
    task = _task()
    with pytest.raises(InputError, match="no donors"):
        Ridge()(replace(task, donors=np.empty((29, 0))))
    with pytest.raises(InputError, match="0 periods"):
        Ridge()(replace(task, fit=task.fit[:0], targets=task.targets[:0]))
