"""Placebo in time: by hand, without a look at what came later, in staggered designs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sl_data import california, matrices_of, small_panel

from zoo_core.errors import InputError
from zoo_synthetic_learner.baselines.meta_learners import PanelTLearner
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.inference.placebo_time import placebo_time


def _fitted(panel, **options):
    return H1SL(**({"synthesizer": "did"} | options)).fit(*matrices_of(panel))


def _did_gaps(outcome, unit, donors, origin, start):
    """The gaps of one unit from its donors' mean, from the level of the periods before origin."""
    gap = outcome[unit, :start] - outcome[donors, :start].mean(axis=0)
    return gap - gap[:origin].mean()


def test_pseudo_effects_by_hand():
    # The treated unit is 1 above the controls, then 4 and 2 above in the two periods held out.
    outcome = np.tile([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], (3, 1))
    outcome[0] += [1, 1, 1, 1, 4, 2, 99]
    found = placebo_time(H1SL(synthesizer="did").fit(outcome, [6, 0, 0]), h=2)
    np.testing.assert_allclose(found.effects, [[np.nan] * 4 + [3, 1] + [np.nan]], atol=1e-12)
    assert found.mean == pytest.approx(2)
    assert found.rmse == pytest.approx(np.sqrt(5))
    assert found.fit_rmse == pytest.approx([0], abs=1e-12)
    assert found.start.tolist() == [6]
    assert found.horizon.tolist() == [2]
    assert "mean 2, RMSE 2.236" in str(found)


def test_every_unit_has_its_numbers():
    panel = small_panel(labelled=True)
    found = placebo_time(_fitted_frame(panel), h=3)
    gaps = np.array(
        [_did_gaps(panel.outcome, unit, panel.never_treated, 7, 10) for unit in range(4)]
    )
    np.testing.assert_allclose(found.effects[:, 7:10], gaps[:, 7:])
    assert np.isnan(found.effects[:, :7]).all()
    assert np.isnan(found.effects[:, 10:]).all()
    np.testing.assert_allclose(found.unit_mean, gaps[:, 7:].mean(axis=1))
    np.testing.assert_allclose(found.unit_rmse, np.sqrt((gaps[:, 7:] ** 2).mean(axis=1)))
    np.testing.assert_allclose(found.fit_rmse, np.sqrt((gaps[:, :7] ** 2).mean(axis=1)))
    np.testing.assert_allclose(found.rmse, np.sqrt((gaps[:, 7:] ** 2).mean()))
    table = found.to_frame()
    assert table.index.tolist() == ["u00", "u01", "u02", "u03"]
    assert table.treated_from.tolist() == [2010] * 4
    np.testing.assert_allclose(table["mean"], found.unit_mean)
    np.testing.assert_allclose(table.rmse, found.unit_rmse)


def _fitted_frame(panel):
    outcome = pd.DataFrame(panel.outcome, index=panel.units, columns=panel.times)
    starts = np.where(panel.first_treated < panel.num_periods, panel.first_treated, 0)
    return H1SL(synthesizer="did").fit(outcome, starts)


@pytest.mark.parametrize("options", [{}, {"staggered": True}, {"time_varying": True}])
@pytest.mark.parametrize("donors", ["never", "not-yet"])
def test_nothing_from_the_real_start_on_is_used(options, donors):
    panel = small_panel(T=24, T0=16, **options)
    outcome, starts, covariates = matrices_of(panel)
    learner = H1SL(synthesizer="simplex", donors=donors, pool="cells")
    expected = placebo_time(learner.fit(outcome, starts, covariates), h=3)
    treated = np.arange(panel.num_periods) >= panel.first_treated[:, None]
    last = panel.first_treated[panel.treated].max()
    outcome[treated] = 1e3
    outcome[:, last:] = -1e3
    if covariates.ndim == 3:
        covariates[:, last:] = 7.0
    found = placebo_time(learner.fit(outcome, starts, covariates), h=3)
    np.testing.assert_array_equal(found.effects, expected.effects)
    np.testing.assert_array_equal(found.fit_rmse, expected.fit_rmse)


def test_cohorts_are_each_moved_from_their_own_start():
    panel = small_panel(T=24, T0=16, staggered=True)
    found = placebo_time(_fitted(panel), h=4)
    for place, (unit, start) in enumerate([(0, 14), (1, 14), (2, 16), (3, 16)]):
        gaps = _did_gaps(panel.outcome, unit, panel.never_treated, start - 4, start)
        np.testing.assert_allclose(found.effects[place, start - 4 : start], gaps[start - 4 :])
        assert np.isfinite(found.effects[place]).sum() == 4
    assert found.start.tolist() == [14, 14, 16, 16]


def test_units_not_yet_treated_are_donors_where_the_learner_has_them():
    panel = small_panel(T=24, T0=16, staggered=True)
    found = placebo_time(_fitted(panel, donors="not-yet"), h=4)
    donors = np.flatnonzero(panel.first_treated > 14)
    assert len(donors) == len(panel.never_treated) + 2
    early = _did_gaps(panel.outcome, 0, donors, 10, 14)
    late = _did_gaps(panel.outcome, 2, panel.never_treated, 12, 16)
    np.testing.assert_allclose(found.effects[0, 10:14], early[10:])
    np.testing.assert_allclose(found.effects[2, 12:16], late[12:])


