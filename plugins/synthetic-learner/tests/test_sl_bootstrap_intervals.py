"""What a bootstrap says of its replicates: by hand, and on panels whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from sl_data import matrices_of, small_panel

from zoo_core.errors import InputError
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.inference.bootstrap import Bootstrap, bootstrap, effect_interval


def _by_hand():
    return Bootstrap(
        effect_estimate=np.array([1.0, 2.0]),
        att_estimate=1.5,
        att_by_time_estimate=np.array([1.0, 2.0]),
        effects=np.column_stack([np.arange(101.0), 10 * np.arange(101.0)]),
        att=np.arange(101.0),
        att_by_time=np.column_stack([np.arange(101.0), np.r_[np.full(50, np.nan), np.zeros(51)]]),
        labels=np.array(["a", "b"]),
        seeds=np.arange(101, dtype=np.uint64),
        redrawn=0,
        one_sided=0,
        within_cohorts=False,
    )


def test_intervals_by_hand():
    found = _by_hand()
    assert found.att_interval(0.1) == (5.0, 95.0)
    low, high = found.effect_interval(0.5)
    assert low.tolist() == [25.0, 250.0]
    assert high.tolist() == [75.0, 750.0]
    low, high = found.att_by_time_interval(0.2)
    assert low.tolist() == [10.0, 0.0]
    assert high.tolist() == [90.0, 0.0]
    # The variance of 0 to 100 with the divisor 100 is 101 * 102 / 12.
    assert found.att_standard_error == pytest.approx(np.sqrt(101 * 102 / 12))
    assert found.effect_standard_error[1] == pytest.approx(10 * found.att_standard_error)
    assert found.att_by_time_standard_error[1] == 0


def test_the_table_and_the_text_say_the_same():
    found = _by_hand()
    table = found.to_frame(0.1)
    assert table.quantity.tolist() == ["att", "att_by_time", "att_by_time", "effect", "effect"]
    assert table.row.tolist()[3:] == ["a", "b"]
    assert table.estimate.tolist() == [1.5, 1.0, 2.0, 1.0, 2.0]
    assert table.low.tolist() == [5.0, 5.0, 0.0, 5.0, 50.0]
    assert table.high.tolist() == [95.0, 95.0, 0.0, 95.0, 950.0]
    assert table.event_time.tolist()[1:3] == [0, 1]
    assert "ATT 1.5, standard error 29.3, 95 % interval [2.5, 97.5]" in str(found)


def test_the_spread_is_that_of_units():
    rng = np.random.default_rng(0)
    m, n, found, covered = 25, 40, [], 0
    for seed in range(30):
        # Unit effects have mean 2 and deviation 1; controls are alike, so only the treated count.
        outcome = np.repeat(rng.standard_normal((m + n, 1)), 12, axis=1)
        outcome += 0.05 * rng.standard_normal((m + n, 12))
        outcome[:m, 8:] += 2 + rng.standard_normal((m, 1))
        starts = np.repeat([8, 0], [m, n])
        draws = bootstrap(
            H1SL(synthesizer="did").fit(outcome, starts), n_boot=60, random_state=seed
        )
        low, high = draws.att_interval(0.1)
        covered += low <= 2 <= high
        found.append(draws.att_standard_error)
    assert np.mean(found) == pytest.approx(1 / np.sqrt(m), rel=0.1)
    # Of 30, 27 are expected, with a standard deviation of 1.6.
    assert covered >= 21


def test_the_spread_of_donors_is_understated_by_a_quarter():
    rng = np.random.default_rng(1)
    m, n, found = 25, 20, []
    for seed in range(15):
        # Only controls differ, by deviations of 1 after treatment.
        outcome = 0.01 * rng.standard_normal((m + n, 12))
        outcome[m:, 8:] += rng.standard_normal((n, 1))
        estimator = H1SL(synthesizer="did").fit(outcome, np.repeat([8, 0], [m, n]))
        found.append(bootstrap(estimator, n_boot=60, random_state=seed).att_standard_error)
    # Means of about 0.64 n of n values, drawn without replacement.
    expected = np.sqrt((1 / 0.64 - 1) / n)
    assert np.mean(found) == pytest.approx(expected, rel=0.15)
    assert expected * np.sqrt(n) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("alpha", [0, 1, 1.5, -0.1, True, "0.05", None, np.nan])
def test_other_levels_are_refused(alpha):
    with pytest.raises(InputError, match=r"alpha is .*expected a number between 0 and 1"):
        _by_hand().att_interval(alpha)
    estimator = H1SL(synthesizer="did").fit(*matrices_of(small_panel(m=5)))
    with pytest.raises(InputError, match="alpha is"):
        effect_interval(estimator, alpha=alpha)
