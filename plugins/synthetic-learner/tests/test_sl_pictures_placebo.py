"""Pictures of placebos, and how pictures are written."""

from __future__ import annotations

import builtins
import importlib.util
import re

import numpy as np
import pandas as pd
import pytest
import sl_data
import sl_made

from zoo_core.errors import ConfigError, InputError, SaveError
from zoo_synthetic_learner.inference.placebo_space import PlaceboSpace, Size
from zoo_synthetic_learner.pictures import (
    plot_placebo_gaps,
    plot_placebo_statistics,
    save_picture,
)
from zoo_synthetic_learner.pictures.beside_placebos import draw_beside_placebos, draw_california
from zoo_synthetic_learner.pictures.drawing import shorten


def artists(ax, gid):
    return [each for each in ax.get_children() if each.get_gid() == gid]


def legend(ax):
    return [each.get_text() for each in ax.get_legend().get_texts()]


def size(level, pre=1.0):
    return Size(
        att=level, pre_rmspe=pre, post_rmspe=abs(level), gap=np.array([0.0, 0.5, level, level])
    )


def placebos(levels=(1.0, -2.0, 3.0), kept=(True, True, False), **changes):
    given = {
        "observed": size(-4.0, 0.5),
        "placebos": tuple(size(level) for level in levels),
        "units": tuple((f"u{place}",) for place in range(len(levels))),
        "treated": ("California",),
        "times": pd.RangeIndex(1987, 1991, name="year"),
        "kept": np.array(kept),
        "pre_rmspe_limit": 2.0,
        "exhaustive": True,
        "possible": 3,
        "failed": (),
    }
    return PlaceboSpace(**given | changes)


def test_the_placebos_that_count_stand_behind_the_treated_units():
    ax = plot_placebo_gaps(placebos(), treatment=1989)
    (observed,) = artists(ax, "observed")
    drawn = artists(ax, "placebo")
    assert observed.get_xdata().tolist() == [1987, 1988, 1989, 1990]
    assert observed.get_ydata().tolist() == [0, 0.5, -4, -4]
    assert [line.get_ydata()[-1] for line in drawn] == [1, -2]
    assert all(line.get_zorder() < observed.get_zorder() for line in drawn)
    (treatment,) = artists(ax, "treatment")
    assert treatment.get_xdata()[0] == 1988.5
    assert legend(ax) == ["2 placebos (1 with a worse fit left out)", "California"]
    assert ax.get_xlabel() == "year"


def test_without_a_time_there_is_no_line_of_treatment():
    ax = plot_placebo_gaps(placebos(kept=(True,) * 3))
    assert not artists(ax, "treatment")
    assert legend(ax)[0] == "3 placebos"


def test_the_statistics_of_placebos_are_a_histogram():
    found = placebos(levels=(1.0, -2.0, 3.0, 3.1), kept=(True,) * 4)
    ax = plot_placebo_statistics(found, bins=7)
    # Ratios 1, 2, 3, 3.1 and, observed, 4 / 0.5.
    bars = artists(ax, "bar")
    assert [bar.get_height() for bar in bars] == [1, 1, 2, 0, 0, 0, 0]
    assert (bars[0].get_x(), bars[-1].get_x() + bars[-1].get_width()) == (1, 8)
    assert artists(ax, "observed")[0].get_xdata()[0] == 8
    assert ax.get_title() == "p = 0.2"
    assert legend(ax) == ["4 placebos", "California: 8"]


def test_the_att_has_a_histogram_of_its_own():
    ax = plot_placebo_statistics(placebos(), statistic="att", bins=5)
    bars = artists(ax, "bar")
    assert [bar.get_height() for bar in bars] == [0, 0, 1, 0, 1]
    assert (bars[0].get_x(), bars[-1].get_x() + bars[-1].get_width()) == (-4, 1)
    assert artists(ax, "observed")[0].get_xdata()[0] == -4
    assert ax.get_title() == "p = 0.333"


def test_infinite_ratios_are_counted_but_not_drawn():
    found = placebos(placebos=(size(1.0, pre=0.0), size(2.0), size(3.0)), kept=(True,) * 3)
    ax = plot_placebo_statistics(found, bins=4)
    assert sum(bar.get_height() for bar in artists(ax, "bar")) == 2
    assert ax.get_title() == "p = 0.5; 1 infinite ratios are not drawn"


