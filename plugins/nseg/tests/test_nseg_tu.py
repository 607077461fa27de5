"""TU data sets are read as torch_geometric reads them, and nothing is written beside them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import TUDataset

from zoo_core.errors import InputError
from zoo_nseg.tu import mutagenicity_ground_truth, read_tu, split

# Three graphs: a path of three nodes, a triangle, one node alone; edges in no order.
FILES = {
    "A": "2, 1\n1, 2\n3, 2\n2, 3\n6, 4\n4, 5\n5, 4\n6, 5\n5, 6\n4, 6",
    "graph_indicator": "1\n1\n1\n2\n2\n2\n3",
    "graph_labels": "1\n-1\n1",
    "node_labels": "2\n4\n2\n3\n3\n3\n4",
    "edge_labels": "0\n0\n2\n2\n1\n1\n1\n1\n1\n1",
}


def written(root: Path, name: str = "SMALL", **changes: str | None) -> Path:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for part, text in {**FILES, **changes}.items():
        if text is not None:
            (raw / f"{name}_{part}.txt").write_text(text + "\n")
    return root


def data(name: str) -> Path:
    root = os.environ.get("ZOO_DATA")
    if not root or not (folder := Path(root) / name).is_dir():
        pytest.skip(f"needs ZOO_DATA with {name}")
    return folder


def test_a_small_data_set(tmp_path: Path) -> None:
    path, triangle, alone = read_tu(written(tmp_path), "SMALL")
    assert path.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert triangle.edge_index.tolist() == [[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]]
    assert alone.edge_index.shape == (2, 0)
    assert path.x.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert alone.x.tolist() == [[0, 0, 1]]
    assert [graph.y.tolist() for graph in (path, triangle, alone)] == [[1], [0], [1]]
    assert path.edge_attr.argmax(dim=1).tolist() == [0, 0, 2, 2]
    assert alone.edge_attr.shape == (0, 3)
    assert sorted(each.name for each in (tmp_path / "SMALL").iterdir()) == ["raw"]


def test_edge_labels_are_optional_and_attributes_left_out(tmp_path: Path) -> None:
    attributes = "\n".join(["0.5, 1.5"] * 7)
    root = written(tmp_path, edge_labels=None, node_attributes=attributes)
    path, *_ = read_tu(root, "SMALL")
    assert path.edge_attr is None
    assert path.x.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(("folder", "name"), [("nseg-mutag", "MUTAG"), ("nseg-msrc21", "MSRC_21")])
def test_real_data_as_torch_geometric_gives_it(folder: str, name: str, tmp_path: Path) -> None:
    source = data(folder)
    before = sorted(source.rglob("*"))
    graphs = read_tu(source, name)
    assert sorted(source.rglob("*")) == before
    shutil.copytree(source / name / "raw", tmp_path / name / "raw", copy_function=shutil.copyfile)
    theirs = TUDataset(str(tmp_path), name)
    assert len(graphs) == len(theirs) > 100
    for ours, each in zip(graphs, theirs, strict=True):
        assert sorted(ours.keys()) == sorted(each.keys())
        for key in each.keys():  # noqa: SIM118 - not a mapping
            assert torch.equal(ours[key], each[key])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"A": None}, r"there is no file .*SMALL_A\.txt"),
        ({"graph_labels": None}, r"there is no file .*SMALL_graph_labels\.txt"),
        ({"node_labels": None}, "expected node labels"),
        ({"node_labels": "1\n2"}, "SMALL"),
        ({"graph_indicator": "1\n1\n1\n3\n3\n3\n2"}, "nodes listed graph by graph"),
        ({"graph_indicator": "2\n2\n2\n3\n3\n3\n4"}, "nodes listed graph by graph, from graph 1"),
        ({"graph_indicator": "1\n1\nx"}, "not a table of whole numbers"),
        ({"graph_labels": "1\n-1"}, "2 graph labels for 3 graphs"),
        ({"A": "1, 2\n2, 1\n1, 9"}, "the files of SMALL cannot be read"),
        ({"A": "1, 4\n2, 1", "edge_labels": "0\n0"}, "an edge of graph 1 leads to another graph"),
        ({"A": "1, 0\n2, 1", "edge_labels": "0\n0"}, "SMALL"),
    ],
)
def test_files_that_do_not_fit(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_tu(written(tmp_path, **changes), "SMALL")


# The first graph is a mutagen (class 0); marks in the second are ignored.
MARKED = {"graph_labels": "0\n1\n1", "edge_labels": None, "edge_gt": "0\n0\n1\n1\n1\n1\n1\n0\n0\n1"}


def test_marks_are_found_by_edge_and_not_by_place(tmp_path: Path) -> None:
    root = written(tmp_path, "Mutagenicity", **MARKED)
    graphs = read_tu(root, "Mutagenicity")
    path, triangle, alone = mutagenicity_ground_truth(root, graphs)
    assert path.gt_edge_mask.tolist() == [False, False, True, True]
    assert triangle.gt_edge_mask.tolist() == [False] * 6
    assert alone.gt_edge_mask.shape == (0,)
    assert path.gt_edge_mask.dtype == torch.bool
    assert path.x is graphs[0].x
    assert "gt_edge_mask" not in graphs[0]
    swapped = written(tmp_path / "swapped", "Mutagenicity", **{**MARKED, "graph_labels": "1\n0\n1"})
    _, triangle, _ = mutagenicity_ground_truth(swapped, read_tu(swapped, "Mutagenicity"))
    # 6-4, 4-5 and 5-4 are marked, 6-5 too by one of its lines; the reader's order is by row.
    edges = (triangle.edge_index.T[triangle.gt_edge_mask] + 4).tolist()
    assert edges == [[4, 5], [4, 6], [5, 4], [6, 4]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edge_gt": None}, "there is no file"),
        ({"edge_gt": "0\n1"}, "2 lines; expected a 0 or 1 for each of the 10 edges"),
        ({"edge_gt": "0\n0\n1\n1\n1\n1\n1\n0\n0\n2"}, "expected a 0 or 1"),
        ({"edge_gt": "0, 1\n0, 1"}, "has 2 columns; expected 1"),
    ],
)
def test_marks_that_do_not_fit(
    changes: dict[str, str | None], message: str, tmp_path: Path
) -> None:
    root = written(tmp_path, "Mutagenicity", **{**MARKED, **changes})
    with pytest.raises(InputError, match=message):
        mutagenicity_ground_truth(root, read_tu(root, "Mutagenicity"))


def test_other_graphs_than_those_of_the_file(tmp_path: Path) -> None:
    root = written(tmp_path, "Mutagenicity", **MARKED)
    graphs = read_tu(root, "Mutagenicity")
    others: list[list[Data]] = [graphs[:1], [graphs[1], graphs[0], graphs[2]]]
    for each in others:
        with pytest.raises(InputError, match=r"not those of Mutagenicity_A\.txt"):
            mutagenicity_ground_truth(root, each)
    with pytest.raises(InputError, match="there are no graphs"):
        mutagenicity_ground_truth(root, [])


def test_the_published_marks() -> None:
    folder = data("nseg-mutagenicity-gt")
    graphs = mutagenicity_ground_truth(folder, read_tu(folder, "Mutagenicity"))
    assert len(graphs) == 2301
    classes = [int(graph.y) for graph in graphs]
    assert (classes.count(0), classes.count(1)) == (448, 1853)
    marked = [int(graph.gt_edge_mask.sum()) for graph in graphs]
    assert sum(marked) == 9892
    # Every mutagen kept has a toxicophore, both directions of each bond marked.
    assert all((count > 0) == (label == 0) for count, label in zip(marked, classes, strict=True))
    for graph in graphs[:50]:
        ends = graph.edge_index.T[graph.gt_edge_mask].tolist()
        assert sorted(ends) == sorted([v, u] for u, v in ends)


def test_a_split_holds_a_random_share_out() -> None:
    train, test = split(188, 0)
    assert (len(train), len(test)) == (150, 38)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(188))
    assert train.tolist() == sorted(train.tolist())
    assert test.tolist() == sorted(test.tolist()) != list(range(38))
    again, other = split(188, 0)[1], split(188, 1)[1]
    assert torch.equal(test, again)
    assert not torch.equal(test, other)
    counts = torch.zeros(10)
    for seed in range(500):
        counts[split(10, seed, 0.3)[1]] += 1
    assert (counts - 150).abs().max() < 45  # each in three tenths of the tests, sd 10


def test_a_split_leaves_the_global_state() -> None:
    before = torch.get_rng_state()
    split(10, 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 0), "leaves one part empty"),
        ((0, 0), "leaves one part empty"),
        ((3, 0, 0.9), "leaves one part empty"),
        ((10, -1), "seed is -1"),
        ((10.0, 0), "n is 10.0"),
        ((10, 0, 0.0), "test is 0.0; expected a share"),
        ((10, 0, 1), "test is 1"),
        ((10, 0, float("nan")), "test is nan"),
    ],
)
def test_splits_that_are_none(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(*arguments)
