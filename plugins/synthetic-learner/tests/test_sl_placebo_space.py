"""Placebo in space, against loops over states and by hand."""

from __future__ import annotations

import itertools

import joblib
import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.exceptions import NotFittedError
from sl_data import california, matrices_of, small_panel

from zoo_core.errors import InputError, ZooWarning
from zoo_synthetic_learner.baselines.constant import SyntheticDiD
from zoo_synthetic_learner.baselines.meta_learners import DiDT, PanelTLearner
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.h2sl import H2SL
from zoo_synthetic_learner.inference.placebo_space import PlaceboSpace, Size, placebo_space
from zoo_synthetic_learner.synthesizers import Simplex


def _fitted(panel, **options):
    return H1SL(**({"synthesizer": "did"} | options)).fit(*matrices_of(panel))


def _gap(outcome, unit, donors, start):
    """The gap [T] of one unit from its donors' mean."""
    gap = outcome[unit] - outcome[donors].mean(axis=0)
    return gap - gap[:start].mean()


def _sizes(gaps, start):
    """ATT, and the RMSPE before and with treatment, of gaps [m, T]."""
    before, after = gaps[:, :start], gaps[:, start:]
    return after.mean(), np.sqrt((before**2).mean()), np.sqrt((after**2).mean())


def _numbers(size):
    return size.att, size.pre_rmspe, size.post_rmspe


def test_california_among_all_other_states():
    panel = california()
    found = placebo_space(
        H1SL(synthesizer=Simplex(intercept=False, ridge=0.0)).fit(*matrices_of(panel)), n=38
    )
    outcome, states = panel.outcome, panel.never_treated
    ratios = []
    for unit in (panel.treated[0], *states):
        donors = [state for state in states if state != unit]
        heavy = 1e4 * np.abs(outcome).max()
        left = np.vstack([outcome[donors, :19].T, np.full(len(donors), heavy)])
        weights = nnls(left, np.append(outcome[unit, :19], heavy))[0]
        gap = outcome[unit] - weights @ outcome[donors]
        ratios.append(np.sqrt((gap[19:] ** 2).mean() / (gap[:19] ** 2).mean()))
    assert found.exhaustive
    assert found.possible == len(found.placebos) == 38
    np.testing.assert_allclose(found.observed.ratio, ratios[0], rtol=1e-3)
    np.testing.assert_allclose(found.ratio, ratios[1:], rtol=1e-3)
    np.testing.assert_allclose(found.observed.att, -19.514, atol=0.01)
    np.testing.assert_allclose(found.observed.pre_rmspe, 1.656, atol=0.001)
    # Missouri and Virginia have larger ones where nothing but the outcome is matched.
    assert found.rank_ratio == 3
    assert found.p_value_ratio == 3 / 39
    larger = found.to_frame().nlargest(3, "ratio").units.tolist()
    assert [panel.units[each] for each in larger] == ["Missouri", "Virginia", "California"]


def test_one_placebo_for_each_control_by_a_loop():
    panel = small_panel(m=1)
    found = placebo_space(_fitted(panel), n=100)
    controls = panel.never_treated
    for place, unit in enumerate(controls):
        gap = _gap(panel.outcome, unit, [each for each in controls if each != unit], 10)
        assert found.units[place] == (unit,)
        np.testing.assert_allclose(_numbers(found.placebos[place]), _sizes(gap[None], 10))
        np.testing.assert_allclose(found.gaps[place], gap)
    observed = _gap(panel.outcome, 0, controls, 10)
    np.testing.assert_allclose(_numbers(found.observed), _sizes(observed[None], 10))
    larger = np.abs(found.att) >= abs(found.observed.att)
    assert found.p_value_att == (1 + larger.sum()) / 12
    assert found.p_value_ratio == (1 + (found.ratio >= found.observed.ratio).sum()) / 12


