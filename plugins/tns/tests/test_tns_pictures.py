"""Pictures in general: units of time, their files, where they are drawn, and without matplotlib."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from matplotlib.figure import Figure

from zoo_core.errors import ConfigError, InputError, SaveError, ZooError
from zoo_tns.drawing import duration, save_picture, unit_for
from zoo_tns.index import TemporalIndex
from zoo_tns.rate_pictures import draw_rate_histogram, draw_rates
from zoo_tns.receptive_field import draw_receptive_field
from zoo_tns.training_curves import draw_training

INDEX = TemporalIndex([0, 0, 0], [1, 2, 1], [10, 20, 30])
DRAW = {
    "rates": lambda ax=None: draw_rates([1.5, 1.0, 2.0], [0, 0, 1], [10, 20, 30], ax),
    "histogram": lambda ax=None: draw_rate_histogram([1.5, 1.0, 2.0], ax=ax),
    "receptive field": lambda ax=None: draw_receptive_field(INDEX, 0, 40, k=2, rate=1.5, ax=ax),
    "training": lambda ax=None: draw_training([{"epoch": 1, "loss": 0.5}], ax),
}


@pytest.mark.parametrize(
    ("span", "unit", "name"),
    [
        (0, None, "seconds"),
        (119, None, "seconds"),
        (120, None, "minutes"),
        (7199, None, "minutes"),
        (7200, None, "hours"),
        (172799, None, "hours"),
        (172800, None, "days"),
        (10**9, None, "days"),
        (10**9, "seconds", "seconds"),
        (1, "days", "days"),
        (10**9, "time", "time"),
    ],
)
def test_the_unit_is_the_largest_of_which_there_are_two(span, unit, name):
    assert unit_for(span, unit).name == name


def test_units_have_their_seconds():
    assert [unit_for(0, name).seconds for name in ("seconds", "minutes", "hours", "days")] == [
        1,
        60,
        3600,
        86400,
    ]


def test_a_duration_has_three_digits_and_its_unit():
    assert duration(9252) == "2.57 h"
    assert duration(30 * 86400) == "30 d"
    assert duration(1234 * 86400) == "1234 d"
    assert duration(0) == "0 s"
    assert duration(119.6) == "120 s"
    assert duration(5400, "hours") == "1.5 h"
    assert duration(12.5, "time") == "12.5"


def test_refuses_an_unknown_unit():
    with pytest.raises(InputError, match="unit is 'weeks'; expected one of seconds, minutes, hou"):
        unit_for(1, "weeks")


@pytest.mark.parametrize("what", DRAW)
def test_draws_on_the_axes_given_or_on_a_new_figure_without_pyplot(what):
    left, right = Figure().subplots(1, 2)
    DRAW[what](right)
    assert right.has_data()
    assert not left.has_data()
    returned = DRAW[what]()
    assert isinstance(returned if what == "training" else returned.figure, Figure)


def test_importing_the_modules_does_not_import_matplotlib():
    code = (
        "import sys; from zoo_tns import drawing, rate_pictures, receptive_field, training_curves;"
        "print([name for name in sys.modules if name.startswith('matplotlib')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("what", DRAW)
def test_nothing_of_a_picture_overlaps_and_the_legend_is_beside_it(what):
    picture = DRAW[what]()
    figure = picture if isinstance(picture, Figure) else picture.figure
    figure.draw_without_rendering()
    for ax in figure.axes:
        box = ax.get_window_extent()
        labels = [each.get_window_extent() for each in ax.get_yticklabels() if each.get_text()]
        for one, other in pairwise(labels):
            assert not one.overlaps(other)
        if ax.get_legend() is not None:
            assert ax.get_legend().get_window_extent().x0 > box.x1


@pytest.mark.parametrize(
    ("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")]
)
def test_saves_the_same_file_every_time(tmp_path, suffix, begins):
    target = tmp_path / "new" / f"picture.{suffix}"
    save_picture(target, DRAW["rates"](), dpi=40)
    first = target.read_bytes()
    assert first.startswith(begins)
    save_picture(target, DRAW["rates"]().figure, dpi=40)
    assert target.read_bytes() == first
    save_picture(target, DRAW["training"](), dpi=40)
    assert target.read_bytes() != first
    assert [each.name for each in target.parent.iterdir()] == [target.name]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "picture.png"
    target.write_bytes(b"old")
    ax = DRAW["histogram"]()

    def fill(path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ax.figure, "savefig", fill)
    with pytest.raises(SaveError, match=r"cannot write .*picture\.png: No space left on device"):
        save_picture(target, ax)
    assert target.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["picture.png"]


def test_refuses_suffixes_places_and_things_that_are_no_picture(tmp_path):
    with pytest.raises(InputError, match=r"suffix is '\.jpg'; expected one of \.png, \.svg, \.pdf"):
        save_picture(tmp_path / "picture.jpg", DRAW["rates"]())
    with pytest.raises(InputError, match="picture is a Tensor; expected an Axes or a Figure"):
        save_picture(tmp_path / "picture.png", torch.ones(2))
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="cannot write"):
        save_picture(tmp_path / "file" / "picture.png", DRAW["rates"]())


def test_says_how_to_get_matplotlib(monkeypatch, tmp_path):
    ax = DRAW["rates"]()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for draw in (*DRAW.values(), lambda: save_picture(tmp_path / "a.png", ax)):
        with pytest.raises(ConfigError, match=r"pip install 'zoo-tns\[pictures\]'") as error:
            draw()
        assert isinstance(error.value, ZooError)
