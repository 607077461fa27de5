"""Lasso and elastic net, against scikit-learn's with the matching alpha and by subgradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso as SklearnLasso

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.synthesizers import ElasticNet, Lasso, Task


def _task(seed: int = 0, periods: int = 24, p: int = 8, q: int = 3, post: int = 5) -> Task:
    rng = np.random.default_rng(seed)
    factors = np.cumsum(rng.normal(size=(periods + post, 2)), axis=0)
    donors = 5 + factors @ rng.normal(size=(2, p)) + rng.normal(size=(periods + post, p))
    targets = 20 + factors[:periods] @ rng.normal(size=(2, q)) + rng.normal(size=(periods, q))
    return Task(donors=donors, targets=targets, fit=np.arange(periods), start=periods)


def _rows(task: Task) -> tuple[np.ndarray, np.ndarray]:
    donors = task.learnt - task.learnt.mean(axis=0)
    targets = task.targets - task.targets.mean(axis=0)
    if task.balance is not None:
        donors = np.vstack((donors, task.balance[0]))
        targets = np.vstack((targets, task.balance[1]))
    return donors, targets


def _largest(task: Task, l1_ratio: float) -> np.ndarray:
    donors, targets = _rows(task)
    return np.abs(donors.T @ targets).max(axis=0) / (len(donors) * l1_ratio)


@pytest.mark.parametrize("penalty", [0.5, 0.05, 0.003])
@pytest.mark.parametrize("p", [8, 30])
def test_lasso_is_that_of_sklearn(p: int, penalty: float) -> None:
    task = _task(p, p=p)
    found = Lasso(penalty)(task)
    for target, alpha in enumerate(penalty * _largest(task, 1.0)):
        reference = SklearnLasso(alpha=alpha, tol=1e-12, max_iter=200_000)
        reference.fit(task.learnt, task.targets[:, target])
        np.testing.assert_allclose(found.weights[:, target], reference.coef_, atol=3e-3)
        np.testing.assert_allclose(
            found.predicted[:, target], reference.predict(task.donors), atol=2e-2
        )
    assert found.choices == (f"lasso({penalty:.3g})",) * 3


@pytest.mark.parametrize("l1_ratio", [0.2, 0.5, 0.9])
def test_elastic_net_is_that_of_sklearn(l1_ratio: float) -> None:
    task = _task(2, p=12)
    found = ElasticNet(0.1, l1_ratio)(task)
    for target, alpha in enumerate(0.1 * _largest(task, l1_ratio)):
        reference = SklearnElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=200_000)
        reference.fit(task.learnt, task.targets[:, target])
        np.testing.assert_allclose(found.weights[:, target], reference.coef_, atol=1e-3)
        np.testing.assert_allclose(found.intercept[target], reference.intercept_, atol=1e-2)
    assert found.choices == ("enet(0.1)",) * 3


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_conditions_of_optimality_with_balance_rows(l1_ratio: float) -> None:
    rng = np.random.default_rng(9)
    task = replace(_task(9), balance=(3 * rng.normal(size=(4, 8)), 3 * rng.normal(size=(4, 3))))
    weights = ElasticNet(0.1, l1_ratio)(task).weights
    donors, targets = _rows(task)
    alpha = 0.1 * _largest(task, l1_ratio)
    pull = donors.T @ (targets - donors @ weights) / len(donors) - alpha * (1 - l1_ratio) * weights
    edge = alpha * l1_ratio
    assert (weights == 0).any()
    assert (weights != 0).any()
    signed = np.where(weights == 0, pull, pull - np.sign(weights) * edge)
    assert (np.abs(signed) <= np.where(weights == 0, edge, 0) + 0.01 * edge).all()


def test_one_is_the_least_penalty_without_weights() -> None:
    task = _task(4)
    for kind in (Lasso, ElasticNet):
        nothing = kind(1.0)(task)
        np.testing.assert_allclose(nothing.weights, 0, atol=1e-9)
        np.testing.assert_allclose(nothing.intercept, task.targets.mean(axis=0))
        assert (np.abs(kind(0.9)(task).weights) > 1e-6).any(axis=0).all()


def test_level_scale_and_order_of_donors() -> None:
    task = _task(5)
    found = Lasso(0.05)(task)
    order = np.random.default_rng(1).permutation(8)
    moved = replace(task, donors=7 * task.donors[:, order] - 300, targets=7 * task.targets + 50)
    again = Lasso(0.05)(moved)
    np.testing.assert_allclose(again.weights, found.weights[order], atol=1e-3)
    np.testing.assert_allclose(again.predicted, 7 * found.predicted + 50, atol=0.1)


@pytest.mark.parametrize("kind", [Lasso, ElasticNet])
def test_rolling_penalties_forecast_best(kind: type) -> None:
    task = _task(6, periods=30, p=15, q=4)
    grid = (0.9, 0.3, 0.05, 0.01)
    errors = np.zeros((4, 4))
    for origin in (20, 25):
        part = replace(task, targets=task.targets[:origin], fit=task.fit[:origin])
        for k, penalty in enumerate(grid):
            ahead = kind(penalty)(part).predicted[origin : origin + 5]
            errors[k] += ((task.targets[origin : origin + 5] - ahead) ** 2).sum(axis=0)
    least, penalties = kind(grid=grid).tune(task)
    np.testing.assert_allclose(least, errors.min(axis=0), rtol=1e-2)
    np.testing.assert_array_equal(penalties, np.array(grid)[errors.argmin(axis=0)])
    found = kind(grid=grid[::-1])(task)
    assert found.choices == tuple(f"{kind.name}({each:.3g})" for each in penalties)


def test_later_outcomes_do_not_move_weights() -> None:
    task = _task(7)
    later = task.donors.copy()
    later[task.start :] *= -9
    before, after = Lasso()(task), Lasso()(replace(task, donors=later))
    np.testing.assert_array_equal(before.weights, after.weights)
    assert before.choices == after.choices


def test_one_donor_equal_donors_and_flat_outcomes() -> None:
    task = _task(8, p=1)
    donors, targets = _rows(task)
    found = Lasso(0.25)(task).weights[0]
    np.testing.assert_allclose(found, 0.75 * (donors.T @ targets)[0] / (donors**2).sum(), rtol=1e-5)
    twins = replace(task, donors=np.repeat(task.donors, 2, axis=1))
    np.testing.assert_array_equal(Lasso(0.25)(twins).weights, Lasso(0.25)(twins).weights)
    np.testing.assert_allclose(Lasso(0.25)(twins).weights.sum(axis=0), found, rtol=1e-4)
    flat = Lasso(0.1)(replace(task, targets=np.full_like(task.targets, 3.0)))
    np.testing.assert_array_equal(flat.weights, 0)
    np.testing.assert_array_equal(flat.predicted, 3.0)


def test_jobs_make_no_difference() -> None:
    task = _task(10)
    several = replace(task, n_jobs=2)
    np.testing.assert_array_equal(Lasso()(task).weights, Lasso()(several).weights)


def test_too_few_periods_take_the_largest_penalty_and_say_so() -> None:
    found = Lasso(grid=(0.1, 0.7))(_task(0, periods=6))
    assert found.choices == ("lasso(0.7)",) * 3
    (note,) = found.notes
    assert "(6)" in note
    assert "largest penalty, 0.7," in note


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (Lasso, {"penalty": "rollling"}, "did you mean rolling"),
        (Lasso, {"penalty": "gcv"}, "gcv"),
        (Lasso, {"penalty": 0.0}, "above 0"),
        (ElasticNet, {"l1_ratio": 0}, "l1_ratio"),
        (ElasticNet, {"l1_ratio": 1.5}, "l1_ratio"),
        (ElasticNet, {"grid": [0.1, float("inf")]}, "grid"),
    ],
)
def test_bad_options(kind: type, options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=f"(?i){says}"):
        kind(**options)


def test_no_donors() -> None:
    with pytest.raises(InputError, match="no donors"):
        Lasso()(replace(_task(), donors=np.empty((29, 0))))
