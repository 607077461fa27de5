"""The choice among synthesizers by forecasts, written out; names; fallbacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as SklearnRidge

from zoo_core.errors import ConfigError
from zoo_synthetic_learner.synthesizers import (
    KINDS,
    SDID,
    Auto,
    DiD,
    LeastSquares,
    Regressor,
    Ridge,
    Simplex,
    Synthesis,
    Task,
    by_name,
    name_of,
    rolling_origin,
)


def _task(seed: int = 0, periods: int = 24, q: int = 12) -> Task:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(periods + 5, 3)).cumsum(axis=0)
    donors = factors @ rng.normal(size=(3, 9)) + 0.2 * rng.normal(size=(periods + 5, 9))
    inside = donors @ rng.dirichlet(np.ones(9), size=q // 3).T
    wild = donors @ rng.normal(size=(9, q // 3))
    level = donors.mean(axis=1, keepdims=True) + 0.05 * rng.normal(size=(periods + 5, q // 3))
    targets = np.hstack([inside, wild, level]) + 0.05 * rng.normal(size=(periods + 5, q))
    return Task(donors=donors, targets=targets[:periods], fit=np.arange(periods), start=periods)


def _errors(task: Task, synthesizer: object) -> np.ndarray:
    """[q]: squared errors of forecasts from the two origins, 4 periods each of 24."""
    total = np.zeros(task.num_targets)
    for origin in (16, 20):
        told = synthesizer(task.until(origin, origin + 4)).predicted[origin:]  # type: ignore[operator]
        total += ((task.targets[origin : origin + 4] - told) ** 2).sum(axis=0)
    return total


def test_each_target_gets_what_forecasts_it_best() -> None:
    task = _task()
    grid = Ridge().penalties
    ways = {"simplex": Simplex(), **{f"ridge({a:.3g})": Ridge(a) for a in grid}, "did": DiD()}
    errors = np.stack([_errors(task, each) for each in ways.values()])
    names = np.array(list(ways))[errors.argmin(axis=0)]
    found = Auto()(task)
    assert found.choices == tuple(names)
    assert {name.partition("(")[0] for name in names} == {"simplex", "ridge", "did"}
    for each, name in enumerate(names):
        alone = ways[name](replace(task, targets=task.targets[:, [each]]))
        np.testing.assert_allclose(found.weights[:, each], alone.weights[:, 0], atol=1e-8)
        np.testing.assert_allclose(found.predicted[:, each], alone.predicted[:, 0], atol=1e-7)


def test_later_outcomes_do_not_move_the_choice() -> None:
    task = _task(1)
    donors = task.donors.copy()
    donors[task.start :] *= -3
    before, after = Auto()(task), Auto()(replace(task, donors=donors))
    assert before.choices == after.choices
    assert np.array_equal(before.weights, after.weights)


def test_few_periods_make_it_difference_in_differences_and_it_says_so() -> None:
    task = _task(2, periods=7)
    found = Auto(base="last")(task)
    assert set(found.choices) == {"did"}
    np.testing.assert_array_equal(found.predicted, DiD("last")(task).predicted)
    assert found.notes == (
        "the periods to learn from are 7, fewer than 8: 'auto' took 'did', equal weights.",
    )
    assert "too few to validate" in Auto(min_periods=2)(_task(2, periods=6)).notes[0]
    assert Auto()(_task(2, periods=8)).notes == ()


def test_what_cannot_forecast_early_loses() -> None:
    task = _task(3)
    lagged = Regressor(LinearRegression(), lags=15)
    found = Auto(("did", lagged))(task)
    assert set(found.choices) == {"did"}
    assert found.weights is not None


def test_candidates_of_ones_own_compete() -> None:
    task = _task(4)

    def first(given: Task) -> Synthesis:
        weights = np.zeros((given.num_donors, given.num_targets))
        weights[0] = 1
        return Synthesis.linear(given, weights, np.zeros(given.num_targets), ("first",) * 12)

    copied = replace(task, targets=np.repeat(task.donors[:24, [0]], 12, axis=1))
    found = Auto(("did", first, Ridge(100.0)))(copied)
    assert set(found.choices) == {"first"}
    mixed = Auto(("did", SklearnRidge(1e-6)))(task)
    assert {"did", "Ridge"} == set(mixed.choices)
    assert mixed.weights is None


@pytest.mark.parametrize("candidates", ["simplex", (), ("auto",), ("simplx",), 3])
def test_candidates_that_are_none_are_refused(candidates: object) -> None:
    with pytest.raises(ConfigError):
        Auto(candidates)  # type: ignore[arg-type]


def test_origins_by_hand() -> None:
    # A sixth of the periods, three at least; an origin has four periods before it.
    assert rolling_origin.origins(30) == [(20, 25), (25, 30)]
    assert rolling_origin.origins(19) == [(13, 16), (16, 19)]
    assert rolling_origin.origins(9) == [(6, 9)]
    assert rolling_origin.origins(10) == [(4, 7), (7, 10)]
    assert rolling_origin.origins(7) == [(4, 7)]
    assert rolling_origin.origins(6) == []
    assert rolling_origin.horizon_of(17) == 3
    assert rolling_origin.horizon_of(24) == 4


def test_origins_pass_over_periods_that_are_missing() -> None:
    assert rolling_origin.valid_origins(np.arange(30)) == [(20, 25), (25, 30)]
    gap = np.r_[np.arange(18), 29]
    assert rolling_origin.valid_origins(gap) == [(25, 30)]
    assert rolling_origin.valid_origins(np.array([], dtype=int)) == []


def test_names_make_synthesizers_with_their_options() -> None:
    assert set(KINDS) == {
        "ols", "lasso", "ridge", "enet", "simplex", "sdid", "did", "mc", "auto",
    }  # fmt: skip
    assert all(name_of(by_name(name)) == name for name in KINDS)
    assert by_name("simplex", {"intercept": False, "ridge": 0.0}) == Simplex(False, 0.0)
    assert by_name(SklearnRidge(), {"lags": 1}).lags == 1
    assert by_name(LeastSquares()) == LeastSquares()
    assert name_of(SklearnRidge()) == "Ridge"


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ("simplx", None, "Did you mean simplex"),
        (3, None, "expected a name"),
        (SklearnRidge, None, "expected a name"),
        ("simplex", {"intercep": True}, "Did you mean intercept"),
        ("did", {"name": "x"}, "takes base"),
        ("did", 3, "expected a mapping"),
        (SDID(), {"sparsify": True}, "that is made"),
        ("ols", {"penalty": 1}, "no options"),
    ],
)
def test_what_is_no_synthesizer_is_refused(given: object, options: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        by_name(given, options)  # type: ignore[arg-type]
