"""Matrix completion against its objective, a plain iteration run long, and known matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zoo_core.errors import ConfigError
from zoo_synthetic_learner.synthesizers import DiD, MatrixCompletion, Task
from zoo_synthetic_learner.synthesizers.matrix_completion import complete, fixed_effects


def _task(seed: int, periods: int = 24, p: int = 14, q: int = 3, noise: float = 0.1) -> Task:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(periods, 2)).cumsum(axis=0)
    outcome = 5 + factors @ rng.normal(size=(2, p + q)) + noise * rng.normal(size=(periods, p + q))
    start = periods - 6
    return Task(
        donors=outcome[:, :p],
        targets=outcome[:start, p:],
        fit=np.arange(start),
        start=start,
    )


def _cells(task: Task) -> tuple[np.ndarray, np.ndarray]:
    outcome = np.full((len(task.donors), task.num_donors + task.num_targets), np.nan)
    outcome[:, : task.num_donors] = task.donors
    outcome[task.fit, task.num_donors :] = task.targets
    return np.nan_to_num(outcome), ~np.isnan(outcome)


def _plain(outcome: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    """Soft-impute with effects of rows and columns, 5,000 times over."""
    filled = np.where(seen, outcome, outcome[seen].mean())
    for _ in range(5000):
        effects = filled.mean(1, keepdims=True) + filled.mean(0) - filled.mean()
        u, s, v = np.linalg.svd(filled - effects, full_matrices=False)
        found = effects + (u * np.maximum(s - penalty, 0)) @ v
        filled = np.where(seen, outcome, found)
    return found


def test_fixed_effects_are_the_least_squares_fit_of_dummies() -> None:
    outcome, seen = _cells(_task(0))
    rows, columns = np.nonzero(seen)
    height, width = outcome.shape
    dummies = np.zeros((len(rows), height + width))
    dummies[np.arange(len(rows)), rows] = 1
    dummies[np.arange(len(rows)), height + columns] = 1
    solved = np.linalg.lstsq(dummies, outcome[rows, columns], rcond=None)[0]
    expected = solved[:height, None] + solved[height:]
    np.testing.assert_allclose(fixed_effects(outcome, seen), expected, atol=1e-9)


@pytest.mark.parametrize("penalty", [0.3, 2.0])
def test_it_ends_where_a_plain_iteration_ends(penalty: float) -> None:
    outcome, seen = _cells(_task(1))
    found, converged = complete(outcome, seen, penalty, fixed_effects(outcome, seen), 1e-9, 20_000)
    assert converged
    np.testing.assert_allclose(found, _plain(outcome, seen, penalty), atol=1e-5)


def test_the_largest_penalty_gives_fixed_effects_alone() -> None:
    task = _task(2)
    outcome, seen = _cells(task)
    found = MatrixCompletion(1.0)(task)
    effects = fixed_effects(outcome, seen)[:, task.num_donors :]
    np.testing.assert_allclose(found.predicted, effects, atol=1e-4)
    assert found.choices == ("mc(1)",) * 3
    assert found.weights is None


def test_a_matrix_of_low_rank_is_found() -> None:
    task = _task(3, periods=40, p=30, noise=0.0)
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(40, 2)).cumsum(axis=0)
    full = 5 + factors @ rng.normal(size=(2, 33))
    true = full[34:, 30:]
    low = np.abs(MatrixCompletion()(task).predicted[34:] - true).mean()
    flat = np.abs(DiD()(task).predicted[34:] - true).mean()
    assert low < 0.2 * flat


def test_the_penalty_is_the_best_on_the_targets_last_periods() -> None:
    task = _task(4)
    grid = (0.5, 0.1, 0.02)
    errors = np.zeros(3)
    for origin in (12, 15):
        part = task.until(origin, origin + 3)
        for place, penalty in enumerate(grid):
            told = MatrixCompletion(penalty, grid=grid)(part).predicted[origin:]
            errors[place] += ((task.targets[origin : origin + 3] - told) ** 2).sum()
    found = MatrixCompletion(grid=grid)(task)
    assert found.choices[0] == f"mc({grid[errors.argmin()]:.3g})"
    assert len(set(errors)) == 3


def test_additive_outcomes_are_met_without_iterating() -> None:
    rng = np.random.default_rng(5)
    outcome = 1e3 + rng.normal(size=(20, 1)) + rng.normal(size=12)
    task = Task(donors=outcome[:, :9], targets=outcome[:15, 9:], fit=np.arange(15), start=15)
    found = MatrixCompletion()(task)
    np.testing.assert_allclose(found.predicted, outcome[:, 9:], atol=1e-9)
    assert found.notes == ()


def test_too_few_iterations_are_told() -> None:
    found = MatrixCompletion(0.01, tolerance=1e-12, max_iter=3)(_task(6))
    assert "before it converged" in found.notes[0]


def test_targets_later_outcomes_do_not_enter() -> None:
    task = _task(7)
    known = replace(task, fit=task.fit[:-2], targets=task.targets[:-2])
    changed = task.targets.copy()
    changed[-2:] = 1e6
    again = replace(task, fit=task.fit[:-2], targets=changed[:-2])
    assert np.array_equal(MatrixCompletion()(known).predicted, MatrixCompletion()(again).predicted)


@pytest.mark.parametrize(
    "options", [{"penalty": "cv"}, {"penalty": -1.0}, {"grid": ()}, {"max_iter": 0}]
)
def test_options_that_do_not_fit_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        MatrixCompletion(**options)