def test_several_units_are_treated_at_once_and_the_treated_take_no_part():
    panel = small_panel(N=9, m=3)
    found = placebo_space(_fitted(panel), n=20)
    outcome = panel.outcome
    assert found.exhaustive
    assert found.units == tuple(itertools.combinations(range(3, 9), 3))
    for units, size in zip(found.units, found.placebos, strict=True):
        donors = sorted(set(range(3, 9)) - set(units))
        gaps = np.array([_gap(outcome, unit, donors, 10) for unit in units])
        np.testing.assert_allclose(_numbers(size), _sizes(gaps, 10))
        np.testing.assert_allclose(size.gap, gaps.mean(axis=0))


def test_the_pattern_of_starts_stays():
    panel = small_panel(N=9, m=3, staggered=True)
    assert np.bincount(panel.first_treated)[[8, 10]].tolist() == [1, 2]
    found = placebo_space(_fitted(panel), n=1000)
    assert found.possible == len(found.placebos) == 6 * 10
    assert len(set(found.units)) == 60
    for units, size in zip(found.units, found.placebos, strict=True):
        donors = sorted(set(range(3, 9)) - set(units))
        gaps = [
            _gap(panel.outcome, unit, donors, start)
            for unit, start in zip(units, (8, 10, 10), strict=True)
        ]
        before = np.concatenate([gaps[0][:8], gaps[1][:10], gaps[2][:10]])
        after = np.concatenate([gaps[0][8:], gaps[1][10:], gaps[2][10:]])
        np.testing.assert_allclose(size.att, after.mean())
        np.testing.assert_allclose(size.pre_rmspe, np.sqrt((before**2).mean()))
        np.testing.assert_allclose(size.post_rmspe, np.sqrt((after**2).mean()))


def test_some_are_drawn_where_there_are_more():
    estimator = _fitted(small_panel(N=16, m=3))
    found = placebo_space(estimator, n=30)
    assert not found.exhaustive
    assert len(set(found.units)) == 30
    again = placebo_space(estimator, n=30, random_state=0)
    assert found.units == again.units
    assert found.units != placebo_space(estimator, n=30, random_state=1).units
    assert "30 drawn placebos" in str(found)


def test_exactly_as_many_as_there_are_is_all():
    estimator = _fitted(small_panel(m=1))
    assert placebo_space(estimator, n=11).exhaustive
    assert not placebo_space(estimator, n=10).exhaustive
    assert "all 11 possible placebos" in str(placebo_space(estimator, n=11))


def test_draws_may_repeat_when_asked_to():
    found = placebo_space(_fitted(small_panel(m=1)), n=40, distinct=False)
    assert len(found.placebos) == 40
    assert len(set(found.units)) == 11
    assert not found.exhaustive


def test_the_number_of_jobs_and_dask_do_not_matter(tmp_path):
    distributed = pytest.importorskip("distributed")
    estimator = _fitted(small_panel(N=14, m=2), synthesizer="simplex")
    one, two = (placebo_space(estimator, n=9, n_jobs=jobs) for jobs in (1, 2))
    with (
        distributed.Client(
            processes=False, n_workers=1, dashboard_address=None, local_directory=str(tmp_path)
        ),
        joblib.parallel_config(backend="dask"),
    ):
        three = placebo_space(estimator, n=9)
    for other in (two, three):
        assert one.units == other.units
        np.testing.assert_array_equal(one.att, other.att)
        np.testing.assert_array_equal(one.ratio, other.ratio)


def _by_hand(observed=(-3.0, 1.0, 4.0), limit=None, kept=(True, True, True, True)):
    placebos = [(3.0, 1.0, 2.0), (-5.0, 2.0, 9.0), (1.0, 3.0, 3.0), (2.9, 1.0, 4.0)]
    gap = np.zeros(3)
    return PlaceboSpace(
        observed=Size(att=observed[0], pre_rmspe=observed[1], post_rmspe=observed[2], gap=gap),
        placebos=tuple(
            Size(att=att, pre_rmspe=pre, post_rmspe=post, gap=gap) for att, pre, post in placebos
        ),
        units=(("a",), ("b",), ("c",), ("d",)),
        treated=("x",),
        times=np.arange(3),
        kept=np.array(kept),
        pre_rmspe_limit=limit,
        exhaustive=True,
        possible=4,
        failed=(),
    )


