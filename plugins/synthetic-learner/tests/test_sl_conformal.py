"""Conformal inference, against fits and permutations one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sl_data import california, fit_frame_arguments, frame_of, matrices_of, small_panel

from zoo_core.errors import InputError, ZooWarning
from zoo_synthetic_learner.baselines.meta_learners import PanelTLearner
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.imputation import impute
from zoo_synthetic_learner.inference.conformal import conformal
from zoo_synthetic_learner.inference.nulls import separable
from zoo_synthetic_learner.synthesizers import Auto, DiD, Simplex, Task, by_name


def _panel(**options):
    return small_panel(**({"N": 8, "T": 16, "T0": 12, "m": 1, "d": 0} | options))


def _fitted(panel, synthesizer="simplex", **options):
    return H1SL(synthesizer=synthesizer, **options).fit(*matrices_of(panel))


def _slow_residuals(panel, unit, path, periods, synthesizer):
    """The residuals in these periods, all learnt from, where a path was subtracted at the end."""
    outcome = panel.outcome[unit].copy()
    outcome[periods[len(periods) - len(path) :]] -= path
    fit = np.array(periods)
    task = Task(
        donors=panel.outcome[panel.never_treated].T[: fit[-1] + 1],
        targets=outcome[fit][:, None],
        fit=fit,
        start=int(panel.first_treated[unit]),
    )
    return outcome[fit] - by_name(synthesizer, None)(task).predicted[fit, 0]


def _slow_p_value(residuals, num_treated):
    sizes = []
    for _ in residuals:
        sizes.append(np.abs(residuals[-num_treated:]).sum() / np.sqrt(num_treated))
        residuals = np.roll(residuals, -1)
    return np.mean(np.array(sizes) >= sizes[0] - 1e-9), sizes[0]


@pytest.mark.parametrize("synthesizer", ["simplex", "did", "ridge", "auto", LinearRegression()])
def test_the_test_is_that_of_a_fit_on_all_periods(synthesizer):
    panel = _panel(N=6)
    null = np.array([0.5, 1.0, 1.5, 2.0])
    found = conformal(_fitted(panel, synthesizer), 0, null=null, intervals=False)
    residuals = _slow_residuals(panel, 0, null, range(16), synthesizer)
    np.testing.assert_allclose(found.residuals, residuals, atol=1e-7)
    p_value, statistic = _slow_p_value(residuals, 4)
    assert found.p_value == p_value
    assert found.statistic == pytest.approx(statistic)
    for place, period in enumerate(range(12, 16)):
        periods = [*range(12), period]
        alone = _slow_residuals(panel, 0, null[[place]], periods, synthesizer)
        assert found.period_p_values[place] == _slow_p_value(alone, 1)[0]
    assert found.constant is None


@pytest.mark.parametrize("synthesizer", ["simplex", "auto", "mc", LinearRegression()])
def test_intervals_are_the_effects_that_are_not_rejected_one_by_one(synthesizer):
    panel = _panel(N=6, T=14)
    grid = np.linspace(-2, 4, 13)
    found = conformal(_fitted(panel, synthesizer), 0, grid=grid, alpha=0.2)

    def interval(periods, num_treated):
        kept = []
        for effect in grid:
            path = np.full(num_treated, effect)
            residuals = _slow_residuals(panel, 0, path, periods, synthesizer)
            kept.append(_slow_p_value(residuals, num_treated)[0] > 0.2)
        inside = grid[np.array(kept)]
        low = -np.inf if kept[0] else inside[0]
        return low, np.inf if kept[-1] else inside[-1]

    for place, period in enumerate((12, 13)):
        expected = interval([*range(12), period], 1)
        assert (found.low[place], found.high[place]) == expected
    assert found.constant == interval(range(14), 2)


def test_the_average_is_that_of_the_units_gaps_from_their_own_starts():
    panel = _panel(N=10, m=4, staggered=True)
    null = np.array([0.5, 1.0, 1.5, 2.0])
    found = conformal(_fitted(panel), null=null, intervals=False)
    # The first two start at 10, the others at 12: four periods with treatment, ten before.
    residuals = np.mean(
        [
            _slow_residuals(panel, unit, null, range(start + 4), "simplex")[start - 10 :]
            for unit, start in enumerate((10, 10, 12, 12))
        ],
        axis=0,
    )
    np.testing.assert_allclose(found.residuals, residuals, atol=1e-9)
    assert found.p_value == _slow_p_value(residuals, 4)[0]
    alone = np.mean(
        [
            _slow_residuals(panel, unit, null[[2]], [*range(start), start + 2], "simplex")[
                start - 10 :
            ]
            for unit, start in enumerate((10, 10, 12, 12))
        ],
        axis=0,
    )
    assert found.period_p_values[2] == _slow_p_value(alone, 1)[0]
    gaps = _fitted(panel).learned_.treated.gap
    effect = np.mean([gaps[0, 10:14], gaps[1, 10:14], gaps[2, 12:], gaps[3, 12:]], axis=0)
    np.testing.assert_allclose(found.effect, effect)
    assert found.times.tolist() == [0, 1, 2, 3]
    assert found.times.name == "event_time"


def test_an_average_in_one_cohort_has_the_labels_of_time():
    found = conformal(_fitted(_panel(N=10, m=3)), intervals=False)
    assert found.times.tolist() == [12, 13, 14, 15]
    assert len(found.residuals) == 16


def test_a_unit_is_found_by_its_label():
    panel = california()
    estimator = H1SL(synthesizer=Simplex(intercept=False, ridge=0.0)).fit_frame(
        frame_of(panel), **fit_frame_arguments(panel)
    )
    found = conformal(estimator, "California", intervals=False)
    assert found.times.tolist() == list(range(1989, 2001))
    assert found.effect[[0, 6, 11]] == pytest.approx([-8.44, -22.86, -26.60], abs=0.05)
    assert len(found.residuals) == 31
    # The twelve last residuals are among the three largest blocks of all 31.
    assert found.p_value == pytest.approx(3 / 31)
    # From the third year on no other year's residual is as large.
    assert found.period_p_values[2:] == pytest.approx([1 / 20] * 10)


def test_random_orders_are_seeded_and_near_all_orders():
    estimator = _fitted(_panel())
    options = {"permutations": "iid", "n_permutations": 4000, "intervals": False}
    one = conformal(estimator, 0, random_state=1, **options)
    again = conformal(estimator, 0, random_state=1, **options)
    assert one.p_value == again.p_value
    assert one.p_value != conformal(estimator, 0, random_state=2, **options).p_value
    # With one period the orders only say which residual comes last, each in 1 of 13.
    exact = conformal(estimator, 0, intervals=False).period_p_values
    np.testing.assert_allclose(one.period_p_values, exact, atol=0.04)


def test_the_number_of_jobs_does_not_matter():
    estimator = _fitted(_panel())
    one, two = (conformal(estimator, 0, alpha=0.2, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.low, two.low)
    np.testing.assert_array_equal(one.high, two.high)
    assert one.p_value == two.p_value


def test_a_large_exponent_sees_one_large_residual():
    panel = _panel(N=20)
    outcome, starts, _ = matrices_of(panel)
    outcome[0, 13] += 8.0
    estimator = H1SL(synthesizer="did").fit(outcome, starts)
    small, large = (conformal(estimator, 0, q=q, intervals=False) for q in (1, 8))
    assert large.p_value <= small.p_value
    largest = np.abs(large.residuals[12:]).max()
    assert large.statistic == pytest.approx(largest / 2 ** (1 / 8), rel=1e-2)


def test_tests_hold_their_level_and_find_effects():
    rejected, found, covered = 0, 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        outcome = rng.standard_normal((8, 24)) + rng.standard_normal((1, 24))
        starts = [20, *[0] * 7]
        estimator = H1SL(synthesizer="did").fit(outcome, starts)
        null = conformal(estimator, 0, alpha=0.1)
        rejected += null.p_value <= 0.1
        covered.append((null.low <= 0) & (null.high >= 0))
        outcome[0, 20:] += 3.0
        estimator = H1SL(synthesizer="did").fit(outcome, starts)
        found += conformal(estimator, 0, intervals=False).p_value <= 0.1
    # Of 60, 5 are expected (2 of 24 shifts), with a standard deviation of 2.1.
    assert rejected <= 13
    assert found >= 50
    # 19 of 21 nulls are kept in each period.
    assert 0.82 < np.mean(covered) < 0.97


def test_too_few_periods_for_the_level_leave_nothing_out_and_say_so():
    found = conformal(_fitted(_panel()), 0, alpha=0.05)
    assert np.isinf(found.low).all()
    assert np.isinf(found.high).all()
    # Sixteen shifts of all periods, thirteen with one period of treatment.
    assert found.constant == (-np.inf, np.inf)
    assert "no p-value can be below 0.0769" in str(found)
    enough = conformal(_fitted(_panel()), 0, alpha=0.08)
    assert np.isfinite(enough.low).all()
    assert not enough.notes


def test_missing_outcomes_are_left_out_of_the_residuals():
    panel = _panel()
    outcome, starts, _ = matrices_of(panel)
    outcome[0, [3, 13]] = np.nan
    found = conformal(H1SL(synthesizer="did").fit(outcome, starts), 0, alpha=0.2)
    assert len(found.residuals) == 14
    assert np.isnan(found.effect[1])
    assert np.isnan([found.low[1], found.high[1], found.period_p_values[1]]).all()
    assert np.isfinite(np.delete(found.low, 1)).all()


def test_a_fit_through_all_points_rejects_nothing_and_says_so():
    with pytest.warns(ZooWarning, match="the synthesizer interpolates"):
        estimator = _fitted(_panel(N=30), LinearRegression())
    found = conformal(estimator, 0, alpha=0.2)
    assert found.p_value == 1
    assert np.isinf(found.low).all()
    assert "fits all periods but for rounding" in str(found)


def test_a_constant_effect_that_never_fits_is_said():
    panel = _panel(N=20, T=24, T0=20)
    outcome, starts, _ = matrices_of(panel)
    outcome[0, 20:] += [100, -100, 100, -100]
    found = conformal(H1SL(synthesizer="did").fit(outcome, starts), 0, alpha=0.1)
    assert np.isnan(found.constant).all()
    assert "the effect changes with time" in str(found)


def test_the_table_says_the_same():
    found = conformal(_fitted(_panel(labelled=True)), 0, alpha=0.2, null=1.0)
    table = found.to_frame()
    np.testing.assert_array_equal(table.low, found.low)
    np.testing.assert_array_equal(table.high, found.high)
    np.testing.assert_array_equal(table.p_value, found.period_p_values)
    assert table.null.tolist() == [1.0] * 4
    assert f"effect 1: p-value {found.p_value:.4g}" in str(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha is 0; expected a number between 0 and 1"),
        ({"alpha": 1}, "alpha is 1; expected a number between 0 and 1"),
        ({"q": 0}, "q is 0; expected a finite number above 0"),
        ({"q": np.inf}, "q is inf; expected a finite number above 0"),
        ({"permutations": "block"}, "permutations is 'block'; expected one of moving-block, iid"),
        ({"permutations": "idd"}, "Did you mean iid"),
        ({"n_permutations": 0}, "n_permutations is 0; expected a whole number"),
        ({"null": [1.0, 2.0]}, r"null has shape \[2\]; expected one number, or \[4\]"),
        ({"null": np.nan}, "null has values that are missing"),
        ({"grid": [1.0]}, r"grid has shape \[1\]; expected \[G\], two"),
        ({"grid": [1.0, 0.0]}, "do not ascend"),
        ({"grid": [0.0, np.inf]}, "not finite"),
        ({"random_state": -1}, "random_state is -1"),
    ],
)
def test_other_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        conformal(_fitted(_panel()), 0, **options)


def test_unknown_units_are_refused_with_the_nearest():
    panel = _panel(labelled=True, m=2)
    outcome = pd.DataFrame(panel.outcome, index=panel.units, columns=panel.times)
    estimator = H1SL(synthesizer="did").fit(outcome, matrices_of(panel)[1])
    with pytest.raises(InputError, match=r"no unit 'u0' .* u00, u01\. Did you mean"):
        conformal(estimator, "u0")
    with pytest.raises(InputError, match=r"unit u05 is never treated; expected .* u00, u01"):
        conformal(estimator, "u05")


def test_fits_that_do_not_treat_periods_alike_are_refused():
    with pytest.raises(InputError, match="weighs the periods before treatment"):
        conformal(_fitted(_panel(), time_weights=True), 0)
    with pytest.raises(InputError, match="weighs the periods before treatment"):
        conformal(_fitted(_panel(), "sdid"), 0)
    with pytest.raises(InputError, match="the level of the last period before treatment"):
        conformal(_fitted(_panel(), DiD("last")), 0)


def test_learners_that_impute_nobody_are_refused():
    with pytest.raises(InputError, match="PanelTLearner imputes no treated unit"):
        conformal(PanelTLearner().fit(*matrices_of(_panel(N=10, m=4))))


def test_weights_that_have_to_reproduce_covariates_do_so_in_every_fit():
    panel = _panel(N=7, d=2)
    estimator = _fitted(panel, balance_covariates=True)
    grid = np.array([-1.0, 0.0, 1.0, 2.0])
    found = conformal(estimator, 0, null=1.0, grid=grid, alpha=0.2)
    assert (found.residuals != conformal(_fitted(panel), 0, null=1.0).residuals).any()
    outcome = panel.outcome.copy()
    outcome[0, 12:] -= 1.0
    imputed = impute(
        replace(panel, outcome=outcome), np.array([0]), panel.never_treated, 12, 16, Simplex(),
        fit=np.arange(16), balance=True,
    )  # fmt: skip
    np.testing.assert_allclose(found.residuals, imputed.gap[0], atol=1e-9)
    accepted = [
        conformal(estimator, 0, null=effect, intervals=False).p_value > 0.2 for effect in grid
    ]
    inside = grid[np.array(accepted)]
    assert found.constant == (
        -np.inf if accepted[0] else inside[0], np.inf if accepted[-1] else inside[-1]
    )  # fmt: skip


def test_only_targets_that_do_not_depend_on_each_other_are_fitted_together():
    for apart in ("simplex", "ridge", "did", "auto"):
        assert separable(by_name(apart))
    for together in ("mc", LinearRegression(), Auto(("simplex", "mc")), lambda task: None):
        assert not separable(by_name(together))


def test_only_periods_up_to_the_horizon_are_tested():
    panel = _panel()
    found = conformal(_fitted(panel, horizon=2), 0, intervals=False)
    np.testing.assert_allclose(
        found.residuals, _slow_residuals(panel, 0, np.zeros(2), range(14), "simplex"), atol=1e-9
    )
    assert found.times.tolist() == [12, 13]


def test_units_not_yet_treated_are_donors_where_the_learner_has_them():
    panel = _panel(N=10, m=4, staggered=True)
    found = conformal(_fitted(panel, donors="not-yet", horizon=2), 0, intervals=False)
    donors = np.flatnonzero(panel.first_treated >= 12)
    assert len(donors) == 8
    imputed = impute(panel, np.array([0]), donors, 10, 12, Simplex(), fit=np.arange(12))
    np.testing.assert_allclose(found.residuals, imputed.gap[0, :12], atol=1e-9)


def test_a_learner_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        conformal(H1SL())