@pytest.mark.parametrize(
    ("start", "horizon"), [(3, 1), (4, 2), (5, 3), (17, 3), (23, 3), (24, 4), (40, 6)]
)
def test_the_horizon_is_that_of_rolling_origin_validation(start, horizon):
    panel = small_panel(T=start + 2, T0=start)
    assert set(placebo_time(_fitted(panel)).horizon) == {horizon}


def test_cohorts_that_are_too_short_are_left_out_and_named():
    panel = small_panel(N=12, T=12, T0=8)
    starts = panel.first_treated.copy()
    starts[0] = 3
    found = placebo_time(_fitted(panel.with_treatment(starts)), h=4)
    assert found.units.tolist() == [1, 2, 3]
    ((units, reason),) = found.skipped
    assert units == (0,)
    assert "3 periods before treatment" in reason
    assert "left out 0: there are 3 periods" in str(found)


def test_missing_outcomes_do_not_count():
    panel = small_panel()
    outcome, starts, covariates = matrices_of(panel)
    outcome[0, 8] = np.nan
    found = placebo_time(H1SL(synthesizer="did").fit(outcome, starts, covariates), h=3)
    assert np.isnan(found.effects[0, 8])
    assert np.isfinite(found.effects[:, 7:10]).sum() == 11
    np.testing.assert_allclose(found.unit_mean[0], found.effects[0, [7, 9]].mean())
    np.testing.assert_allclose(found.mean, np.nanmean(found.effects))


def test_the_number_of_jobs_does_not_matter():
    estimator = _fitted(small_panel(T=24, T0=16, staggered=True), synthesizer="simplex")
    one, two = (placebo_time(estimator, n_jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.effects, two.effects)


def test_california_forecasts_within_a_tenth_of_its_sales():
    panel = california()
    found = placebo_time(_fitted(panel, synthesizer="simplex"))
    assert found.horizon.tolist() == [3]
    assert 0 < found.rmse < 0.1 * panel.outcome[panel.treated, 16:19].mean()


@pytest.mark.parametrize("h", [9, 10, 50])
def test_too_large_a_horizon_is_refused_with_the_range(h):
    message = f"h is {h}, but there are 10 periods before treatment; expected 1 to 8"
    with pytest.raises(InputError, match=message):
        placebo_time(_fitted(small_panel()), h=h)
    assert placebo_time(_fitted(small_panel()), h=8).horizon[0] == 8


def test_a_range_of_many_starts_is_that_of_the_last():
    with pytest.raises(InputError, match=r"10 periods before treatment of the last .* 1 to 8"):
        placebo_time(_fitted(small_panel(staggered=True)), h=9)


@pytest.mark.parametrize("h", [0, -1, 2.0, True, "3"])
def test_other_horizons_are_refused(h):
    with pytest.raises(InputError, match=r"h is .*expected a whole number of at least 1"):
        placebo_time(_fitted(small_panel()), h=h)


def test_two_periods_before_treatment_are_too_few():
    with pytest.raises(InputError, match="at most 2 periods before treatment"):
        placebo_time(_fitted(small_panel(T0=2)))


def test_what_the_learner_refuses_is_said():
    # Eight periods are left of eleven, and seven with one more held out.
    estimator = _fitted(small_panel(T0=11), synthesizer="simplex")
    assert placebo_time(estimator, h=3).horizon[0] == 3
    with pytest.raises(InputError, match="with 4 of 11 periods held out"):
        placebo_time(estimator, h=4)


def test_learners_that_impute_nobody_are_refused():
    with pytest.raises(InputError, match="PanelTLearner imputes no treated unit"):
        placebo_time(PanelTLearner().fit(*matrices_of(small_panel())))


def test_a_horizon_of_the_learner_cuts_no_held_out_period():
    panel = small_panel()
    found = placebo_time(_fitted(panel, horizon=1), h=3)
    np.testing.assert_array_equal(found.effects, placebo_time(_fitted(panel), h=3).effects)
    assert np.isfinite(found.effects).sum() == 12


def test_folds_of_the_learner_are_not_needed_in_every_cohort():
    panel = small_panel(T=24, T0=16, staggered=True)
    found = placebo_time(_fitted(panel, cross_fit=3), h=4)
    assert not found.skipped
    np.testing.assert_array_equal(found.effects, placebo_time(_fitted(panel), h=4).effects)


def test_weights_for_periods_are_taken_from_the_pseudo_effects():
    panel = small_panel(T=24, T0=16)
    found = placebo_time(_fitted(panel, synthesizer="simplex", time_weights=True), h=4)
    outcome, _, covariates = matrices_of(panel)
    before = H1SL(synthesizer="simplex", time_weights=True).fit(
        outcome[:, :16], np.repeat([12, 0], [4, 8]), covariates
    )
    np.testing.assert_allclose(found.effects[:, 12:16], before.ite_)


def test_a_learner_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        placebo_time(H1SL())