def test_p_values_by_hand():
    found = _by_hand()
    # |ATT| 3 is reached by 3 and -5, the ratio 4 by 9 / 2 and 4 / 1.
    assert found.p_value_att == 3 / 5
    assert found.p_value_ratio == 3 / 5
    assert found.rank_ratio == 3
    assert found.ratio.tolist() == [2.0, 4.5, 1.0, 4.0]


def test_only_placebos_that_are_kept_count():
    found = _by_hand(limit=1.5, kept=[True, False, False, True])
    assert found.p_value_att == 2 / 3
    assert found.p_value_ratio == 2 / 3
    assert found.rank_ratio == 2
    assert "2 of 4 placebos fit well enough" in str(found)
    assert "rank 2 of 3" in str(found)


def test_a_perfect_fit_has_an_infinite_ratio():
    found = _by_hand(observed=(1.0, 0.0, 2.0))
    assert found.observed.ratio == np.inf
    assert found.p_value_ratio == 1 / 5


def test_the_table_by_hand():
    table = _by_hand(limit=1.5, kept=[True, False, False, True]).to_frame()
    assert table.units.tolist() == ["x", "a", "b", "c", "d"]
    assert table.placebo.tolist() == [False, True, True, True, True]
    assert table.kept.tolist() == [True, True, False, False, True]
    assert table.att.tolist() == [-3.0, 3.0, -5.0, 1.0, 2.9]
    assert table.ratio.tolist() == [4.0, 2.0, 4.5, 1.0, 4.0]


def test_a_limit_keeps_placebos_that_fit_as_well():
    estimator = _fitted(small_panel(m=1))
    everything = placebo_space(estimator)
    found = placebo_space(estimator, pre_rmspe_limit=1.2)
    misfit = [size.pre_rmspe <= 1.2 * found.observed.pre_rmspe for size in found.placebos]
    assert found.kept.tolist() == misfit
    assert 0 < sum(misfit) < 11
    assert everything.kept.all()
    nobody = placebo_space(estimator, pre_rmspe_limit=1e-9)
    assert not nobody.kept.any()
    assert nobody.p_value_att == nobody.p_value_ratio == 1.0


def test_placebos_that_cannot_be_fitted_are_reported_and_do_not_count():
    panel = small_panel(m=1)
    outcome, starts, covariates = matrices_of(panel)
    outcome[5, :10] = np.nan
    with pytest.warns(ZooWarning, match=r"donors .* were left out: unit 5"):
        estimator = H1SL(synthesizer="did").fit(outcome, starts, covariates)
    found = placebo_space(estimator, n=20)
    assert len(found.placebos) == 10
    ((units, reason),) = found.failed
    assert units == (5,)
    assert reason
    assert (5,) not in found.units
    assert found.p_value_att == (1 + (np.abs(found.att) >= abs(found.observed.att)).sum()) / 11
    assert "1 placebos could not be fitted and do not count, such as 5: " in str(found)


def test_p_values_are_uniform_where_the_treated_unit_is_like_the_others():
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        outcome = np.cumsum(rng.standard_normal((20, 12)), axis=1)
        starts = np.zeros(20, dtype=int)
        starts[seed % 20] = 8
        placebo = placebo_space(H1SL(synthesizer="did").fit(outcome, starts), n=19)
        found.append((placebo.p_value_att, placebo.p_value_ratio))
    for p_values in np.array(found).T:
        # The mean is 0.525 with a standard deviation of 0.03, the shares' is at most 0.05.
        assert abs(p_values.mean() - 0.525) < 0.1
        for level in (0.1, 0.25, 0.5, 0.75):
            assert abs((p_values <= level + 1e-9).mean() - level) < 0.15
        assert p_values.min() >= 1 / 20


