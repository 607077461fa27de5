"""Base learners, propensities and balance rows, each against its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sl_data import small_panel

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner import H1SL, H2SL
from zoo_synthetic_learner.balance import balance_rows
from zoo_synthetic_learner.base_learners import (
    check_base,
    fit_learner,
    fitted,
    left_out_errors,
    make_learner,
)
from zoo_synthetic_learner.propensity import check_propensity, learn_propensity
from zoo_synthetic_learner.synthesizers import DiD, Simplex
from zoo_synthetic_learner.synthesizers import Ridge as RidgeSynthesizer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3)) * [1.0, 10.0, 0.1] + 5
Y = X @ [1.0, 0.2, 3.0] + RNG.normal(size=30)
GROUPS = np.arange(30)


def test_ridge_is_on_standardised_covariates() -> None:
    z = StandardScaler().fit_transform(X)
    found = fitted("ridge", X, Y, GROUPS).predict(X)
    np.testing.assert_allclose(found, Ridge(alpha=1.0).fit(z, Y).predict(z))
    np.testing.assert_allclose(
        fitted("linear", X, Y, GROUPS).predict(X), LinearRegression().fit(X, Y).predict(X)
    )
    np.testing.assert_allclose(fitted("constant", X, Y, GROUPS).predict(X), Y.mean())


def test_without_covariates_it_is_the_mean() -> None:
    found = fitted("ridge", X[:, :0], Y, GROUPS, sample_weight=np.arange(30.0))
    np.testing.assert_allclose(found.predict(X[:2, :0]), np.average(Y, weights=np.arange(30.0)))


def test_interactions_are_products_of_two() -> None:
    z = StandardScaler().fit_transform(X)
    products = np.column_stack([z, z[:, 0] * z[:, 1], z[:, 0] * z[:, 2], z[:, 1] * z[:, 2]])
    found = fitted("linear", X, Y, GROUPS, interactions=True).predict(X)
    np.testing.assert_allclose(found, LinearRegression().fit(products, Y).predict(products))


def test_errors_are_of_units_left_out() -> None:
    groups = np.repeat(np.arange(15), 2)
    found = left_out_errors(LinearRegression(), X, Y, groups, None)
    for unit in range(15):
        out = groups == unit
        model = LinearRegression().fit(X[~out], Y[~out])
        np.testing.assert_allclose(found[out], Y[out] - model.predict(X[out]))


def test_auto_takes_what_left_out_units_prefer() -> None:
    noise = RNG.normal(size=30)
    chosen = left_out_errors(fitted("auto", X, noise, GROUPS), X, noise, GROUPS, None)
    for other in (DummyRegressor(), LinearRegression(), make_learner("ridge", 3)):
        errors = left_out_errors(other, X, noise, GROUPS, None)
        assert (chosen**2).sum() <= (errors**2).sum() * (1 + 1e-9)
    flat = np.tile([1.0, -1.0], 15)
    flat -= X @ np.linalg.lstsq(np.c_[X, np.ones(30)], flat, rcond=None)[0][:3]
    assert isinstance(fitted("auto", X, flat, GROUPS), DummyRegressor)
    lines = fitted("auto", X, X @ [1.0, 1.0, 1.0], GROUPS)
    np.testing.assert_allclose(lines.predict(X), X @ [1.0, 1.0, 1.0], rtol=1e-6)
    products = (X[:, 0] - 5) * (X[:, 1] - 5)
    bent = fitted("auto", X, products, GROUPS)
    assert np.abs(bent.predict(X) - products).max() < 0.2 * np.ptp(products)


def test_learners_of_ones_own_are_cloned_and_seeded() -> None:
    own = RandomForestRegressor(n_estimators=3)
    made = make_learner(own, 3, random_state=7)
    assert made is not own
    assert (made.random_state, own.random_state) == (7, None)
    assert make_learner(RandomForestRegressor(random_state=1), 3, random_state=7).random_state == 1


def test_weights_reach_the_last_step_or_are_refused() -> None:
    weights = np.where(np.arange(30) < 10, 5.0, 0.1)
    found = fitted("linear", X, Y, GROUPS, sample_weight=weights)
    np.testing.assert_allclose(found.predict(X), LinearRegression().fit(X, Y, weights).predict(X))
    with pytest.raises(ConfigError, match="no sample_weight"):
        fit_learner(KNeighborsRegressor(), X, Y, weights)


@pytest.mark.parametrize("base", ["rigde", 3, None, Ridge, LogisticRegression()])
def test_what_is_no_base_learner_is_refused(base: object) -> None:
    with pytest.raises(ConfigError, match="base is"):
        check_base(base)


@pytest.mark.parametrize("propensity", ["logit", 3, None, Ridge(), LogisticRegression])
def test_what_is_no_propensity_is_refused(propensity: object) -> None:
    with pytest.raises(ConfigError, match="propensity is"):
        check_propensity(propensity)


def test_propensities_are_the_classifiers_within_their_bounds() -> None:
    treated = X[:, 0] > 5.5
    found = learn_propensity("logistic", X, treated)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0)).fit(X, treated)
    np.testing.assert_allclose(found.predict(X), np.clip(model.predict_proba(X)[:, 1], 0.05, 0.95))
    sharp = learn_propensity(DecisionTreeClassifier(), X, treated, random_state=0).predict(X)
    assert set(sharp) == {0.05, 0.95}
    np.testing.assert_array_equal(sharp > 0.5, treated)


def test_propensities_count_units_as_often_as_they_are() -> None:
    treated, counts = X[:, 0] > 5, np.where(np.arange(30) < 9, 4, 1)
    found = learn_propensity("logistic", X, treated, counts).predict(X)
    rows = np.repeat(np.arange(30), counts)
    np.testing.assert_allclose(
        found, learn_propensity("logistic", X[rows], treated[rows]).predict(X)
    )
    assert (
        learn_propensity("logistic", X[:, :0], treated, counts).predict(X[:2, :0]).tolist()
        == [counts[treated].sum() / counts.sum()] * 2
    )


def test_missing_covariates_need_learners_that_take_them() -> None:
    panel = small_panel(2, N=30, T=16, T0=10, m=12)
    s = panel.covariates.copy()
    s[[1, 20], 0] = np.nan
    given = panel.outcome, panel.first_treated % panel.num_periods, s
    with pytest.raises(InputError, match="covariate S1 is missing for unit 1"):
        H1SL("did").fit(*given)
    base = HistGradientBoostingRegressor(min_samples_leaf=2)
    assert np.isfinite(H1SL("did", base=base).fit(*given).effect()).all()
    with pytest.raises(InputError, match="units 1, 20"):
        H2SL("did", base=base).fit(*given)


def test_balance_rows_are_covariates_in_units_of_the_outcome() -> None:
    panel = small_panel(3, N=10, T=12, T0=9, m=4, d=2)
    donors, targets, periods = panel.never_treated, panel.treated, np.arange(9)
    of_donors, of_targets = balance_rows(panel, donors, targets, periods, Simplex())
    y = panel.outcome[donors, :9]
    size = np.sqrt(((y - y.mean(axis=1, keepdims=True)) ** 2).mean())
    z = (panel.covariates - panel.covariates.mean(axis=0)) / panel.covariates.std(axis=0) * size
    np.testing.assert_allclose(of_donors, z[donors].T)
    np.testing.assert_allclose(of_targets, z[targets].T)
    with pytest.raises(ConfigError, match="'did' has none"):
        balance_rows(panel, donors, targets, periods, DiD())
    missing = panel.covariates.copy()
    missing[targets[0]] = np.nan
    with pytest.raises(InputError, match="missing; balance_covariates"):
        balance_rows(
            replace(panel, covariates=missing), donors, targets, periods, RidgeSynthesizer()
        )


def test_balance_brings_covariates_nearer() -> None:
    panel = small_panel(4, N=24, T=16, T0=12, m=6, d=2, noise=1.0)
    s = panel.covariates

    def misfit(learner: H1SL) -> float:
        weights = learner._fit(panel).learned_.treated.weights
        return float(np.abs(s[panel.treated] - weights.T @ s).mean())

    assert misfit(H1SL("simplex", balance_covariates=True)) < 0.8 * misfit(H1SL("simplex"))


def test_the_two_side_learner_balances_the_second_side_and_both_on_request() -> None:
    panel = small_panel(4, N=24, T=16, T0=12, m=6, d=2, noise=1.0)
    plain, second, both = (
        H2SL("simplex", balance_covariates=given)._fit(panel).learned_
        for given in (False, True, "both")
    )
    assert np.array_equal(plain.treated.weights, second.treated.weights)
    assert not np.array_equal(plain.control.weights, second.control.weights)
    assert np.array_equal(both.control.weights, second.control.weights)
    assert not np.array_equal(both.treated.weights, second.treated.weights)
