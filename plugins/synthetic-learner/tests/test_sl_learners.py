"""H1SL and H2SL against the method written out unit by unit, and combination far from a half."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sl_data import small_panel

from zoo_core.errors import ConfigError, InputError, ZooWarning
from zoo_synthetic_learner import H1SL, H2SL, simulated_panel
from zoo_synthetic_learner.combining import RULES, CombinedEffect, ConstantWeight, Sides
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.panel import Panel

RIDGE = 0.05


def _fit(learner: Any, panel: Panel) -> Any:
    return learner._fit(panel)


def _simplex(donors: np.ndarray, target: np.ndarray, start: int) -> np.ndarray:
    """The counterfactual [T] of one unit: weights on the simplex and an intercept, by SLSQP."""
    pre, post = donors[:start], target[:start]
    count = donors.shape[1]

    def objective(values: np.ndarray) -> float:
        rest = post - values[0] - pre @ values[1:]
        return float((rest**2).mean() + RIDGE * (values[1:] ** 2).sum())

    found = minimize(
        objective,
        np.concatenate([[0.0], np.full(count, 1 / count)]),
        bounds=[(None, None)] + [(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda values: values[1:].sum() - 1},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-15},
    ).x
    return found[0] + donors @ found[1:]


def _pseudo_effects(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """The mean pseudo-effects of treated units and of control units, of a block design."""
    start = int(panel.first_treated.min())
    treated, never, y = panel.treated, panel.never_treated, panel.outcome
    one = [(y[i] - _simplex(y[never].T, y[i], start))[start:].mean() for i in treated]
    zero = [(_simplex(y[treated].T, y[j], start) - y[j])[start:].mean() for j in never]
    return np.array(one), np.array(zero)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return small_panel(3, N=16, T=18, T0=12, m=6, d=2, effect=lambda s: 2 + s[:, 0] - s[:, 1])


def test_h1sl_is_the_method_written_out(panel: Panel) -> None:
    one, _ = _pseudo_effects(panel)
    learner = _fit(H1SL("simplex", {"ridge": RIDGE}, base="linear"), panel)
    s = panel.covariates
    told = LinearRegression().fit(s[panel.treated], one).predict(s)
    np.testing.assert_allclose(learner.effect(), told, atol=1e-4)
    assert learner.att_ == pytest.approx(one.mean(), abs=1e-4)
    by_unit = learner.ite_.mean(axis=1).to_numpy()
    np.testing.assert_allclose(by_unit, one, atol=1e-4)


def test_h2sl_is_the_method_written_out(panel: Panel) -> None:
    one, zero = _pseudo_effects(panel)
    learner = _fit(H2SL("simplex", {"ridge": RIDGE}, base="linear"), panel)
    s, is_treated = panel.covariates, panel.first_treated < panel.num_periods
    tau_1 = LinearRegression().fit(s[panel.treated], one).predict(s)
    tau_0 = LinearRegression().fit(s[panel.never_treated], zero).predict(s)
    scaled = StandardScaler().fit_transform(s)
    chance = LogisticRegression(C=1.0).fit(scaled, is_treated).predict_proba(scaled)[:, 1]
    chance = np.clip(chance, 0.05, 0.95)
    assert np.abs(chance - 0.5).max() > 0.2
    told = chance * tau_0 + (1 - chance) * tau_1
    np.testing.assert_allclose(learner.effect(), told, atol=2e-4)
    assert np.abs(told - (1 - chance) * tau_0 - chance * tau_1).max() > 0.05
    halved = _fit(H2SL("simplex", {"ridge": RIDGE}, base="linear", combine="half"), panel)
    np.testing.assert_allclose(halved.effect(), (tau_0 + tau_1) / 2, atol=2e-4)
    both = learner.ite_.mean(axis=1)
    np.testing.assert_allclose(both[panel.units[panel.never_treated]], zero, atol=1e-4)


def test_effects_are_found_where_there_is_no_noise() -> None:
    panel = small_panel(1, N=20, T=30, T0=24, m=8, d=2, effect=lambda s: 3 + s[:, 0], noise=0.0)
    with pytest.warns(ZooWarning, match="least norm|interpolates|rank"):
        found = _fit(H1SL("ols", base="linear"), panel)
    np.testing.assert_allclose(found.effect(), 3 + panel.covariates[:, 0], atol=1e-6)


@dataclass(frozen=True)
class _Line:
    value: float

    def predict(self, covariates: np.ndarray) -> np.ndarray:
        return np.full(len(covariates), self.value)


def test_the_weight_is_of_the_effect_learnt_on_controls() -> None:
    effect = CombinedEffect(_Line(1.0), _Line(5.0), ConstantWeight(0.9))
    np.testing.assert_allclose(effect.predict(np.zeros((3, 1))), 0.9 * 5 + 0.1 * 1)


def test_rules() -> None:
    sides = Sides(
        propensity=None,  # type: ignore[arg-type]
        variances=lambda: (1.0, 4.0),
        placebo=lambda: (_Line(1.0), _Line(-3.0)),
        covariates=np.zeros((4, 1)),
    )
    x = np.zeros((2, 1))
    # Control effects have four times the variance: a fifth of the weight.
    np.testing.assert_allclose(RULES["precision"](sides).predict(x), 0.2)
    # (1 - g) 1 + g (-3) is nothing at g = 1/4.
    np.testing.assert_allclose(RULES["learned"](sides).predict(x), 0.25)
    np.testing.assert_allclose(RULES["half"](sides).predict(x), 0.5)
    one_sided = Sides(None, lambda: (1.0, 1.0), lambda: (_Line(1.0), _Line(3.0)), sides.covariates)  # type: ignore[arg-type]
    np.testing.assert_allclose(RULES["learned"](one_sided).predict(x), 0.0)


def test_a_rule_of_ones_own_combines(panel: Panel) -> None:
    given = _fit(H2SL("did", base="linear", combine=lambda sides: ConstantWeight(1.0)), panel)
    np.testing.assert_allclose(
        given.effect(), given.learned_.effect.control.predict(panel.covariates)
    )
    with pytest.raises(InputError, match="within"):
        _fit(H2SL("did", combine=lambda sides: ConstantWeight(1.5)), panel)
    with pytest.raises(ConfigError, match="propensity"):
        _fit_checked(H2SL("did", combine="propensty"), panel)


def _fit_checked(learner: Any, panel: Panel) -> Any:
    return learner.fit(panel.outcome, panel.first_treated % panel.num_periods, panel.covariates)


def test_few_treated_units_make_it_h1sl() -> None:
    panel = small_panel(2, N=14, T=16, T0=10, m=4)
    with pytest.warns(ZooWarning, match="H1SL"):
        two = _fit(H2SL("simplex"), panel)
    one = _fit(H1SL("simplex"), panel)
    assert two.learned_.control is None
    np.testing.assert_array_equal(two.effect(), one.effect())
    five = _fit(H2SL("simplex"), small_panel(2, N=14, T=16, T0=10, m=5))
    assert five.learned_.control is not None


def test_cross_fitting_leaves_each_unit_out(panel: Panel) -> None:
    learner = _fit(H1SL("did", base="linear", cross_fit=6), panel)
    effects = learner.ite_.mean(axis=1).to_numpy()
    s = panel.covariates[panel.treated]
    for place, row in enumerate(panel.treated):
        rest = np.arange(len(s)) != place
        model = LinearRegression().fit(s[rest], effects[rest])
        assert learner.effect()[row] == pytest.approx(model.predict(s[[place]])[0])
    whole = LinearRegression().fit(s, effects).predict(panel.covariates)
    never = panel.never_treated
    np.testing.assert_allclose(learner.effect()[never], whole[never])
    np.testing.assert_allclose(learner.effect(panel.covariates), whole)


def test_time_weights_take_a_weighted_misfit_from_the_effects(panel: Panel) -> None:
    plain = _fit(H1SL("simplex"), panel).learned_.treated
    timed = _fit(H1SL("simplex", time_weights=True), panel).learned_.treated
    weights = timed.time_weights[:, :12]
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (timed.time_weights[:, 12:] == 0).all()
    shift = (weights * plain.gap[:, :12]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(timed.effect[:, 12:], plain.gap[:, 12:] - shift)
    assert np.isnan(timed.effect[:, :12]).all()


def test_pools(panel: Panel) -> None:
    ite = _fit(H1SL("did", base="linear"), panel).ite_.to_numpy()
    s = panel.covariates[panel.treated]
    timed = _fit(H1SL("did", base="linear", pool="time"), panel)
    told = timed.effect(s)
    assert told.shape == (6, 6)
    for event in range(6):
        expected = LinearRegression().fit(s, ite[:, event]).predict(s)
        np.testing.assert_allclose(told[:, event], expected)
    np.testing.assert_allclose(timed.att_by_time_, ite.mean(axis=0))
    cells = _fit(H1SL("did", base="linear", pool="cells"), panel).effect(s)
    np.testing.assert_allclose(cells, LinearRegression().fit(s, ite.mean(axis=1)).predict(s))


def test_covariates_that_vary_need_cells() -> None:
    panel = small_panel(4, N=12, T=16, T0=10, m=5, time_varying=True)
    with pytest.raises(ConfigError, match="cells"):
        _fit(H1SL("did"), panel)
    found = _fit(H1SL("did", base="linear", pool="cells"), panel)
    treated = panel.treated
    effect = found.learned_.treated.effect[:, 10:]
    model = LinearRegression().fit(panel.covariates[treated, 10:].reshape(-1, 2), effect.ravel())
    query = np.array([[0.3, -1.0], [2.0, 0.0]])
    np.testing.assert_allclose(found.effect(query), model.predict(query))


def test_weights_by_fit_are_inverse_squared_gaps_within_ten_of_the_median(panel: Panel) -> None:
    learner = _fit(H1SL("did", base="linear", weights="fit"), panel)
    treated: Imputation = learner.learned_.treated
    inverse = 1 / (treated.gap[:, :12] ** 2).mean(axis=1)
    weights = np.clip(inverse / np.median(inverse), 0.1, 10)
    s = panel.covariates[panel.treated]
    model = LinearRegression().fit(s, treated.effect[:, 12:].mean(axis=1), weights)
    np.testing.assert_allclose(learner.effect(s), model.predict(s))


def test_counts_are_repeated_units(panel: Panel) -> None:
    counts = np.ones(16, dtype=np.int64)
    counts[[0, 3, 9]] = [3, 2, 4]
    for kind in (H1SL, H2SL):
        learner = kind("did", base="linear")
        learned = learner._learn(panel, counts)
        treated = learned.treated
        means = treated.effect[:, 12:].mean(axis=1)
        repeat = counts[panel.treated]
        assert learned.att == pytest.approx(np.average(means, weights=repeat))
        s = panel.covariates[panel.treated]
        model = LinearRegression().fit(np.repeat(s, repeat, axis=0), np.repeat(means, repeat))
        one = learned.effect if kind is H1SL else learned.effect.treated
        np.testing.assert_allclose(one.predict(s), model.predict(s))


def test_staggered_units_are_compared_with_those_untreated_through_their_horizon() -> None:
    panel = small_panel(5, N=14, T=20, T0=12, m=6, staggered=True)
    early = np.flatnonzero(panel.first_treated == 10)
    late = np.flatnonzero(panel.first_treated == 12)
    never = panel.never_treated
    found = _fit(H1SL("did"), panel).learned_.treated
    assert found.start.tolist() == [10] * 3 + [12] * 3
    assert set(np.flatnonzero(found.weights[:, 0])) == set(never)
    near = _fit(H1SL("did", donors="not-yet", horizon=2), panel).learned_.treated
    assert set(np.flatnonzero(near.weights[:, 0])) == {*never, *late}
    assert set(np.flatnonzero(near.weights[:, 3])) == set(never)
    assert near.stop.tolist() == [12] * 3 + [14] * 3
    y, donors = panel.outcome, np.concatenate([never, late])
    gap = y[early[0]] - y[donors].mean(axis=0)
    expected = gap[10:12] - gap[:10].mean()
    np.testing.assert_allclose(near.effect[0, 10:12], expected)
    assert np.isnan(near.effect[0, 12:]).all()


def test_error_falls_with_periods_before_treatment() -> None:
    errors = []
    for periods in (15, 120):
        found = []
        for seed in range(6):
            data = simulated_panel(1000 + seed, T0=periods)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ZooWarning)
                learner = H2SL("ridge", base="linear").fit(data.Y, data.D, data.S)
            found.append(-learner.score(data.S, data.tau))
        errors.append(np.mean(found))
    assert errors[1] < 0.7 * errors[0]