def test_a_large_effect_has_the_least_p_value():
    panel = small_panel(m=1)
    outcome, starts, covariates = matrices_of(panel)
    for effect in (-50.0, 50.0):
        changed = outcome.copy()
        changed[0, 10:] += effect
        found = placebo_space(H1SL(synthesizer="did").fit(changed, starts, covariates))
        assert found.p_value_att == found.p_value_ratio == 1 / 12


def test_none_that_can_be_fitted_is_an_error_with_the_reason():
    outcome, starts, covariates = matrices_of(small_panel(m=2))
    covariates[2:] = np.nan
    estimator = H1SL(synthesizer="did").fit(outcome, starts, covariates)
    with pytest.raises(
        InputError, match=r"none of 45 placebos could be fitted, such as 2, 3: cova"
    ):
        placebo_space(estimator)


@pytest.mark.parametrize("kind", [SyntheticDiD, DiDT, PanelTLearner, H2SL])
def test_all_learners_have_placebos(kind):
    panel = small_panel(N=20, m=6, T=24, T0=16)
    estimator = kind().fit(*matrices_of(panel))
    found = placebo_space(estimator, n=5)
    controls = panel.take(panel.never_treated)
    assert found.observed.att == estimator.att_
    for units, size in zip(found.units, found.placebos, strict=True):
        starts = np.where(np.isin(controls.units, units), 16, 24)
        learned = kind()._learn(controls.with_treatment(starts))
        assert size.att == pytest.approx(learned.att)
        if learned.treated is None:
            assert np.isnan([size.ratio, size.pre_rmspe, size.post_rmspe]).all()
        else:
            gap = learned.treated.gap
            assert size.pre_rmspe == pytest.approx(np.sqrt((gap[:, :16] ** 2).mean()))
            assert size.post_rmspe == pytest.approx(np.sqrt((gap[:, 16:] ** 2).mean()))
    has_gaps = estimator.learned_.treated is not None
    assert np.isfinite(found.p_value_ratio) == has_gaps
    assert ("RMSPE" in str(found)) == has_gaps


def test_a_limit_needs_a_learner_that_imputes():
    estimator = PanelTLearner().fit(*matrices_of(small_panel()))
    with pytest.raises(InputError, match="imputes no treated unit"):
        placebo_space(estimator, pre_rmspe_limit=2)


def test_periods_after_the_horizon_do_not_count():
    panel = small_panel(m=1)
    outcome, starts, covariates = matrices_of(panel)
    learner = H1SL(synthesizer="did", horizon=2)
    expected = placebo_space(learner.fit(outcome, starts, covariates))
    outcome[:, 12:] += np.random.default_rng(0).standard_normal((12, 4))
    found = placebo_space(learner.fit(outcome, starts, covariates))
    np.testing.assert_array_equal(found.att, expected.att)
    np.testing.assert_array_equal(found.ratio, expected.ratio)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None])
def test_other_numbers_of_placebos_are_refused(n):
    with pytest.raises(InputError, match=r"n is .*expected a whole number of at least 1"):
        placebo_space(_fitted(small_panel()), n=n)


@pytest.mark.parametrize("limit", [0, -1, True, "2", np.nan])
def test_other_limits_are_refused(limit):
    with pytest.raises(InputError, match=r"pre_rmspe_limit is .*expected a number above 0"):
        placebo_space(_fitted(small_panel()), pre_rmspe_limit=limit)


def test_too_few_controls_are_refused():
    with pytest.raises(InputError, match=r"4 of 5 controls .* expected at least 6 controls"):
        placebo_space(_fitted(small_panel(N=9, m=4)))
    assert len(placebo_space(_fitted(small_panel(N=10, m=4)), n=100).placebos) == 15


def test_a_learner_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        placebo_space(H1SL())
