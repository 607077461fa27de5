"""The unit bootstrap, against loops over what is drawn."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sl_data import matrices_of, small_panel

from zoo_core.errors import InputError, ZooWarning
from zoo_synthetic_learner.baselines.constant import SyntheticControl, SyntheticDiD
from zoo_synthetic_learner.baselines.meta_learners import DiDT, PanelXLearner
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.h2sl import H2SL
from zoo_synthetic_learner.inference.bootstrap import bootstrap, effect_interval

DRAWN = []


class Recording(H1SL):
    """Remembers what it was given, in this process."""

    def _learn(self, panel, counts=None):
        if counts is not None:
            DRAWN.append((panel, counts))
        return super()._learn(panel, counts)


class Fussy(H1SL):
    """Refuses panels in which one unit was drawn more than three times."""

    def _learn(self, panel, counts=None):
        if counts is not None and counts.max() > 3:
            raise InputError("a unit was drawn too often.")
        return super()._learn(panel, counts)


class Refusing(H1SL):
    """Refuses all resamples."""

    def _learn(self, panel, counts=None):
        if counts is not None:
            raise InputError("nothing pleases.")
        return super()._learn(panel, counts)


def _panel(**options):
    return small_panel(**({"N": 20, "T": 12, "T0": 8, "m": 8} | options))


def _fitted(kind=H1SL, panel=None, **options):
    panel = _panel() if panel is None else panel
    return kind(**({"synthesizer": "did"} | options)).fit(*matrices_of(panel))


def _recorded(n_boot=20, panel=None, **options):
    estimator = _fitted(Recording, panel)
    DRAWN.clear()
    found = bootstrap(estimator, n_boot=n_boot, n_jobs=1, **options)
    return estimator, found, list(DRAWN)


def _did(panel, treated, controls):
    """Returns each drawn treated unit's [T] gap from equally weighted distinct controls."""
    outcome, start = panel.outcome, panel.cohorts[0]
    gaps = []
    for unit in treated:
        donors = outcome[sorted(set(controls))].mean(axis=0)
        level = (outcome[unit, :start] - donors[:start]).mean()
        gaps.append(outcome[unit] - donors - level)
    return np.array(gaps)


def test_replicates_are_those_of_a_loop_over_drawn_units():
    panel = _panel()
    found = bootstrap(_fitted(panel=panel), n_boot=12, n_jobs=1, random_state=3)
    for place, seed in enumerate(np.random.SeedSequence(3).generate_state(12, np.uint64)):
        rng = np.random.default_rng(seed)
        treated = rng.choice(panel.treated, len(panel.treated))
        controls = rng.choice(panel.never_treated, len(panel.never_treated))
        effects = _did(panel, treated, controls)[:, 8:]
        assert found.seeds[place] == seed
        np.testing.assert_allclose(found.att[place], effects.mean())
        np.testing.assert_allclose(found.att_by_time[place], effects.mean(axis=0))


def test_effects_are_those_of_the_learner_fitted_on_what_was_drawn():
    estimator, found, drawn = _recorded(n_boot=5)
    asked = np.random.default_rng(0).standard_normal((3, 2))
    given = bootstrap(estimator, asked, n_boot=5, n_jobs=1)
    for place, (panel, counts) in enumerate(drawn):
        learned = estimator._learn(panel, counts)
        everybody = estimator.panel_.static_covariates()
        np.testing.assert_allclose(found.effects[place], learned.effect.predict(everybody))
        np.testing.assert_allclose(given.effects[place], learned.effect.predict(asked))
    np.testing.assert_array_equal(given.att, found.att)
    np.testing.assert_allclose(found.effect_estimate, estimator.effect())
    np.testing.assert_allclose(given.effect_estimate, estimator.effect(asked))


def test_a_unit_is_drawn_once_into_the_panel_and_counted():
    estimator, _, drawn = _recorded()
    for panel, counts in drawn:
        assert panel.units.is_unique
        assert panel.units.is_monotonic_increasing
        assert counts.dtype == np.int64
        assert counts[panel.treated].sum() == 8
        assert counts[panel.never_treated].sum() == 12
        np.testing.assert_array_equal(panel.outcome, estimator.panel_.outcome[panel.units])
    assert max(counts.max() for _, counts in drawn) > 1


def test_a_seed_gives_the_same_and_no_other_generator_matters():
    estimator = _fitted()
    first = bootstrap(estimator, n_boot=6, random_state=1)
    np.random.seed(5)
    again = bootstrap(estimator, n_boot=6, random_state=1)
    longer = bootstrap(estimator, n_boot=9, random_state=1)
    np.testing.assert_array_equal(first.att, again.att)
    np.testing.assert_array_equal(first.att, longer.att[:6])
    assert (first.att != bootstrap(estimator, n_boot=6, random_state=2).att).all()
    default = bootstrap(_fitted(random_state=1), n_boot=6)
    np.testing.assert_array_equal(first.att, default.att)