def test_several_treated_units_are_named_up_to_two():
    ax = plot_placebo_gaps(placebos(treated=("a", "b", "c")))
    assert legend(ax)[1] == "treated: a, b and 1 more"


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(InputError, match="no time 1999; expected one from 1987 to 1990"):
        plot_placebo_gaps(placebos(), treatment=1999)
    with pytest.raises(InputError, match=r"statistic is 'rato'\. Did you mean ratio\?"):
        plot_placebo_statistics(placebos(), statistic="rato")
    for bins in (0, 2.5, True):
        with pytest.raises(InputError, match="bins is"):
            plot_placebo_statistics(placebos(), bins=bins)
    unknown = Size(att=1.0, pre_rmspe=np.nan, post_rmspe=np.nan, gap=np.full(4, np.nan))
    for draw in (plot_placebo_gaps, plot_placebo_statistics):
        with pytest.raises(InputError, match="imputes nobody"):
            draw(placebos(observed=unknown))
    assert (
        plot_placebo_statistics(placebos(observed=unknown), statistic="att").get_title() == "p = 1"
    )


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_is_written_the_same_each_time(tmp_path, suffix):
    save_picture(tmp_path / "new" / f"one.{suffix}", plot_placebo_gaps(placebos()))
    save_picture(tmp_path / "new" / f"two.{suffix}", plot_placebo_gaps(placebos()).figure)
    one = (tmp_path / "new" / f"one.{suffix}").read_bytes()
    assert one == (tmp_path / "new" / f"two.{suffix}").read_bytes()
    assert one.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])


def test_only_pictures_are_written_and_only_as_pictures(tmp_path):
    with pytest.raises(InputError, match=r"suffix is '\.gif'; expected one of \.png, \.svg, \.pdf"):
        save_picture(tmp_path / "a.gif", plot_placebo_gaps(placebos()))
    with pytest.raises(InputError, match="picture is a int; expected an Axes or a Figure"):
        save_picture(tmp_path / "a.png", 3)
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="cannot write"):
        save_picture(tmp_path / "file" / "a.png", plot_placebo_gaps(placebos()))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file"]


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    find, load = importlib.util.find_spec, builtins.__import__

    def missing(name, *rest):
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name)
        return load(name, *rest)

    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    monkeypatch.setattr(builtins, "__import__", missing)
    message = re.escape("pip install 'zoo-synthetic-learner[pictures]'")
    for draw in (plot_placebo_gaps, plot_placebo_statistics):
        with pytest.raises(ConfigError, match=message):
            draw(placebos())
    with pytest.raises(ConfigError, match=message):
        save_picture(tmp_path / "a.png", None)


def test_labels_keep_to_a_length():
    assert shorten("ab\n cd") == "ab cd"
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abc defg", 5) == "abc…"
    assert shorten("$5") == r"\$5"
    assert shorten(1989) == "1989"


def test_a_path_stands_beside_the_placebos():
    panel = sl_data.small_panel(N=6, T=4, T0=2, m=1, d=0, labelled=True)
    gap = np.array([[0.0, 0.5, -4, -4]])
    estimator = sl_made.Fitted(panel, sl_made.imputation(panel, gap))
    left, right = draw_beside_placebos(estimator, placebos(times=panel.times)).axes
    assert artists(left, "observed")[0].get_ydata().tolist() == panel.outcome[0].tolist()
    assert artists(right, "observed")[0].get_ydata().tolist() == gap[0].tolist()
    for ax in (left, right):
        assert artists(ax, "treatment")[0].get_xdata()[0] == 2001.5
    # No ratio of the two placebos that count reaches 8.
    assert right.get_title().startswith("p = 0.33,")


def test_californias_picture_is_that_of_the_classical_synthetic_control():
    left, right = draw_california(sl_data.data_root("california_prop99.csv")).axes
    (observed,), (synthetic,) = artists(left, "observed"), artists(left, "synthetic")
    effect = (observed.get_ydata() - synthetic.get_ydata())[19:]
    assert effect.mean() == pytest.approx(-19.514, abs=0.01)
    assert effect[[0, 6, 11]] == pytest.approx([-8.44, -22.86, -26.60], abs=0.05)
    np.testing.assert_allclose(artists(right, "observed")[0].get_ydata()[19:], effect)
    assert len(artists(right, "placebo")) == 34
