"""Least squares on the simplex, against a generic solver and by the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from zoo_core.errors import InputError
from zoo_synthetic_learner.simplex_solver import simplex_weights


def _problem(
    seed: int, rows: int, p: int, q: int, shared: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, 3))
    donors = factors @ rng.normal(size=(3, p)) + shared * rng.normal(size=(rows, p))
    targets = factors @ rng.normal(size=(3, q)) + shared * rng.normal(size=(rows, q))
    return donors, targets


def _objective(
    donors: np.ndarray, target: np.ndarray, weights: np.ndarray, ridge: float = 0.0
) -> float:
    return float(((target - donors @ weights) ** 2).sum() + ridge * (weights**2).sum())


def _generic(donors: np.ndarray, target: np.ndarray, ridge: float) -> float:
    p = donors.shape[1]
    found = minimize(
        lambda w: _objective(donors, target, w, ridge),
        np.full(p, 1 / p),
        jac=lambda w: 2 * donors.T @ (donors @ w - target) + 2 * ridge * w,
        bounds=[(0, None)] * p,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"maxiter": 2000, "ftol": 1e-14},
    )
    return float(found.fun)


@pytest.mark.parametrize("ridge", [0.0, 0.5, 20.0])
@pytest.mark.parametrize(("rows", "p"), [(30, 8), (12, 20), (5, 15)])
def test_the_objective_is_that_of_a_generic_solver(rows: int, p: int, ridge: float) -> None:
    donors, targets = _problem(rows + p, rows, p, 6)
    weights = simplex_weights(donors.T @ donors, donors.T @ targets, ridge)
    for each in range(6):
        ours = _objective(donors, targets[:, each], weights[:, each], ridge)
        theirs = _generic(donors, targets[:, each], ridge)
        assert ours <= theirs * (1 + 1e-7) + 1e-9
        assert ours >= theirs - 1e-5 * max(theirs, 1)


def test_weights_are_those_of_nnls_with_a_heavy_row() -> None:
    donors, targets = _problem(1, 40, 12, 5)
    weights = simplex_weights(donors.T @ donors, donors.T @ targets)
    heavy = 1e5
    for each in range(5):
        theirs, _ = nnls(
            np.vstack([donors, np.full(12, heavy)]), np.append(targets[:, each], heavy)
        )
        np.testing.assert_allclose(weights[:, each], theirs, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 25),
    p=st.integers(1, 30),
    q=st.integers(1, 7),
    ridge=st.sampled_from([0.0, 1e-3, 1.0]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_the_conditions_of_optimality_hold(
    seed: int, rows: int, p: int, q: int, ridge: float, scale: float
) -> None:
    donors, targets = (scale * each for each in _problem(seed, rows, p, q))
    gram, cross = donors.T @ donors, donors.T @ targets
    ridge *= scale**2
    weights = simplex_weights(gram, cross, ridge)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-9)
    gradient = gram @ weights + ridge * weights - cross
    level = (weights * gradient).sum(axis=0)
    size = max(gram.diagonal().max() + ridge, np.abs(cross).max())
    # No donor could gain, and those that have weight are all on one level.
    assert ((gradient - level) >= -1e-8 * size).all()
    assert (np.abs(np.where(weights > 1e-9, gradient - level, 0)) <= 1e-8 * size).all()


def test_targets_do_not_depend_on_each_other_or_on_the_order_of_donors() -> None:
    donors, targets = _problem(3, 25, 40, 9)
    gram, cross = donors.T @ donors, donors.T @ targets
    together = simplex_weights(gram, cross, 0.1)
    for each in range(9):
        alone = simplex_weights(gram, cross[:, [each]], 0.1)
        np.testing.assert_allclose(alone[:, 0], together[:, each], atol=1e-9)
    order = np.random.default_rng(0).permutation(40)
    moved = simplex_weights(gram[np.ix_(order, order)], cross[order], 0.1)
    np.testing.assert_allclose(moved, together[order], atol=1e-8)


def test_a_target_among_the_donors_gets_all_the_weight() -> None:
    donors, _ = _problem(4, 30, 10, 1)
    weights = simplex_weights(donors.T @ donors, donors.T @ donors[:, [7]])
    np.testing.assert_allclose(weights[:, 0], np.eye(10)[7], atol=1e-8)


def test_equal_donors_give_one_and_the_same_answer_each_time() -> None:
    donors, targets = _problem(5, 20, 6, 2)
    twice = np.concatenate([donors, donors], axis=1)
    gram, cross = twice.T @ twice, twice.T @ targets
    first, second = simplex_weights(gram, cross), simplex_weights(gram, cross)
    assert np.array_equal(first, second)
    once = simplex_weights(donors.T @ donors, donors.T @ targets)
    np.testing.assert_allclose(first[:6] + first[6:], once, atol=1e-5)
    shared = simplex_weights(gram, cross, 1.0)
    np.testing.assert_allclose(shared[:6], shared[6:], atol=1e-8)


def test_a_large_ridge_gives_equal_weights() -> None:
    donors, targets = _problem(6, 20, 8, 3)
    weights = simplex_weights(donors.T @ donors, donors.T @ targets, 1e9)
    np.testing.assert_allclose(weights, 1 / 8, atol=1e-6)


def test_two_donors_by_hand() -> None:
    # (1 - 2 w)^2 with w = 1/2 at 0 of targets, donors at 0 and 2: a target at 1 lies midway.
    donors, targets = np.array([[0.0, 2.0]]), np.array([[1.0, -5.0, 0.5]])
    weights = simplex_weights(donors.T @ donors, donors.T @ targets)
    np.testing.assert_allclose(weights[1], [0.5, 0.0, 0.25], atol=1e-8)


def test_edges() -> None:
    assert simplex_weights(np.ones((1, 1)), np.ones((1, 3))).tolist() == [[1.0, 1.0, 1.0]]
    assert simplex_weights(np.eye(4), np.empty((4, 0))).shape == (4, 0)
    flat = simplex_weights(np.zeros((3, 3)), np.zeros((3, 2)))
    np.testing.assert_allclose(flat.sum(axis=0), 1)
    assert (flat >= 0).all()


@pytest.mark.parametrize(
    ("gram", "cross", "ridge", "said"),
    [
        (np.eye(3), np.ones(3), 0.0, "shape"),
        (np.eye(3), np.ones((2, 1)), 0.0, "shape"),
        (np.empty((0, 0)), np.empty((0, 1)), 0.0, "no rows"),
        (np.full((2, 2), np.nan), np.ones((2, 1)), 0.0, "gram has values"),
        (np.eye(2), np.array([[np.inf], [1.0]]), 0.0, "cross has values"),
        (np.eye(2), np.ones((2, 1)), -1.0, "ridge"),
        (np.eye(2), np.ones((2, 1)), np.nan, "ridge"),
        (-np.eye(2), np.ones((2, 1)), 0.0, "negative"),
    ],
)
def test_what_is_no_problem_is_refused(
    gram: np.ndarray, cross: np.ndarray, ridge: float, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        simplex_weights(gram, cross, ridge)
