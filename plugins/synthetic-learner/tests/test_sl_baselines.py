"""Learners of mean outcomes and estimators of one number, against scikit-learn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sl_data import small_panel

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner import (
    DiDT,
    MatrixCompletionATT,
    PanelSLearner,
    PanelTLearner,
    PanelXLearner,
    SyntheticControl,
    SyntheticDiD,
)
from zoo_synthetic_learner.panel import Panel


@pytest.fixture(scope="module")
def panel() -> Panel:
    return small_panel(7, N=18, T=16, T0=11, m=7, d=2, effect=lambda s: 1 + 2 * s[:, 0])


def _line(x: np.ndarray, y: np.ndarray) -> LinearRegression:
    return LinearRegression().fit(x, y)


def _parts(panel: Panel) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    post = panel.outcome[:, 11:].mean(axis=1)
    return panel.covariates, post, panel.treated, panel.never_treated


def test_t_learner(panel: Panel) -> None:
    s, post, one, zero = _parts(panel)
    told = _line(s[one], post[one]).predict(s) - _line(s[zero], post[zero]).predict(s)
    learner = PanelTLearner("linear")._fit(panel)
    np.testing.assert_allclose(learner.effect(), told)
    assert learner.att_ == pytest.approx(told[one].mean())


def test_s_learner(panel: Panel) -> None:
    s, post, one, _ = _parts(panel)
    switch = np.isin(np.arange(18), one).astype(float)
    model = _line(np.column_stack([s, switch]), post)
    np.testing.assert_allclose(PanelSLearner("linear")._fit(panel).effect(), model.coef_[-1])


def test_s_learner_with_interactions_tells_units_apart(panel: Panel) -> None:
    s, post, one, _ = _parts(panel)
    switch = np.isin(np.arange(18), one).astype(float)

    def features(a: np.ndarray) -> np.ndarray:
        return np.column_stack([s, a, s[:, 0] * s[:, 1], s[:, 0] * a, s[:, 1] * a])

    model = _line(features(switch), post)
    told = model.predict(features(np.ones(18))) - model.predict(features(np.zeros(18)))
    found = PanelSLearner("linear", interactions=True)._fit(panel).effect()
    np.testing.assert_allclose(found, told)
    assert np.ptp(told) > 0.1


def test_x_learner(panel: Panel) -> None:
    s, post, one, zero = _parts(panel)
    gain = post[one] - _line(s[zero], post[zero]).predict(s[one])
    loss = _line(s[one], post[one]).predict(s[zero]) - post[zero]
    # The groups come one after the other: the classifier's standardisation does not mind.
    order = np.concatenate([one, zero])
    scaler = StandardScaler().fit(s[order])
    chance = LogisticRegression(C=1.0).fit(scaler.transform(s[order]), np.arange(18) < len(one))
    e = np.clip(chance.predict_proba(scaler.transform(s))[:, 1], 0.05, 0.95)
    told = e * _line(s[zero], loss).predict(s) + (1 - e) * _line(s[one], gain).predict(s)
    np.testing.assert_allclose(PanelXLearner("linear")._fit(panel).effect(), told)


def test_did_t_regresses_changes(panel: Panel) -> None:
    s, post, one, zero = _parts(panel)
    change = post - panel.outcome[:, :11].mean(axis=1)
    told = _line(s[one], change[one]).predict(s) - _line(s[zero], change[zero]).predict(s)
    np.testing.assert_allclose(DiDT("linear")._fit(panel).effect(), told)


def test_cohorts_are_weighted_by_their_size() -> None:
    panel = small_panel(8, N=20, T=16, T0=11, m=9, d=1, staggered=True)
    s, zero = panel.covariates, panel.never_treated
    told = np.zeros(20)
    for start in (9, 11):
        one = np.flatnonzero(panel.first_treated == start)
        post = panel.outcome[:, start:].mean(axis=1)
        tau = _line(s[one], post[one]).predict(s) - _line(s[zero], post[zero]).predict(s)
        told += len(one) / 9 * tau
    np.testing.assert_allclose(PanelTLearner("linear")._fit(panel).effect(), told)


def test_counts_are_repeated_units(panel: Panel) -> None:
    counts = np.ones(18, dtype=np.int64)
    counts[[1, 9, 12]] = [4, 3, 2]
    rows = np.repeat(np.arange(18), counts)
    for kind in (PanelTLearner, PanelSLearner, PanelXLearner, DiDT):
        weighted = kind("linear")._learn(panel, counts)
        repeated = kind("linear")._learn(panel.take(rows))
        s = panel.covariates
        np.testing.assert_allclose(weighted.effect.predict(s), repeated.effect.predict(s))
        assert weighted.att == pytest.approx(repeated.att)


def test_missing_outcomes_are_left_out_of_means() -> None:
    panel = small_panel(9, N=16, T=16, T0=11, m=6, d=1, missing=0.2)
    s, one, zero = panel.covariates, panel.treated, panel.never_treated
    change = np.nanmean(panel.outcome[:, 11:], axis=1) - np.nanmean(panel.outcome[:, :11], axis=1)
    told = _line(s[one], change[one]).predict(s) - _line(s[zero], change[zero]).predict(s)
    np.testing.assert_allclose(DiDT("linear")._fit(panel).effect(), told)


@pytest.mark.parametrize("learner", [SyntheticControl(), SyntheticDiD(), MatrixCompletionATT()])
def test_one_number_is_the_mean_of_the_treated_cells(learner: object, panel: Panel) -> None:
    found = learner._fit(panel)  # type: ignore[attr-defined]
    ite = found.ite_.to_numpy()
    assert ite.shape == (7, 5)
    assert found.att_ == pytest.approx(ite.mean())
    np.testing.assert_allclose(found.effect(panel.covariates), found.att_)
    np.testing.assert_allclose(found.att_by_time_, ite.mean(axis=0))


def test_covariates_that_vary_are_refused_and_missing_ones_named(panel: Panel) -> None:
    varying = small_panel(1, time_varying=True)
    with pytest.raises(ConfigError, match="vary over time"):
        DiDT()._fit(varying)
    s = panel.covariates.copy()
    s[3, 1] = np.nan
    with pytest.raises(InputError, match="missing for unit 3"):
        DiDT().fit(panel.outcome, panel.first_treated % panel.num_periods, s)


def test_short_panels_are_refused_by_what_learns_weights() -> None:
    panel = small_panel(1, N=12, T=8, T0=5)
    with pytest.raises(InputError, match="treated from 5 on: 5 observed periods"):
        SyntheticControl()._fit(panel)
    assert np.isfinite(SyntheticControl(force=True)._fit(panel).att_)
