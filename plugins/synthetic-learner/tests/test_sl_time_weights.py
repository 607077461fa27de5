"""SDID's time weights and noise level, against a generic solver and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from zoo_core.errors import InputError
from zoo_synthetic_learner.time_weights import noise_level, time_weights


def _generic(pre: np.ndarray, post: np.ndarray, zeta: float) -> np.ndarray:
    def objective(values: np.ndarray) -> float:
        rest = post - values[0] - pre @ values[1:]
        return float((rest**2).mean() + zeta**2 * (values[1:] ** 2).sum())

    count = pre.shape[1]
    return minimize(
        objective,
        np.concatenate([[0.0], np.full(count, 1 / count)]),
        bounds=[(None, None)] + [(0, None)] * count,
        constraints={"type": "eq", "fun": lambda values: values[1:].sum() - 1},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    ).x[1:]


@pytest.mark.parametrize("zeta", [0.3, 2.0])
def test_they_minimise_what_they_should(zeta: float) -> None:
    rng = np.random.default_rng(0)
    pre = rng.normal(size=(30, 7)).cumsum(axis=1)
    post = pre @ np.array([0, 0, 0.2, 0, 0, 0.3, 0.5]) + 4 + 0.3 * rng.normal(size=30)
    found = time_weights(pre, post, zeta)
    np.testing.assert_allclose(found, _generic(pre, post, zeta), atol=1e-4)


def test_a_level_shared_by_units_changes_nothing_and_late_periods_tell_most() -> None:
    rng = np.random.default_rng(1)
    pre = rng.normal(size=(40, 9)).cumsum(axis=1)
    post = pre[:, -1] + 0.1 * rng.normal(size=40)
    found = time_weights(pre, post)
    assert found[-1] > 0.9
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(time_weights(pre, post + 100), found, atol=1e-8)
    np.testing.assert_allclose(time_weights(pre, post, 1e4), 1 / 9, atol=1e-5)


def test_the_default_penalty_is_a_millionth_of_the_noise_level() -> None:
    rng = np.random.default_rng(2)
    pre, post = rng.normal(size=(4, 12)), rng.normal(size=4)
    assert np.array_equal(time_weights(pre, post), time_weights(pre, post, 1e-6 * noise_level(pre)))


def test_the_noise_level_by_hand() -> None:
    pre = np.array([[0.0, 1.0, 3.0], [5.0, 5.0, 2.0]])
    assert noise_level(pre) == pytest.approx(np.std([1, 2, 0, -3], ddof=1))
    # Periods 0, 1 and 5: the last two are no neighbours.
    assert noise_level(pre, np.array([0, 1, 5])) == pytest.approx(np.std([1, 0], ddof=1))
    assert noise_level(pre[:, :1]) == 0


@pytest.mark.parametrize(
    ("pre", "post"),
    [(np.ones(3), np.ones(3)), (np.ones((3, 2)), np.ones(2)), (np.empty((3, 0)), np.ones(3))],
)
def test_shapes_that_do_not_fit_are_refused(pre: np.ndarray, post: np.ndarray) -> None:
    with pytest.raises(InputError, match="shape"):
        time_weights(pre, post)
