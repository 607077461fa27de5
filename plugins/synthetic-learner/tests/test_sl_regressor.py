"""Regressors as synthesizers, against scikit-learn on features made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.svm import SVR
from sl_data import small_panel

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner import H1SL
from zoo_synthetic_learner.synthesizers import Regressor, Task


def _task(seed: int = 0, q: int = 2, d: int = 0) -> Task:
    rng = np.random.default_rng(seed)
    outcome = rng.normal(size=(18, 4 + q)).cumsum(axis=0)
    return Task(
        donors=outcome[:, :4],
        targets=outcome[:13, 4:],
        fit=np.arange(13),
        start=13,
        covariates=rng.normal(size=(18, q, d)) if d else None,
        random_state=3,
    )


@pytest.mark.parametrize("kind", [Ridge, SVR])
def test_rows_are_periods_and_features_donors(kind: type) -> None:
    task = _task()
    found = Regressor(kind())(task)
    for each in range(2):
        model = kind().fit(task.donors[:13], task.targets[:, each])
        np.testing.assert_allclose(found.predicted[:, each], model.predict(task.donors))
    assert found.choices == (kind.__name__,) * 2
    assert found.weights is None


def test_lags_and_time_are_features_too() -> None:
    task = _task()
    found = Regressor(Ridge(), lags=2, time=True)(task)
    d = task.donors
    features = np.column_stack([d[2:], d[1:-1], d[:-2], np.arange(2, 18)])
    for each in range(2):
        model = Ridge().fit(features[:11], task.targets[2:, each])
        np.testing.assert_allclose(found.predicted[2:, each], model.predict(features))
    assert np.isnan(found.predicted[:2]).all()


def test_a_targets_own_covariates_are_features() -> None:
    task = _task(d=3)
    found = Regressor(LinearRegression(), covariates=True)(task)
    for each in range(2):
        features = np.column_stack([task.donors, task.covariates[:, each]])
        model = LinearRegression().fit(features[:13], task.targets[:, each])
        np.testing.assert_allclose(found.predicted[:, each], model.predict(features))


def test_periods_that_are_missing_are_left_out() -> None:
    task = _task()
    fit = np.array([0, 1, 2, 4, 5, 7, 8, 9, 12])
    gaps = Task(donors=task.donors, targets=task.targets[fit], fit=fit, start=13)
    found = Regressor(Ridge())(gaps).predicted[:, 0]
    model = Ridge().fit(task.donors[fit], task.targets[fit, 0])
    np.testing.assert_allclose(found, model.predict(task.donors))


def test_what_draws_is_seeded_and_the_regressor_stays_unfitted() -> None:
    own = RandomForestRegressor(n_estimators=4)
    first, second = Regressor(own)(_task()), Regressor(own)(_task())
    assert np.array_equal(first.predicted, second.predicted)
    assert not hasattr(own, "estimators_")
    assert own.random_state is None


def test_in_a_learner_with_lags_the_first_periods_are_not_learnt_from() -> None:
    panel = small_panel(1, N=14, T=18, T0=12, m=5, d=1)
    learner = H1SL(Ridge(), {"lags": 3}, base="linear")._fit(panel)
    treated = learner.learned_.treated
    assert not treated.fit[:, :3].any()
    assert treated.fit[:, 3:12].all()
    assert np.isfinite(treated.effect[:, 12:]).all()
    with pytest.raises(AttributeError, match="not linear"):
        _ = learner.weights_
    timed = H1SL(Ridge(), {"lags": 3}, time_weights=True)._fit(panel).learned_.treated
    assert (timed.time_weights[:, :3] == 0).all()
    assert np.isfinite(timed.effect[:, 12:]).all()


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(InputError, match="lags is 12"):
        Regressor(Ridge(), lags=12)(_task())
    with pytest.raises(InputError, match="none that vary"):
        Regressor(Ridge(), covariates=True)(_task())
    task = _task(d=1)
    task.covariates[4, 1, 0] = np.nan
    with pytest.raises(InputError, match="missing in period 4"):
        Regressor(Ridge(), covariates=True)(task)
    base = HistGradientBoostingRegressor(min_samples_leaf=2)
    assert np.isfinite(Regressor(base, covariates=True)(task).predicted).all()
    for options in ({"lags": -1}, {"covariates": 1}, {"time": None}):
        with pytest.raises(ConfigError):
            Regressor(Ridge(), **options)