def test_the_number_of_jobs_does_not_matter():
    estimator = _fitted(synthesizer="simplex")
    one, two = (bootstrap(estimator, n_boot=7, n_jobs=jobs) for jobs in (1, 2))
    for name in ("effects", "att", "att_by_time", "seeds"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_dask_gives_the_same(tmp_path):
    distributed = pytest.importorskip("distributed")
    estimator = _fitted(synthesizer="simplex")
    expected = bootstrap(estimator, n_boot=7)
    with (
        distributed.Client(
            processes=False,
            n_workers=1,
            threads_per_worker=2,
            dashboard_address=None,
            local_directory=str(tmp_path),
        ),
        joblib.parallel_config(backend="dask"),
    ):
        found = bootstrap(estimator, n_boot=7)
    np.testing.assert_array_equal(found.effects, expected.effects)
    np.testing.assert_array_equal(found.att, expected.att)


def test_units_are_drawn_within_cohorts():
    _, found, drawn = _recorded(panel=_panel(staggered=True))
    assert found.within_cohorts
    for panel, counts in drawn:
        for start in (6, 8):
            assert counts[panel.first_treated == start].sum() == 4
        assert counts[panel.never_treated].sum() == 12
    assert np.isfinite(found.att_by_time).all()


def test_units_are_drawn_from_all_cohorts_where_one_has_a_single_unit():
    panel = _panel(staggered=True)
    starts = panel.first_treated.copy()
    starts[1:4] = 8
    panel = panel.with_treatment(starts)
    _, found, drawn = _recorded(panel=panel, n_boot=30)
    assert not found.within_cohorts
    first = np.array([counts[panel.first_treated == 6].sum() for panel, counts in drawn])
    assert set(first) >= {0, 1, 2}
    # Without the early unit nobody reaches the last two event times.
    assert found.att_by_time.shape == (30, 6)
    np.testing.assert_array_equal(np.isnan(found.att_by_time[:, 4:]).all(axis=1), first == 0)
    assert np.isfinite(found.att_by_time[:, :4]).all()
    assert np.isfinite(found.att_by_time_interval()).all()
    _, within, _ = _recorded(panel=panel, n_boot=3, within_cohorts=True)
    assert within.within_cohorts
    assert np.isfinite(within.att_by_time).all()


def test_draws_that_cannot_be_fitted_are_made_again_and_counted():
    estimator = _fitted(Fussy)
    found = bootstrap(estimator, n_boot=20, n_jobs=1)
    assert np.isfinite(found.att).all()
    redrawn = 0
    for place, seed in enumerate(found.seeds):
        rng = np.random.default_rng(seed)
        while True:
            treated, controls = rng.choice(np.arange(8), 8), rng.choice(np.arange(8, 20), 12)
            if np.bincount(np.concatenate([treated, controls])).max() <= 3:
                break
            redrawn += 1
        expected = _did(estimator.panel_, treated, controls)[:, 8:].mean()
        np.testing.assert_allclose(found.att[place], expected)
    assert found.redrawn == redrawn > 0
    assert f"{redrawn} draws could not be fitted and were made again" in str(found)


def test_draws_that_never_can_be_fitted_are_an_error_with_the_reason():
    with pytest.raises(InputError, match=r"20 resamples .* nothing pleases\."):
        bootstrap(_fitted(Refusing), n_boot=2, n_jobs=1)


def test_a_draw_of_one_control_alone_is_made_again():
    _, found, drawn = _recorded(panel=_panel(N=10), n_boot=30)
    assert all(len(panel.never_treated) == 2 for panel, _ in drawn)
    assert found.redrawn > 0


def test_replicates_of_two_sides_that_fell_back_to_one_are_counted():
    panel = _panel(m=8)
    early = panel.treated[:3]
    starts = panel.first_treated.copy()
    starts[early] -= 1
    estimator = H2SL(synthesizer="did")
    with pytest.warns(ZooWarning, match="fewer than 5"):
        estimator._fit(panel.with_treatment(starts))
    found = bootstrap(estimator, n_boot=31, n_jobs=1, within_cohorts=False)
    late = []
    for seed in found.seeds.tolist():
        drawn = np.random.default_rng(seed).choice(panel.treated, 8)
        late.append(int((~np.isin(drawn, early)).sum()))
    assert found.one_sided == sum(number - 1 < 4 and 8 - number < 5 for number in late) > 0
    assert f"{found.one_sided} replicates had too few treated units" in str(found)
    # Units that are drawn more than once count as often.
    alike = H2SL(synthesizer="did").fit(*matrices_of(_panel(m=5)))
    assert bootstrap(alike, n_boot=15, n_jobs=1).one_sided == 0
    assert bootstrap(_fitted(), n_boot=5).one_sided == 0


@pytest.mark.parametrize("kind", [SyntheticControl, SyntheticDiD, PanelXLearner, DiDT])
def test_all_learners_can_be_resampled(kind):
    panel = _panel(N=24, T=20, T0=12)
    estimator = kind().fit(*matrices_of(panel))
    found = bootstrap(estimator, n_boot=4)
    rng = np.random.default_rng(found.seeds[0])
    drawn = [rng.choice(panel.treated, 8), rng.choice(panel.never_treated, 16)]
    rows, counts = np.unique(np.concatenate(drawn), return_counts=True)
    learned = kind()._learn(panel.take(rows), counts)
    assert found.att[0] == pytest.approx(learned.att)
    np.testing.assert_allclose(
        found.effects[0], learned.effect.predict(panel.covariates), atol=1e-9
    )


def test_cross_fitting_changes_no_replicate():
    expected = bootstrap(_fitted(), n_boot=5, n_jobs=1)
    found = bootstrap(_fitted(cross_fit=8), n_boot=5, n_jobs=1)
    np.testing.assert_array_equal(found.effects, expected.effects)
    assert (found.effect_estimate != expected.effect_estimate).any()


def test_rows_of_covariates_keep_their_labels():
    panel = _panel(labelled=True)
    outcome = pd.DataFrame(panel.outcome, index=panel.units, columns=panel.times)
    covariates = pd.DataFrame(panel.covariates, index=panel.units, columns=["x0", "x1"])
    estimator = H1SL(synthesizer="did").fit(outcome, matrices_of(panel)[1], covariates)
    asked = pd.DataFrame({"x1": [0.0, 1.0], "x0": [1.0, 2.0]}, index=["a", "b"])
    found = bootstrap(estimator, asked, n_boot=3)
    assert found.labels.tolist() == ["a", "b"]
    array = bootstrap(estimator, asked[["x0", "x1"]].to_numpy().tolist(), n_boot=3)
    assert array.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(found.effects, array.effects)
    assert bootstrap(estimator, n_boot=2).labels.tolist() == panel.units.tolist()
    with pytest.raises(InputError, match="S has shape"):
        bootstrap(estimator, np.zeros((2, 3)))


def test_effects_by_event_time_have_their_axis():
    estimator = _fitted(pool="time")
    found = bootstrap(estimator, n_boot=5, n_jobs=1)
    assert found.effects.shape == (5, 20, 4)
    low, high = found.effect_interval(0.5)
    assert low.shape == high.shape == (20, 4)
    table = found.to_frame().query("quantity == 'effect'")
    assert table.event_time.tolist() == [0, 1, 2, 3] * 20
    assert table.row.tolist() == np.repeat(np.arange(20), 4).tolist()
    np.testing.assert_allclose(table.estimate, found.effect_estimate.ravel())


def test_the_interval_of_a_learner_is_the_bootstraps():
    estimator = _fitted()
    low, high = effect_interval(estimator, None, 0.2, 6, n_jobs=1)
    expected = bootstrap(estimator, n_boot=6, n_jobs=1).effect_interval(0.2)
    np.testing.assert_array_equal(low, expected[0])
    np.testing.assert_array_equal(high, expected[1])


@pytest.mark.parametrize("n_boot", [0, 1, 2.5, True, "200"])
def test_other_numbers_of_replicates_are_refused(n_boot):
    with pytest.raises(InputError, match=r"n_boot is .*expected a whole number of at least 2"):
        bootstrap(_fitted(), n_boot=n_boot)


def test_few_treated_units_are_refused():
    with pytest.raises(InputError, match="5 treated units and there are 4; use placebo_space"):
        bootstrap(_fitted(panel=_panel(m=4)))
    with pytest.raises(InputError, match="5 treated units and there is 1; use placebo_space"):
        bootstrap(_fitted(panel=_panel(m=1)))
    assert len(bootstrap(_fitted(panel=_panel(m=5)), n_boot=2).att) == 2


def test_one_control_is_refused():
    with pytest.raises(InputError, match="at least 2 units that never are treated and there is 1"):
        bootstrap(_fitted(panel=_panel(m=19)))


def test_a_learner_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        bootstrap(H1SL())
