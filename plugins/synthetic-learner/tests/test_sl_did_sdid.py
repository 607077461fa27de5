"""Equal weights by hand; unit weights of synthetic difference in differences by a solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from zoo_core.errors import ConfigError
from zoo_synthetic_learner.synthesizers import SDID, DiD, Task, by_name


def _task(p: int = 6) -> Task:
    rng = np.random.default_rng(0)
    donors = rng.normal(size=(16, p)).cumsum(axis=0)
    return Task(donors=donors, targets=rng.normal(size=(12, 2)), fit=np.arange(12), start=12)


@pytest.mark.parametrize("base", ["mean", "last"])
def test_did_by_hand(base: str) -> None:
    task = _task()
    found = DiD(base)(task)
    mean = task.donors.mean(axis=1)
    misfit = task.targets - mean[:12, None]
    expected = misfit.mean(axis=0) if base == "mean" else misfit[-1]
    np.testing.assert_allclose(found.weights, 1 / 6)
    np.testing.assert_allclose(found.predicted, mean[:, None] + expected)


def _solved(task: Task, target: int, zeta: float) -> np.ndarray:
    donors = task.learnt - task.learnt.mean(axis=0)
    outcome = task.targets[:, target] - task.targets[:, target].mean()
    p = donors.shape[1]
    return minimize(
        lambda w: ((outcome - donors @ w) ** 2).mean() + zeta**2 * (w**2).sum(),
        np.full(p, 1 / p),
        bounds=[(0, None)] * p,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 1000},
    ).x


def test_sdid_weights_are_those_of_a_solver() -> None:
    task = _task()
    zeta = (2 * 4) ** 0.25 * np.diff(task.learnt, axis=0).std(ddof=1)
    assert SDID().zeta(task) == pytest.approx(zeta)
    assert SDID(num_treated=7).zeta(task) == pytest.approx(zeta * 3.5**0.25)
    weights = SDID()(task).weights
    for target in range(2):
        np.testing.assert_allclose(weights[:, target], _solved(task, target, zeta), atol=1e-4)


def test_sparsify_solves_again_with_the_large_weights() -> None:
    task = _task(20)
    whole, sparse = SDID()(task).weights, SDID(sparsify=True)(task).weights
    dropped = whole < whole.max(axis=0) / 4
    assert dropped.any()
    np.testing.assert_array_equal(sparse[dropped], 0)
    np.testing.assert_allclose(sparse.sum(axis=0), 1)
    assert (sparse >= 0).all()


def test_later_outcomes_do_not_move_weights() -> None:
    task = _task()
    later = task.donors.copy()
    later[12:] += 50
    for kind in (DiD(), DiD("last"), SDID()):
        moved = kind(replace(task, donors=later))
        np.testing.assert_array_equal(kind(task).weights, moved.weights)
        np.testing.assert_array_equal(kind(task).intercept, moved.intercept)


def test_bad_options() -> None:
    with pytest.raises(ConfigError, match="Did you mean mean"):
        DiD("meen")
    with pytest.raises(ConfigError, match="sparsify"):
        SDID(sparsify=1)


def test_options_are_the_fields_alone() -> None:
    with pytest.raises(ConfigError, match="takes base"):
        by_name("did", {"short": True})
    with pytest.raises(ConfigError, match="no options"):
        by_name("ols", {"name": "x"})
    with pytest.raises(ConfigError, match="Did you mean ridge"):
        by_name("rige")
