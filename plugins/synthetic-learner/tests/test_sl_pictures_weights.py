"""Pictures of weights and of the effect function, by the numbers of their artists."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sl_made

from zoo_core.errors import InputError
from zoo_synthetic_learner.matrices import read_matrices
from zoo_synthetic_learner.pictures import effect_grid, plot_effect, plot_weights
from zoo_synthetic_learner.support import support_of


def artists(ax, gid):
    return [each for each in ax.get_children() if each.get_gid() == gid]


def legend(ax):
    return [each.get_text() for each in ax.get_legend().get_texts()]


def donors(ax):
    return [each.get_text() for each in ax.get_yticklabels()]


def weighted(weights, m):
    """The first m units are treated; weights [N, m]."""
    weights = np.asarray(weights, dtype=np.float64)
    units = pd.Index([f"u{unit}" for unit in range(len(weights))])
    rng = np.random.default_rng(0)
    outcome = pd.DataFrame(rng.normal(size=(len(units), 5)), units, pd.RangeIndex(2000, 2005))
    panel = read_matrices(outcome, [3] * m + [0] * (len(units) - m))
    return sl_made.Fitted(panel, sl_made.imputation(panel, np.zeros((m, 5)), weights=weights))


def test_one_targets_weights_are_bars_the_largest_first():
    ax = plot_weights(weighted([[0], [0.1], [-0.6], [0], [0.3], [0.2]], 1), top=3)
    bars = artists(ax, "weight")
    # From the top down, as the axis is inverted.
    assert [bar.get_width() for bar in bars] == [-0.6, 0.3, 0.2]
    assert [bar.get_y() + bar.get_height() / 2 for bar in bars] == [0, 1, 2]
    assert donors(ax) == ["u2", "u4", "u5"]
    assert ax.yaxis_inverted()
    assert ax.get_title() == "synthetic u0, 3 of 4 donors"
    assert bars[0].get_facecolor() != bars[1].get_facecolor()


def test_donors_without_weight_are_not_drawn_and_ties_keep_their_order():
    ax = plot_weights(weighted([[0], [0.5], [0], [0], [0.5]], 1))
    assert donors(ax) == ["u1", "u4"]
    assert ax.get_title() == "synthetic u0"


def test_several_targets_are_a_map_of_donors_by_targets():
    weights = [[0, 0], [0, 0], [0.7, 0.1], [0.0, 0.9], [0.3, 0.0]]
    ax = plot_weights(weighted(weights, 2), top=2)
    (image,) = artists(ax, "weights")
    np.testing.assert_array_equal(image.get_array(), [[0.0, 0.9], [0.7, 0.1]])
    assert donors(ax) == ["u3", "u2"]
    assert [each.get_text() for each in ax.get_xticklabels()] == ["u0", "u1"]
    assert image.get_clim() == (0, 0.9)
    assert ax.get_title() == "2 of 3 donors"


def test_a_map_with_negative_weights_is_centred_at_zero():
    ax = plot_weights(weighted([[0, 0], [0, 0], [0.7, -0.9], [0.3, 1.9]], 2))
    assert artists(ax, "weights")[0].get_clim() == (-1.9, 1.9)


def test_targets_can_be_chosen_and_many_are_cut():
    weights = np.zeros((45, 40))
    weights[40:] = np.random.default_rng(0).uniform(size=(5, 40))
    estimator = weighted(weights, 40)
    ax = plot_weights(estimator)
    assert artists(ax, "weights")[0].get_array().shape == (5, 25)
    assert ax.get_title() == "25 of 40 treated units"
    chosen = plot_weights(estimator, units=["u30", "u3"])
    order = np.argsort(-weights[:, [30, 3]].max(axis=1))[:5]
    np.testing.assert_array_equal(
        artists(chosen, "weights")[0].get_array(), weights[order][:, [30, 3]]
    )


def test_weights_that_are_not_there_are_refused():
    estimator = weighted([[0], [0], [0]], 1)
    with pytest.raises(InputError, match="all weights of these units are 0"):
        plot_weights(estimator)
    for top in (0, 2.0, True):
        with pytest.raises(InputError, match="top is"):
            plot_weights(estimator, top=top)
    with pytest.raises(InputError, match="unit u1 is not treated"):
        plot_weights(estimator, units=["u1"])
    flat = sl_made.imputation(estimator.panel_, np.zeros((1, 5)))
    with pytest.raises(InputError, match="not linear in its donors"):
        plot_weights(sl_made.Fitted(estimator.panel_, flat))


def two_covariates(effect, m=8, n=12):
    rng = np.random.default_rng(1)
    S = rng.normal(size=(m + n, 2))
    S[:m] /= 2
    table = pd.DataFrame(S, columns=["age", "size"])
    panel = read_matrices(rng.normal(size=(m + n, 5)), [3] * m + [0] * n, table)
    return sl_made.Fitted(panel, sl_made.imputation(panel, np.zeros((m, 5))), effect=effect)


def test_the_curve_goes_through_one_covariate_with_the_others_at_their_means():
    estimator = two_covariates(sl_made.Line(1.0, [2.0, -3.0]))
    S = estimator.panel_.covariates
    ax = plot_effect(estimator, "size")
    (line,) = artists(ax, "effect")
    x, y = line.get_data()
    assert (x[0], x[-1], len(x)) == (S[:, 1].min(), S[:, 1].max(), 100)
    np.testing.assert_allclose(y, 1 + 2 * S[:8, 0].mean() - 3 * x)
    (rug,) = artists(ax, "rug")
    assert rug.get_xdata().tolist() == S[:8, 1].tolist()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("size", "effect on outcome")
    assert legend(ax) == ["extrapolated", "treated units"]


def test_the_ground_is_shaded_outside_of_the_support():
    estimator = two_covariates(sl_made.Line(1.0, [2.0, -3.0]))
    ax = plot_effect(estimator, "age")
    grid = effect_grid(estimator, "age", 2000)
    inside = support_of(estimator).contains(grid)
    spans = [(each.get_x(), each.get_x() + each.get_width()) for each in artists(ax, "outside")]
    step = np.ptp(grid[:, 0]) / 99
    assert len(spans) == 2
    assert spans[0] == pytest.approx((grid[0, 0], grid[inside][0, 0]), abs=step)
    assert spans[1] == pytest.approx((grid[inside][-1, 0], grid[-1, 0]), abs=step)
    assert inside.any()
    assert not inside.all()


def test_an_effect_by_event_time_has_a_curve_for_some_of_them():
    effect = sl_made.Line(np.arange(10.0), np.vstack([np.arange(10.0), np.zeros(10)]))
    ax = plot_effect(two_covariates(effect), "age")
    assert legend(ax)[:4] == [f"event time {each}" for each in (0, 3, 6, 9)]
    for line, time in zip(artists(ax, "effect"), (0, 3, 6, 9), strict=True):
        np.testing.assert_allclose(line.get_ydata(), time + time * line.get_xdata())


def test_a_band_is_the_bootstraps_interval():
    estimator = two_covariates(sl_made.Line(1.0, [2.0, -3.0]))
    grid = effect_grid(estimator, "age")
    asked = []

    def interval(alpha):
        return grid[:, 0] - alpha, grid[:, 0] + 1

    def bootstrap(S, n_boot):
        asked.append((S, n_boot))
        return SimpleNamespace(effect_interval=interval)

    estimator.bootstrap = bootstrap
    given = SimpleNamespace(effect_interval=interval)
    for options in ({"n_boot": 7}, {"bootstrap": given}):
        ax = plot_effect(estimator, "age", alpha=0.2, **options)
        (band,) = artists(ax, "interval")
        corners = band.get_paths()[0].vertices
        assert corners[:, 1].min() == pytest.approx(grid[0, 0] - 0.2)
        assert corners[:, 1].max() == pytest.approx(grid[-1, 0] + 1)
        assert "80 % interval" in legend(ax)
    # A bootstrap that is given is not made again.
    ((S, n_boot),) = asked
    np.testing.assert_array_equal(S, grid)
    assert n_boot == 7


def test_a_bootstrap_of_other_queries_is_refused():
    given = SimpleNamespace(effect_interval=lambda alpha: (np.zeros(20), np.ones(20)))
    estimator = two_covariates(sl_made.Line(1.0, [2.0, -3.0]))
    with pytest.raises(
        InputError, match=r"shape \[20\]; expected \[100\]: make it with effect_grid"
    ):
        plot_effect(estimator, "age", bootstrap=given)


def test_a_covariate_that_is_not_there_is_refused():
    estimator = two_covariates(sl_made.Line(1.0, [2.0, -3.0]))
    with pytest.raises(InputError, match=r"no covariate 'siz'\. Did you mean size\?"):
        plot_effect(estimator, "siz")
    with pytest.raises(InputError, match="The panel has no covariates"):
        plot_effect(weighted([[0], [1], [1]], 1), "age")
