"""The adapter answers as econml's estimators do, and econml's own tools and shap take it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sl_data import matrices_of, small_panel

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.cate import EffectInference, PanelCATE
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.h2sl import H2SL

NEW = np.random.default_rng(5).normal(size=(5, 2))
SIGN = np.array([0, 1, 0, 1, 1])
PANEL = small_panel(N=24, m=8, T=14, T0=10, labelled=True, effect=lambda s: 1 + s[:, 0])
Y, D, S = matrices_of(PANEL)


def learner(**params: Any) -> H1SL:
    return H1SL(**{"synthesizer": "did", "base": LinearRegression()} | params)


@pytest.fixture(scope="module")
def cate() -> PanelCATE:
    return PanelCATE(learner()).fit(Y, D, X=S, inference=8)


@pytest.fixture(scope="module")
def by_time() -> PanelCATE:
    return PanelCATE(learner(pool="time")).fit(Y, D, X=S, inference=8)


def test_the_effect_is_the_learners(cate: PanelCATE) -> None:
    own = learner().fit(Y, D, S)
    assert np.array_equal(cate.effect(NEW), own.effect(NEW))
    assert np.array_equal(cate.effect(), own.effect())
    assert np.array_equal(cate.effect(NEW, T0=0, T1=1), own.effect(NEW))
    assert cate.score(NEW, np.ones(5)) == own.score(NEW, np.ones(5))


def test_the_effect_is_that_of_the_change_of_treatment(cate: PanelCATE) -> None:
    tau = cate.effect(NEW)
    assert np.array_equal(cate.effect(NEW, T0=1, T1=0), -tau)
    assert np.array_equal(cate.effect(NEW, T0=1, T1=1), np.zeros(5))
    assert np.array_equal(cate.effect(NEW, T0=SIGN, T1=1 - SIGN), tau * (1 - 2 * SIGN))
    assert cate.ate(NEW, T0=1, T1=0) == -tau.mean()
    for wrong in (2, 0.5, "treated", [0, 1], None, np.nan):
        with pytest.raises(InputError, match=r"T1 is .*; expected 0 or 1, or one of them"):
            cate.effect(NEW, T1=wrong)


def test_shapes_are_those_of_econml(cate: PanelCATE, by_time: PanelCATE) -> None:
    tau, taus = cate.effect(NEW), by_time.effect(NEW)
    assert (tau.shape, taus.shape) == ((5,), (5, 4))
    assert np.array_equal(cate.const_marginal_effect(NEW), tau[:, None])
    assert np.array_equal(by_time.const_marginal_effect(NEW), taus[..., None])
    assert np.array_equal(cate.marginal_effect(SIGN, NEW), tau[:, None])
    assert cate.ate(NEW) == tau.mean()
    assert np.array_equal(by_time.ate(NEW), taus.mean(axis=0))
    assert np.array_equal(by_time.effect(NEW, T0=SIGN, T1=0), -taus * SIGN[:, None])
    with pytest.raises(InputError, match="T1 is 3; expected 0 or 1"):
        cate.marginal_effect(3, NEW)


def test_intervals_are_those_of_the_unit_bootstrap(cate: PanelCATE, by_time: PanelCATE) -> None:
    own = learner().fit(Y, D, S)
    draws = own.bootstrap(NEW, n_boot=8).effects
    low, high = cate.effect_interval(NEW, alpha=0.2)
    assert np.array_equal(low, np.quantile(draws, 0.1, axis=0))
    assert np.array_equal(high, np.quantile(draws, 0.9, axis=0))
    back = cate.effect_interval(NEW, T0=1, T1=0, alpha=0.2)
    assert np.allclose(back, (-high, -low), rtol=1e-12)
    each = cate.effect_interval(NEW, T0=SIGN, T1=1 - SIGN, alpha=0.2)
    assert np.allclose(each, np.where(SIGN, (-high, -low), (low, high)), rtol=1e-12)
    ends = cate.ate_interval(NEW, alpha=0.2)
    assert ends == tuple(np.quantile(draws.mean(axis=1), [0.1, 0.9]))
    several = by_time.ate_interval(NEW)
    assert [end.shape for end in several] == [(4,), (4,)]
    assert (several[0] <= several[1]).all()


def test_inference_tells_errors_and_p_values(cate: PanelCATE, by_time: PanelCATE) -> None:
    found = cate.effect_inference(NEW)
    table = found.summary_frame(alpha=0.2)
    assert list(table) == ["point_estimate", "stderr", "zstat", "pvalue", "ci_lower", "ci_upper"]
    assert np.array_equal(table["point_estimate"], cate.effect(NEW))
    assert np.array_equal(table["stderr"], found.draws.std(axis=0, ddof=1))
    assert np.array_equal(table["zstat"], table["point_estimate"] / table["stderr"])
    assert np.array_equal(table["ci_lower"], cate.effect_interval(NEW, alpha=0.2)[0])
    frame = by_time.effect_inference(NEW[:2]).summary_frame()
    assert frame.index.names == ["X", "Y"]
    assert list(frame.loc[1].index) == by_time.cate_output_names()
    assert np.array_equal(frame.loc[1]["point_estimate"], by_time.effect(NEW)[1])


def test_p_values_count_draws_on_either_side() -> None:
    draws = np.array([[1.0, -1, 0, 1], [2, -1, 1, np.nan], [3, 1, -1, 1], [4, -2, 2, 1]])
    found = EffectInference(point_estimate=draws[0], draws=draws, output_names=("y",))
    assert found.pvalue().tolist() == [2 / 5, 4 / 5, 1.0, 2 / 4]
    assert found.pvalue(4.0).tolist()[:2] == [4 / 5, 2 / 5]
    assert found.pvalue(2.5).tolist() == [1.0, 2 / 5, 2 / 5, 2 / 4]


def test_names_are_the_panels_or_the_users(by_time: PanelCATE) -> None:
    import pandas as pd

    table = pd.DataFrame(S, columns=["wage", "hours"])
    named = PanelCATE(learner()).fit(Y, D, X=table)
    assert named.cate_feature_names() == ["wage", "hours"]
    assert named.cate_feature_names(["a", "b"]) == ["a", "b"]
    assert named.cate_treatment_names() == ["T0_1"]
    assert named.cate_output_names() == ["outcome"]
    assert by_time.cate_output_names() == [f"outcome at {time}" for time in range(4)]
    assert by_time.cate_output_names(["q"]) == ["q"]


def test_the_learner_given_stays_as_it_is_and_parameters_win() -> None:
    own = learner()
    made = PanelCATE(own, pool="time")
    made.fit(Y, D, S)
    assert (own.pool, made.learner_.pool) == ("mean", "time")
    assert not hasattr(own, "learned_")
    assert not hasattr(made.learner, "learned_")
    assert type(PanelCATE(synthesizer="did").learner) is H2SL
    assert PanelCATE(synthesizer="did").learner.synthesizer == "did"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda: PanelCATE(H1SL), "expected a panel learner such as"),
        (lambda: PanelCATE(LinearRegression()), "expected a panel learner such as"),
        (lambda: PanelCATE(pol="mean"), "H2SL has no parameter 'pol'; it has .*pool"),
        (lambda: PanelCATE(learner()).fit(Y, D, inference="bayes"), "inference is 'bayes'"),
        (lambda: PanelCATE(learner()).fit(Y, D, inference=1), "inference is 1"),
        (lambda: PanelCATE(learner()).fit(Y, D, inference=True), "inference is True"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arguments()


def test_without_fit_there_is_no_effect() -> None:
    with pytest.raises(NotFittedError, match=r"call fit\(Y, T, X=\.\.\.\) first"):
        PanelCATE(learner()).effect(NEW)


def test_a_fit_that_fails_leaves_the_earlier_one(cate: PanelCATE) -> None:
    before = cate.effect(NEW)
    with pytest.raises(InputError):
        cate.fit(Y[:, :1], D)
    assert np.array_equal(cate.effect(NEW), before)


def test_econmls_settings_of_the_bootstrap_are_taken() -> None:
    settings = SimpleNamespace(n_bootstrap_samples=6)
    made = PanelCATE(learner()).fit(Y, D, S, inference=settings)
    assert made.effect_inference(NEW).draws.shape == (6, 5)


# Other people's tools


def test_shap_gives_the_slopes_of_a_linear_effect(cate: PanelCATE, by_time: PanelCATE) -> None:
    pytest.importorskip("shap")
    tau = cate.effect(np.vstack([np.zeros(2), np.eye(2)]))
    explained = cate.shap_values(NEW, background_samples=None)["outcome"]["T0_1"]
    expected = (NEW - S.mean(axis=0)) * (tau[1:] - tau[0])
    assert np.allclose(explained.values, expected, atol=1e-8)
    assert np.allclose(explained.base_values + explained.values.sum(axis=1), cate.effect(NEW))
    assert list(explained.feature_names) == cate.cate_feature_names()
    several = by_time.shap_values(NEW, background_samples=None, treatment_names=["law"])
    last = several["outcome at 3"]["law"]
    assert np.allclose(last.base_values + last.values.sum(axis=1), by_time.effect(NEW)[:, 3])


def test_shap_that_is_not_installed_is_named(
    cate: PanelCATE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(ConfigError, match=r"need shap, which is not installed: pip install shap\."):
        cate.shap_values(NEW)


def outcomes() -> tuple[np.ndarray, np.ndarray]:
    """A row a unit: how the mean outcome changed, and whether the unit was treated."""
    return Y[:, 10:].mean(axis=1) - Y[:, :10].mean(axis=1), (D > 0).astype(int)


def test_econml_scores_it(cate: PanelCATE) -> None:
    scoring = pytest.importorskip("econml.score")
    from sklearn.linear_model import LogisticRegression

    change, group = outcomes()
    scorer = scoring.RScorer(
        model_y=LinearRegression(),
        model_t=LogisticRegression(),
        discrete_treatment=True,
        cv=2,
        random_state=0,
    ).fit(change, group, X=S)
    nothing = SimpleNamespace(const_marginal_effect=lambda X: np.full((len(X), 1), 50.0))
    assert scorer.score(cate) > scorer.score(nothing)
    best, score = scorer.best_model([nothing, cate])[:2]
    assert best is cate
    assert score == scorer.score(cate)


def test_econml_validates_it(cate: PanelCATE) -> None:
    validate = pytest.importorskip("econml.validate")
    from sklearn.linear_model import LogisticRegression

    change, group = outcomes()
    tester = validate.DRTester(
        model_regression=LinearRegression(), model_propensity=LogisticRegression(), cate=cate, cv=2
    ).fit_nuisance(S, group, change)
    tester.get_cate_preds(S)
    assert np.array_equal(tester.cate_preds_val_[:, 0], cate.effect(S))


def test_econml_interprets_it(cate: PanelCATE) -> None:
    interpreters = pytest.importorskip("econml.cate_interpreter")
    tree = interpreters.SingleTreeCateInterpreter(max_depth=1).interpret(cate, S)
    assert tree.tree_model_.tree_.value[0].ravel()[0] == pytest.approx(cate.ate(S))
