"""Pictures over time: gaps, paths and event studies, by the numbers of their artists."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sl_data
import sl_made

from zoo_core.errors import InputError
from zoo_synthetic_learner.event_time import event_study
from zoo_synthetic_learner.matrices import read_matrices
from zoo_synthetic_learner.pictures import plot_event_study, plot_gaps, plot_path


def artists(ax, gid):
    return [each for each in ax.get_children() if each.get_gid() == gid]


def legend(ax):
    return [each.get_text() for each in ax.get_legend().get_texts()]


def points(line):
    return list(zip(*(np.asarray(each).tolist() for each in line.get_data()), strict=True))


def where(ax, gid):
    """Where a vertical line stands."""
    return [each.get_xdata()[0] for each in artists(ax, gid)]


def fitted(starts=(3, 3), times=None, seed=0, **given):
    """The first units are treated; gaps are drawn."""
    rng = np.random.default_rng(seed)
    m, T = len(starts), 6
    outcome = pd.DataFrame(
        rng.normal(size=(m + 3, T)),
        index=pd.Index([f"u{unit}" for unit in range(m + 3)]),
        columns=pd.RangeIndex(2000, 2000 + T, name="year") if times is None else times,
    )
    panel = read_matrices(outcome, [*starts, 0, 0, 0], rng.normal(size=(m + 3, 1)))
    treated = sl_made.imputation(panel, rng.normal(size=(m, T)), **given)
    return sl_made.Fitted(panel, treated)


def test_units_treated_together_are_drawn_over_the_panels_times():
    estimator = fitted()
    gap = estimator.learned_.treated.gap
    ax = plot_gaps(estimator)
    drawn = artists(ax, "gap")
    for line, expected in zip(drawn, gap, strict=True):
        assert points(line) == list(zip(range(2000, 2006), expected, strict=True))
    (mean,) = artists(ax, "mean")
    np.testing.assert_allclose(mean.get_ydata(), gap.mean(axis=0))
    # Between the last period before treatment and the first under it.
    assert where(ax, "treatment") == [2002.5]
    assert artists(ax, "zero")[0].get_ydata()[0] == 0
    assert legend(ax) == ["u0", "u1", "mean"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("year", "gap in outcome")


def test_units_treated_at_different_times_are_drawn_by_event_time():
    estimator = fitted(starts=(4, 2))
    later, earlier = estimator.learned_.treated.gap[1], estimator.learned_.treated.gap[0]
    ax = plot_gaps(estimator)
    first, second = artists(ax, "gap")
    assert first.get_xdata().tolist() == list(range(-4, 4))
    np.testing.assert_array_equal(first.get_ydata(), [np.nan, np.nan, *earlier])
    np.testing.assert_array_equal(second.get_ydata(), [*later, np.nan, np.nan])
    (mean,) = artists(ax, "mean")
    np.testing.assert_allclose(
        mean.get_ydata()[[0, 4, 7]], [later[0], (later[4] + earlier[2]) / 2, earlier[5]]
    )
    assert where(ax, "treatment") == [-0.5]
    assert legend(ax) == ["u1", "u0", "mean"]
    assert ax.get_xlabel() == "periods since treatment"


def test_units_can_be_chosen():
    estimator = fitted(starts=(4, 2, 4))
    ax = plot_gaps(estimator, units=["u2", "u0"])
    assert legend(ax) == ["u2", "u0", "mean"]
    # Both are treated from 2004 on, so the panel's times stay.
    gap = estimator.learned_.treated.gap
    assert [line.get_ydata().tolist() for line in artists(ax, "gap")] == gap[[2, 1]].tolist()
    assert where(ax, "treatment") == [2003.5]
    alone = plot_gaps(estimator, units=["u1"])
    assert legend(alone) == ["u1"]
    assert not artists(alone, "mean")


def test_many_units_are_grey_and_share_a_name():
    estimator = fitted(starts=(3,) * 500)
    ax = plot_gaps(estimator)
    assert len(artists(ax, "gap")) == 500
    assert legend(ax) == ["500 units", "mean"]
    assert len({line.get_color() for line in artists(ax, "gap")}) == 1
    assert artists(ax, "gap")[0].get_alpha() < 0.2
    assert ax.get_legend().get_lines()[0].get_alpha() == 0.6


def test_drawn_on_axes_that_are_given():
    estimator = fitted()
    given = plot_gaps(estimator)
    for draw in (plot_gaps, plot_event_study):
        assert draw(estimator, ax=given) is given
    assert plot_path(estimator, "u0", ax=given) is given


@pytest.mark.parametrize(
    ("times", "x", "shown"),
    [
        (pd.Index([1990.5, 1991, 1993, 1994, 1995, 1996]), [1990.5, 1991, 1993], None),
        (pd.Index([f"199{each}Q1" for each in range(6)]), [0, 1, 2], "1990Q1"),
        (pd.period_range("1990-01", periods=6, freq="M"), [0, 1, 2], "1990-01"),
    ],
)
def test_times_are_the_users_own(times, x, shown):
    ax = plot_gaps(fitted(times=times))
    line = artists(ax, "gap")[0]
    assert line.get_xdata()[:3].tolist() == x
    assert where(ax, "treatment") == [(line.get_xdata()[2] + line.get_xdata()[3]) / 2]
    if shown:
        assert ax.get_xticklabels()[0].get_text() == shown
    assert ax.get_xlabel() == "time"


def test_dates_stay_dates():
    from matplotlib.dates import num2date

    ax = plot_gaps(fitted(times=pd.date_range("1990-01-31", periods=6, freq="ME")))
    assert num2date(artists(ax, "gap")[0].get_xdata()[1]).strftime("%Y-%m-%d") == "1990-02-28"


def test_a_path_is_the_units_beside_its_counterfactual():
    estimator = fitted()
    ax = plot_path(estimator, "u1")
    (observed,), (synthetic,) = artists(ax, "observed"), artists(ax, "synthetic")
    panel, imputed = estimator.panel_, estimator.learned_.treated
    assert points(observed) == list(zip(range(2000, 2006), panel.outcome[1], strict=True))
    np.testing.assert_allclose(synthetic.get_ydata(), imputed.predicted[1])
    assert where(ax, "treatment") == [2002.5]
    assert legend(ax) == ["observed", "synthetic, untreated"]
    assert (ax.get_title(), ax.get_ylabel()) == ("u1", "outcome")


def test_the_distance_of_a_paths_lines_is_the_effect_with_time_weights_too():
    weights = np.zeros((2, 6))
    weights[:, 1:3] = [0.25, 0.75]
    estimator = fitted(time_weights=weights)
    ax = plot_path(estimator, "u0")
    gap = estimator.learned_.treated.gap[0]
    expected = gap - (0.25 * gap[1] + 0.75 * gap[2])
    distance = artists(ax, "observed")[0].get_ydata() - artists(ax, "synthetic")[0].get_ydata()
    np.testing.assert_allclose(distance, expected)
    drawn = artists(plot_gaps(estimator), "gap")[0]
    np.testing.assert_allclose(drawn.get_ydata(), expected)


def test_a_control_unit_has_the_path_it_would_have_had_with_treatment():
    estimator = fitted()
    with pytest.raises(InputError, match="unit u3 has no synthetic counterpart: it is not treated"):
        plot_path(estimator, "u3")
    gap = np.arange(18.0).reshape(3, 6)
    estimator.learned_.control = sl_made.imputation(estimator.panel_, gap, side="control")
    ax = plot_path(estimator, "u3")
    observed = estimator.panel_.outcome[3]
    np.testing.assert_allclose(artists(ax, "synthetic")[0].get_ydata(), observed + gap[1])
    assert legend(ax) == ["observed", "synthetic, treated"]
    weights = np.zeros((3, 6))
    weights[:, 2] = 1
    estimator.learned_.control = replace(estimator.learned_.control, time_weights=weights)
    (shifted,) = artists(plot_path(estimator, "u3"), "synthetic")
    np.testing.assert_allclose(shifted.get_ydata(), observed + gap[1] - gap[1, 2])


def test_an_event_study_is_its_table():
    estimator = fitted(starts=(4, 2, 3))
    table = event_study(estimator)
    ax = plot_event_study(estimator)
    (line,) = artists(ax, "effect")
    assert points(line) == list(zip(table["event_time"], table["effect"], strict=True))
    assert where(ax, "treatment") == [-0.5]
    counts = [(each.get_position()[0], each.get_text()) for each in artists(ax, "units")]
    expected = zip(table["event_time"], table["units"], strict=True)
    assert counts[:3] == [(time, f"n={units}") for time, units in expected][:3]
    assert ax.get_legend() is None
    assert not artists(plot_event_study(fitted()), "units")


def test_groups_have_a_line_each():
    estimator = fitted(starts=(3, 3, 3, 3))
    table = event_study(estimator, by="S1")
    ax = plot_event_study(estimator, by="S1")
    low, high = artists(ax, "effect")
    names = table["group"].unique()
    assert legend(ax) == [f"{name} (2 units)" for name in names]
    for line, name in zip((low, high), names, strict=True):
        part = table[table["group"] == name]
        assert points(line) == list(zip(part["event_time"], part["effect"], strict=True))
    assert low.get_color() != high.get_color()


def test_a_bootstraps_band_starts_with_treatment():
    low, high = np.array([-1.0, -2, -3]), np.array([1.0, 2, 4])
    given = SimpleNamespace(att_by_time_interval=lambda alpha: (low - alpha, high))
    ax = plot_event_study(fitted(), bootstrap=given, alpha=0.1)
    (band,) = artists(ax, "interval")
    corners = {tuple(each) for each in band.get_paths()[0].vertices.tolist()}
    assert {(0, -1.1), (1, -2.1), (2, -3.1), (0, 1), (1, 2), (2, 4)} == corners
    assert legend(ax) == ["90 % interval"]


def test_labels_are_cut_and_taken_literally():
    estimator = fitted()
    names = pd.Index(["$x_1$ " + "long " * 20, *estimator.panel_.units[1:]])
    estimator.panel_ = replace(estimator.panel_, units=names)
    ax = plot_gaps(estimator)
    assert legend(ax)[0] == r"\$x_1\$ long long long long l…"
    ax.figure.canvas.draw()


def test_what_cannot_be_drawn_is_said():
    estimator = fitted()
    with pytest.raises(InputError, match=r"no unit 'u'\. Did you mean u4 or u3 or u2\? Expected"):
        plot_path(estimator, "u")
    with pytest.raises(InputError, match="unit u3 is not treated; expected some of u0, u1"):
        plot_gaps(estimator, units=["u3"])
    with pytest.raises(InputError, match="units is 'u0'; expected a list"):
        plot_gaps(estimator, units="u0")
    with pytest.raises(InputError, match="no covariate 'S2'"):
        plot_event_study(estimator, by="S2")
    nobody = sl_made.Fitted(sl_data.small_panel())
    for draw in (plot_gaps, plot_event_study, lambda each: plot_path(each, 0)):
        with pytest.raises(InputError, match="Fitted imputes no counterfactual"):
            draw(nobody)
