"""Pictures of explanations: what is drawn, how strongly and where, and what is refused."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from nseg_artists import KEPT, MASKED, PATH, PLACES, artists, between, drawn, lines, path
from torch_geometric.explain.config import ModelConfig

from zoo_core.errors import ConfigError, InputError, SaveError, ZooError
from zoo_nseg.molecules import draw_molecule
from zoo_nseg.pictures import draw_explanation, save_picture


def test_both_directions_are_one_line_of_the_larger_mask():
    widths = lines(draw_explanation(path(), positions=PLACES))
    assert widths == {
        between(PLACES, 0, 1): pytest.approx(KEPT),
        between(PLACES, 1, 2): pytest.approx((MASKED + KEPT) / 2),
        between(PLACES, 2, 3): pytest.approx(MASKED),
    }


def test_a_line_is_the_stronger_the_larger_the_mask_and_drawn_later():
    collection = drawn(draw_explanation(path(), positions=PLACES), "edges")
    alpha = collection.get_colors()[:, 3]
    assert (np.diff(collection.get_linewidths()) > 0).all()
    assert (np.diff(alpha) > 0).all()
    assert alpha[-1] == 1


def test_the_hard_explanation_counts_a_half_in():
    widths = lines(draw_explanation(path(), positions=PLACES, hard=True))
    assert widths[between(PLACES, 1, 2)] == pytest.approx(KEPT)
    assert widths[between(PLACES, 2, 3)] == pytest.approx(MASKED)
    nodes = drawn(
        draw_explanation(path(node_mask=torch.tensor([[0.5], [0.49], [1.0], [0.0]])), hard=True),
        "nodes",
    )
    assert nodes.get_array().tolist() == [1, 0, 1, 0]


def test_parallel_edges_are_one_line():
    doubled = path(edge_index=PATH.repeat(1, 2), edge_mask=torch.linspace(0, 1, 12))
    assert len(lines(draw_explanation(doubled, positions=PLACES))) == 3


def test_an_edge_of_one_direction_is_an_arrow_that_way():
    one_way = path(
        edge_index=torch.tensor([[0, 1, 2, 3], [1, 0, 1, 2]]),
        edge_mask=torch.tensor([0.0, 0.0, 1.0, 0.5]),
    )
    ax = draw_explanation(one_way, positions=PLACES)
    assert list(lines(ax)) == [between(PLACES, 0, 1)]
    arrows = {
        tuple(map(tuple, each._posA_posB)): each.get_linewidth() for each in artists(ax, "arrows")
    }
    assert arrows == {
        ((2.0, 0.0), (1.0, 0.0)): pytest.approx(KEPT),
        ((3.0, 1.0), (2.0, 0.0)): pytest.approx((MASKED + KEPT) / 2),
    }


def test_a_self_loop_is_a_circle_at_its_node():
    looped = path(
        edge_index=torch.tensor([[0, 1, 2, 2, 2], [1, 0, 2, 3, 2]]),
        edge_mask=torch.tensor([0.0, 0.0, 0.1, 0.0, 1.0]),
    )
    (circle,) = artists(draw_explanation(looped, positions=PLACES), "loops")
    assert circle.get_linewidth() == pytest.approx(KEPT)
    assert np.linalg.norm(np.subtract(circle.center, PLACES[2])) < circle.radius
    assert not circle.get_fill()


def test_nodes_are_coloured_by_their_mask_else_by_their_edges_or_as_told():
    by_mask = draw_explanation(path(node_mask=torch.tensor([[0.1], [0.9], [0.5], [0.3]])))
    np.testing.assert_allclose(drawn(by_mask, "nodes").get_array(), [0.1, 0.9, 0.5, 0.3], atol=1e-7)
    by_edges = draw_explanation(path())
    np.testing.assert_allclose(drawn(by_edges, "nodes").get_array(), [1, 1, 0.5, 0])
    told = draw_explanation(path(), node_values=[0.0, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(drawn(told, "nodes").get_array(), [0, 0.25, 0.5, 1])
    for ax in (by_mask, by_edges, told):
        assert drawn(ax, "nodes").get_clim() == (0, 1)


def test_without_an_edge_mask_edges_are_faint():
    ax = draw_explanation(path(edge_mask=None, node_mask=torch.rand(4, 1)), positions=PLACES)
    assert set(lines(ax).values()) == {MASKED}


def test_the_explained_nodes_are_ringed():
    config = ModelConfig("multiclass_classification", "node", "raw")
    single = path(index=torch.tensor([2]))
    single._model_config = config
    ring = drawn(draw_explanation(single, positions=PLACES), "explained")
    np.testing.assert_array_equal(ring.get_offsets(), PLACES[[2]])
    several = path(index=torch.tensor([3, 0, 3]), khop_edge_ids=torch.arange(6))
    ring = drawn(draw_explanation(several, positions=PLACES), "explained")
    np.testing.assert_array_equal(ring.get_offsets(), PLACES[[0, 3]])


def test_no_node_is_ringed_where_a_graph_is_explained():
    whole = path(index=torch.tensor([0]))
    assert not artists(draw_explanation(whole), "explained")
    whole._model_config = ModelConfig("multiclass_classification", "graph", "raw")
    assert not artists(draw_explanation(whole), "explained")


def test_what_is_too_far_to_matter_is_left_out_unless_asked_for():
    local = path(index=torch.tensor([0]), khop_edge_ids=torch.tensor([0, 1]))
    near = draw_explanation(local, positions=PLACES)
    np.testing.assert_array_equal(drawn(near, "nodes").get_offsets(), PLACES[:2])
    assert list(lines(near)) == [between(PLACES, 0, 1)]
    everything = draw_explanation(local, positions=PLACES, only_neighbourhood=False)
    assert len(drawn(everything, "nodes").get_offsets()) == 4
    assert len(lines(everything)) == 3


def test_an_isolated_node_is_drawn_alone():
    alone = path(index=torch.tensor([3]), khop_edge_ids=torch.empty(0, dtype=torch.long))
    ax = draw_explanation(alone)
    assert len(drawn(ax, "nodes").get_offsets()) == 1
    assert len(drawn(ax, "explained").get_offsets()) == 1
    assert not lines(ax)


def test_true_edges_are_dashed_whichever_direction_is_marked():
    ax = draw_explanation(path(), positions=PLACES, truth=torch.tensor([0, 1, 1, 0, 0, 0]).bool())
    assert set(lines(ax, "truth")) == {between(PLACES, 0, 1), between(PLACES, 1, 2)}
    assert drawn(ax, "truth").get_linestyles()[0][1] is not None
    assert [each.get_text() for each in ax.get_legend().get_texts()] == ["ground truth"]
    assert draw_explanation(path()).get_legend() is None


def test_labels_stand_at_their_nodes():
    ax = draw_explanation(path(), positions=PLACES, node_labels=["a", "$b$", "c", "d"])
    assert {each.get_text(): each.get_position() for each in ax.texts} == {
        text: tuple(place) for text, place in zip(["a", "$b$", "c", "d"], PLACES, strict=True)
    }
    assert not ax.texts[1].get_parse_math()
    some = draw_explanation(path(), positions=PLACES, node_labels={2: "here"})
    assert [(each.get_text(), each.get_position()) for each in some.texts] == [("here", (2.0, 0.0))]


def test_the_title_says_label_and_bounds_unless_told():
    assert draw_explanation(path()).get_title() == "label 1; PNS in [0.25, 0.88]"
    assert (
        draw_explanation(path(label=torch.arange(6)))
        .get_title()
        .startswith("label 0, 1, 2, 3, ...;")
    )
    bare = path(label=None, pns_lower=None)
    assert draw_explanation(bare).get_title() == ""
    assert draw_explanation(path(), title="$mine").get_title() == "$mine"
    assert draw_explanation(path(), title="").get_title() == ""


def test_the_layout_depends_on_the_seed_alone():
    def places(explanation, **options):
        return drawn(draw_explanation(explanation, **options), "nodes").get_offsets()

    other = path(edge_mask=torch.tensor([0.0, 0.0, 1.0, 0.5, 0.9, 0.1]))
    np.testing.assert_array_equal(places(path()), places(other))
    np.testing.assert_array_equal(places(path(), seed=3), places(other, seed=3))
    assert not np.allclose(places(path()), places(path(), seed=3))


def test_positions_can_be_tensors_or_by_number():
    by_number = {node: PLACES[node] for node in range(4)}
    for positions in (torch.from_numpy(PLACES), by_number):
        ax = draw_explanation(path(), positions=positions)
        np.testing.assert_array_equal(drawn(ax, "nodes").get_offsets(), PLACES)


def test_everything_lies_inside_the_axes():
    ax = draw_explanation(path(), positions=PLACES)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < -0.3
    assert right > 3.3
    assert bottom < -0.3
    assert top > 1.3
    assert ax.get_aspect() == 1


@pytest.mark.parametrize("draw", [draw_explanation, draw_molecule])
def test_draws_on_the_axes_given_and_needs_no_pyplot(draw):
    options = {"atoms": "mutag"} if draw is draw_molecule else {}
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert draw(path(), right, **options) is right
    assert len(right.collections) > 1
    assert not left.collections
    assert isinstance(draw(path(), **options).figure, Figure)


@pytest.mark.parametrize(
    ("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")]
)
def test_saves_the_same_file_every_time(tmp_path, suffix, begins):
    target = tmp_path / "new" / f"picture.{suffix}"
    save_picture(target, path(), seed=1, size=(2, 2), dpi=40)
    first = target.read_bytes()
    assert first.startswith(begins)
    save_picture(target, path(), seed=1, size=(2, 2), dpi=40)
    assert target.read_bytes() == first
    save_picture(target, path(), atoms="mutag", size=(2, 2), dpi=40)
    assert target.read_bytes() != first
    assert [each.name for each in target.parent.iterdir()] == [target.name]


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(tmp_path):
    target = tmp_path / "picture.png"
    target.write_bytes(b"old")
    with pytest.raises(InputError):
        save_picture(target, path(), node_labels=["too", "few"])
    assert target.read_bytes() == b"old"


def test_refuses_suffixes_and_places_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match=r"suffix is '\.jpg'; expected one of \.png, \.svg, \.pdf"):
        save_picture(tmp_path / "picture.jpg", path())
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="cannot write"):
        save_picture(tmp_path / "file" / "picture.png", path(), size=(1, 1), dpi=20)


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"edge_index": None}, {}, "no edge_index"),
        ({"edge_mask": None}, {}, "neither edge_mask nor node_mask"),
        ({"edge_mask": torch.ones(5)}, {}, r"edge_mask has shape \(5,\); expected 6"),
        ({"edge_mask": torch.full((6,), 1.5)}, {}, r"edge_mask holds 1\.5"),
        ({"edge_mask": torch.full((6,), torch.nan)}, {}, "edge_mask holds nan"),
        ({"node_mask": torch.ones(4, 7)}, {}, r"node_mask has shape \(4, 7\)"),
        ({"node_mask": -torch.ones(4, 1)}, {}, r"node_mask holds -1\.0"),
        ({}, {"truth": torch.ones(3).bool()}, r"truth has shape \(3,\)"),
        ({}, {"positions": PLACES[:2]}, r"positions have shape \(2, 2\)"),
        ({}, {"positions": {0: (0, 0), 1: (1, 1), 3: (2, 2)}}, "no finite place for node 2"),
        ({}, {"positions": PLACES * np.nan}, "no finite place for node 0"),
        ({}, {"positions": "spring"}, "positions is 'spring'; expected numbers"),
    ],
)
def test_refuses_what_it_cannot_draw(changes, options, said):
    for draw, more in ((draw_explanation, {}), (draw_molecule, {"atoms": "mutag"})):
        with pytest.raises(InputError, match=said):
            draw(path(**changes), **options, **more)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"node_labels": ["a"]}, "node_labels are 1 texts; expected 4"),
        ({"node_labels": "abcd"}, "node_labels are"),
        ({"node_values": [0.1]}, r"node_values has shape \(1,\); expected 4"),
        ({"node_values": [0, 1, 2, 0]}, r"node_values holds 2\.0"),
        ({"node_values": ["a", "b", "c", "d"]}, "node_values is .*expected numbers"),
    ],
)
def test_refuses_bad_labels_and_values(options, said):
    with pytest.raises(InputError, match=said):
        draw_explanation(path(), **options)


def test_says_how_to_get_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for draw in (
        draw_explanation,
        lambda it: draw_molecule(it, atoms="mutag"),
        lambda it: save_picture(tmp_path / "a.png", it),
    ):
        with pytest.raises(ConfigError, match=r"pip install 'zoo-nseg\[pictures\]'") as error:
            draw(path())
        assert isinstance(error.value, ZooError)
