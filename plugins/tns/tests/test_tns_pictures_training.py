"""Pictures of trainings: the curves and their panels, the best epoch, and logs that are read."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from zoo_core.errors import CheckpointError, InputError
from zoo_tns.training.log import write_log
from zoo_tns.training_curves import draw_training, read_log

HISTORY = [
    {"epoch": 1, "loss": 1.2, "val_ap": 0.80, "new_node_val_ap": 0.7, "mean_rate": 1.0},
    {"epoch": 2, "loss": 0.9, "val_ap": 0.91, "new_node_val_ap": 0.8, "mean_rate": 1.1},
    {"epoch": 3, "loss": 0.7, "val_ap": 0.91, "new_node_val_ap": 0.9, "mean_rate": 1.3},
]
HISTORY = [{**each, "closed_share": 0.5 / each["epoch"]} for each in HISTORY]
LABELS = ["training loss", "validation AP", "mean rate r", "closed share"]


def artists(ax, gid):
    return [each for each in ax.get_children() if each.get_gid() == gid]


def drawn(ax, gid):
    (artist,) = artists(ax, gid)
    return artist


def legend(ax):
    return [each.get_text() for each in ax.get_legend().get_texts()]


def curve(figure, key):
    (line,) = [line for ax in figure.axes for line in artists(ax, key)]
    return list(zip(*(values.tolist() for values in line.get_data()), strict=True))


def test_each_measure_is_a_curve_over_epochs_in_its_panel():
    figure = draw_training(HISTORY)
    assert [ax.get_ylabel() for ax in figure.axes] == LABELS
    for key, panel in (
        ("loss", 0),
        ("val_ap", 1),
        ("new_node_val_ap", 1),
        ("mean_rate", 2),
        ("closed_share", 3),
    ):
        assert len(artists(figure.axes[panel], key)) == 1
        assert curve(figure, key) == [(each["epoch"], each[key]) for each in HISTORY]
    assert legend(figure.axes[1]) == ["all events", "new nodes"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "", "epoch"]


def test_the_first_of_the_epochs_of_the_highest_ap_is_marked_in_all_panels():
    figure = draw_training(HISTORY)
    assert [drawn(ax, "best").get_xdata()[0] for ax in figure.axes] == [2, 2, 2, 2]
    assert figure.axes[0].get_title() == "best epoch 2, validation AP 0.9100"


def test_without_a_validation_no_epoch_is_the_best():
    figure = draw_training([{"epoch": 1, "loss": 1.0, "new_node_val_ap": 0.9}])
    assert not any(artists(ax, "best") for ax in figure.axes)
    assert figure.axes[0].get_title() == ""
    assert legend(figure.axes[1]) == ["new nodes"]


def test_what_is_missing_is_a_gap_and_what_never_occurs_has_no_panel():
    figure = draw_training(
        [
            {"epoch": 3, "loss": 0.5, "val_ap": None},
            {"epoch": 1, "loss": 0.7, "val_ap": 0.6, "mean_rate": None},
            {"epoch": 2, "val_ap": 0.8, "mean_rate": float("nan")},
        ]
    )
    assert [ax.get_ylabel() for ax in figure.axes] == LABELS[:2]
    np.testing.assert_equal(curve(figure, "loss"), [(1, 0.7), (2, np.nan), (3, 0.5)])
    np.testing.assert_equal(curve(figure, "val_ap"), [(1, 0.6), (2, 0.8), (3, np.nan)])
    assert drawn(figure.axes[0], "best").get_xdata()[0] == 2


def test_nought_is_a_number():
    figure = draw_training([{"epoch": 0, "closed_share": 0.0}, {"epoch": 1, "closed_share": 0}])
    assert curve(figure, "closed_share") == [(0, 0), (1, 0)]


def test_records_of_one_epoch_are_taken_together():
    figure = draw_training(
        [{"epoch": 0, "loss": 1.0}, {"epoch": 0, "val_ap": 0.5, "step": 7}, {"epoch": 1, "loss": 2}]
    )
    assert curve(figure, "loss") == [(0, 1), (1, 2)]
    assert curve(figure, "val_ap")[0] == (0, 0.5)


def test_measures_choose_and_several_axes_can_be_given():
    one, two = (Figure().subplots() for _ in range(2))
    figure = draw_training(HISTORY, one, measures=["new_node_val_ap"])
    assert figure is one.figure
    assert not artists(one, "val_ap")
    assert len(artists(one, "new_node_val_ap")) == 1
    # The best epoch is still told by the AP of all events.
    assert drawn(one, "best").get_xdata()[0] == 2
    one = Figure().subplots()
    draw_training(HISTORY, [one, two], measures=["loss", "closed_share"])
    assert (one.get_ylabel(), two.get_ylabel()) == ("training loss", "closed share")


def test_refuses_axes_that_are_too_few_and_says_for_which_panels():
    with pytest.raises(InputError, match=r"ax has 1 axes for 4 panels \(training loss, validation"):
        draw_training(HISTORY, Figure().subplots())


@pytest.mark.parametrize(
    ("history", "options", "said"),
    [
        (
            [],
            {},
            "no numbers to draw; expected some of loss, val_ap, new_node_val_ap, mean_rate, c",
        ),
        ([{"epoch": 1, "lr": 0.1}], {}, "no numbers to draw"),
        (HISTORY, {"measures": []}, "no numbers to draw"),
        ([{"epoch": 1, "loss": 1.0}, {"loss": 1.0}], {}, "record 1 of the history is no dict with"),
        ([[1, 0.5]], {}, "record 0 of the history is no dict"),
        ([{"epoch": 1, "loss": "low"}], {}, "has 'low' as loss; expected a number"),
        ([{"epoch": "one", "loss": 1.0}], {}, "has 'one' as epoch; expected a number"),
        (
            HISTORY,
            {"measures": ["accuracy"]},
            "measures has 'accuracy'; expected some of loss, val",
        ),
    ],
)
def test_refuses_what_it_cannot_draw(history, options, said):
    with pytest.raises(InputError, match=said):
        draw_training(history, **options)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_log_is_drawn_as_its_records_are(tmp_path, suffix):
    log = tmp_path / f"log{suffix}"
    if suffix == ".csv":
        keys = list(HISTORY[0])
        rows = [",".join(str(each[key]) for key in keys) for each in HISTORY]
        log.write_text(
            "\n".join([",".join([*keys, "kind"]), *(f"{row},train" for row in rows), ""])
        )
    else:
        lines = [json.dumps({"kind": "start"}), *map(json.dumps, HISTORY)]
        log.write_text("\n".join([*lines, '{"epoch": 4, "lo']))
    figure, expected = draw_training(log), draw_training(HISTORY)
    for key in ("loss", "val_ap", "new_node_val_ap", "mean_rate", "closed_share"):
        assert curve(figure, key) == curve(expected, key)
    assert [each["epoch"] for each in read_log(str(log))] == [1, 2, 3]


def test_the_folder_of_a_training_is_drawn_by_its_log(tmp_path):
    write_log(tmp_path, [{**each, "val_auc": 0.9, "mean_rate": math.nan} for each in HISTORY])
    figure = draw_training(tmp_path)
    assert curve(figure, "loss") == [(each["epoch"], each["loss"]) for each in HISTORY]
    assert [ax.get_ylabel() for ax in figure.axes] == [LABELS[0], LABELS[1], LABELS[3]]


def test_an_empty_field_of_a_csv_is_a_gap(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss,val_ap\n1,0.5,\n2,,0.9\n")
    figure = draw_training(log)
    np.testing.assert_equal(curve(figure, "loss"), [(1, 0.5), (2, np.nan)])
    np.testing.assert_equal(curve(figure, "val_ap"), [(1, np.nan), (2, 0.9)])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.jsonl", "no json\n"),
        ("log.jsonl", "[1, 2]\n"),
        ("log.csv", "epoch,loss\n1,low\n"),
        ("log.jsonl", "\xff"),
        ("missing.jsonl", None),
    ],
)
def test_refuses_files_that_are_no_log(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"(log|missing)\.(jsonl|csv) is not the log of a"):
        draw_training(tmp_path / name)
