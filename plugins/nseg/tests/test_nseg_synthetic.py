"""The synthetic graphs have the structure, labels and sizes of the official ones."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from zoo_core.errors import InputError, SaveError
from zoo_nseg.graph_file import read_graph, write_graph
from zoo_nseg.synthetic import ba_shapes, tree_cycles, tree_grid

MAKERS = {"BA-Shapes": ba_shapes, "Tree-Cycles": tree_cycles, "Tree-Grid": tree_grid}
NODES = {"BA-Shapes": 700, "Tree-Cycles": 871, "Tree-Grid": 1231}
BASE = {"BA-Shapes": 300, "Tree-Cycles": 511, "Tree-Grid": 511}
MOTIFS = {"BA-Shapes": 80, "Tree-Cycles": 60, "Tree-Grid": 80}
SPACING = {"BA-Shapes": 3, "Tree-Cycles": 8, "Tree-Grid": 6}
LABELS = {"BA-Shapes": [1, 1, 2, 2, 3], "Tree-Cycles": [1] * 6, "Tree-Grid": [1] * 9}
SHAPES = {
    "BA-Shapes": nx.Graph([(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4)]),
    "Tree-Cycles": nx.cycle_graph(6),
    "Tree-Grid": nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 3)),
}
PLAIN = {"BA-Shapes": 2035, "Tree-Cycles": 930, "Tree-Grid": 1550}
"""Undirected edges of base, motifs and the edges that they hang by."""


def pairs(graph: Data) -> set[tuple[int, int]]:
    return {(u, v) for u, v in graph.edge_index.T.tolist() if u < v}


def plain(name: str, seed: int = 0) -> Data:
    changes = {"second_edges": 0.0} if name == "Tree-Cycles" else {}
    return MAKERS[name](seed, extra_edges=0.0, **changes)


@pytest.mark.parametrize("name", MAKERS)
def test_structure_without_random_edges(name: str) -> None:
    graph, base, size = plain(name), BASE[name], len(LABELS[name])
    edges = pairs(graph)
    assert len(edges) == PLAIN[name]
    tree = nx.Graph([(u, v) for u, v in edges if v < base])
    assert nx.is_connected(tree)
    if name == "BA-Shapes":
        assert tree.number_of_edges() == 1475
        assert min(degree for _, degree in tree.degree) >= 1
        assert max(degree for _, degree in tree.degree) > 40
    else:
        branches = {(i, j) for i in range(255) for j in (2 * i + 1, 2 * i + 2)}
        assert {(u, v) for u, v in edges if v < base} == branches
    for number in range(MOTIFS[name]):
        first = base + number * size
        inside = {(u - first, v - first) for u, v in edges if first <= u and v < first + size}
        assert inside == {tuple(sorted(edge)) for edge in SHAPES[name].edges}
        hung = [(u, v) for u, v in edges if u < first <= v < first + size]
        assert hung == [(number * SPACING[name], first)]


@pytest.mark.parametrize("name", MAKERS)
def test_features_labels_motifs_and_ground_truth(name: str) -> None:
    graph, base = MAKERS[name](3), BASE[name]
    size = len(LABELS[name])
    assert graph.num_nodes == NODES[name]
    assert torch.equal(graph.x, torch.ones(NODES[name], 10))
    assert graph.y.tolist() == [0] * base + LABELS[name] * MOTIFS[name]
    motifs = [number for number in range(MOTIFS[name]) for _ in range(size)]
    assert graph.motif_id.tolist() == [-1] * base + motifs
    ids = graph.motif_id.tolist()
    expected = [ids[u] == ids[v] >= 0 for u, v in graph.edge_index.T.tolist()]
    assert graph.gt_edge_mask.tolist() == expected
    assert graph.is_undirected()
    assert not graph.has_self_loops()
    assert graph.is_coalesced()


def test_numbers_of_edges_are_the_official_ones() -> None:
    for seed in range(3):
        assert ba_shapes(seed).num_edges == 4110
        assert tree_grid(seed).num_edges == 3410
    counts = [tree_cycles(seed).num_edges for seed in range(30)]
    assert min(counts) >= 2 * int(1.01 * 930)
    assert max(counts) <= 2 * int(1.01 * 990)
    # Thirty cycles of sixty have a second edge on average: 2 * (960 + 9) edges.
    assert abs(np.mean(counts) - 1938) < 4


@pytest.mark.parametrize("name", ["BA-Shapes", "Tree-Cycles"])
def test_the_official_graph_is_of_this_structure(name: str) -> None:
    root = os.environ.get("ZOO_DATA")
    if not root or not (path := Path(root) / "nseg-synthetic" / f"{name}.npz").exists():
        pytest.skip(f"needs ZOO_DATA with nseg-synthetic/{name}.npz")
    official, ours = read_graph(path), plain(name)
    assert torch.equal(official.x, ours.x)
    assert torch.equal(official.y, ours.y)
    assert torch.equal(official.motif_id, ours.motif_id)
    base, size = BASE[name], len(LABELS[name])
    beyond = pairs(official) - pairs(ours)
    if name == "BA-Shapes":
        # Of the base only the number of edges repeats: three are random.
        inner = {(u, v) for u, v in pairs(official) | pairs(ours) if v < base}
        assert pairs(ours) - pairs(official) <= inner
        assert len(pairs(official)) - len(pairs(ours)) == int(0.01 * len(pairs(ours)))
        return
    assert pairs(ours) <= pairs(official)
    second = {
        (u, v)
        for u, v in beyond
        if u < base <= v
        and (v - base) % size in (1, 2, 3)
        and u - 8 * ((v - base) // size) in (1, 2, 3)
    }
    assert 15 <= len(second) <= 45
    assert len(beyond - second) == int(0.01 * (len(pairs(ours)) + len(second)))


def test_second_edges_join_a_cycle_to_nodes_after_its_own() -> None:
    graph = tree_cycles(0, extra_edges=0.0, second_edges=1.0)
    beyond = pairs(graph) - pairs(plain("Tree-Cycles"))
    assert sorted(graph.motif_id[v].item() for _, v in beyond) == list(range(60))
    places = Counter((u % 8, (v - 511) % 6) for u, v in beyond)
    assert {place for place, _ in places} == {1, 2, 3}
    assert {place for _, place in places} == {1, 2, 3}


def test_random_edges_fall_everywhere() -> None:
    graph = tree_grid(0, extra_edges=1.0)
    beyond = pairs(graph) - pairs(plain("Tree-Grid"))
    assert len(beyond) == 1550
    ends = torch.tensor(sorted(beyond)).flatten().double()
    # The mean of 3100 draws from 0 ... 1230, and its standard error of 6.4.
    assert abs(ends.mean() - 615) < 26
    share = (ends < 511).double().mean()
    assert abs(share - 511 / 1231) < 0.04


@pytest.mark.parametrize("name", MAKERS)
def test_the_split_is_a_random_fifth(name: str) -> None:
    graph = MAKERS[name](1)
    assert not (graph.train_mask & graph.test_mask).any()
    assert (graph.train_mask | graph.test_mask).all()
    assert int(graph.test_mask.sum()) == -(-NODES[name] // 5)
    assert 0.1 < graph.test_mask[: BASE[name]].double().mean() < 0.3


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_gives_one_graph_and_touches_no_global_state(name: str) -> None:
    states = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    first, again, other = (MAKERS[name](seed) for seed in (5, 5, 6))
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1][1])
    assert torch.equal(torch.get_rng_state(), states[2])
    assert all(torch.equal(first[key], again[key]) for key in first.keys())  # noqa: SIM118
    assert pairs(first) != pairs(other)
    assert not torch.equal(first.test_mask, other.test_mask)


@pytest.mark.parametrize("make", MAKERS.values())
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"seed": True}, "seed is True"),
        ({"extra_edges": -0.1}, r"extra_edges is -0.1; expected a number in \[0, 1\]"),
        ({"extra_edges": float("nan")}, "extra_edges is nan"),
        ({"extra_edges": "1"}, "extra_edges is '1'"),
    ],
)
def test_arguments_are_checked(
    make: Callable[..., Data], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(**arguments)


def test_the_share_of_second_edges_is_checked() -> None:
    with pytest.raises(InputError, match="second_edges is 2"):
        tree_cycles(second_edges=2)


def test_a_graph_is_written_and_read_back(tmp_path: Path) -> None:
    graph = ba_shapes()
    write_graph(graph, tmp_path / "new" / "graph.npz")
    back = read_graph(tmp_path / "new" / "graph.npz")
    assert sorted(back.keys()) == sorted(graph.keys())
    for name in graph.keys():  # noqa: SIM118 - not a mapping
        assert torch.equal(back[name], graph[name])
        assert back[name].dtype == graph[name].dtype
    bare = Data(x=torch.ones(2, 1).double(), edge_index=torch.zeros(2, 0).long(), extra="text")
    write_graph(bare, tmp_path / "new" / "graph.npz")
    back = read_graph(tmp_path / "new" / "graph.npz")
    assert sorted(back.keys()) == ["edge_index", "x"]
    assert back.x.dtype == torch.float64
    with pytest.raises(SaveError, match="cannot write"):
        write_graph(bare, tmp_path / "new" / "graph.npz" / "graph.npz")


def test_numbers_of_other_widths_are_read(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "graph.npz",
        edge_index=np.array([[0], [1]], dtype=">u2"),
        x=np.ones((2, 1), dtype=">f2"),
        y=np.array([0, 1], dtype=np.uint8),
    )
    graph = read_graph(tmp_path / "graph.npz")
    assert (graph.edge_index.tolist(), graph.y.tolist()) == ([[0], [1]], [0, 1])
    dtypes = [graph.edge_index.dtype, graph.y.dtype, graph.x.dtype]
    assert dtypes == [torch.int64, torch.int64, torch.float32]


GOOD = {"edge_index": np.array([[0, 1], [1, 0]]), "x": np.ones((2, 3)), "y": np.array([0, 1])}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, r"lacks x; expected edge_index and x"),
        ({"edge_index": np.array([[0, 2], [1, 0]])}, "goes from 0 to 2, but there are 2 nodes"),
        ({"edge_index": np.array([[0, -1], [1, 0]])}, "goes from -1 to 1"),
        ({"edge_index": np.zeros((3, 2), dtype=int)}, r"edge_index is int64 \[3, 2\]"),
        ({"edge_index": np.zeros((2, 2))}, r"edge_index is float64 \[2, 2\]"),
        ({"x": np.ones(2)}, r"x is float64 \[2\]; expected floating-point \[nodes, features\]"),
        ({"x": np.ones((2, 3), dtype=int)}, r"x is int64 \[2, 3\]"),
        ({"x": np.full((2, 3), np.inf)}, "x holds NaN or infinity"),
        ({"y": np.array([0.0, 1.0])}, r"y is float64 \[2\]; expected whole numbers \[2\]"),
        ({"y": np.array([0])}, r"y is int64 \[1\]"),
        (
            {"gt_edge_mask": np.array([0, 1])},
            r"gt_edge_mask is int64 \[2\]; expected bool \[2\]",
        ),
        ({"motif_id": np.array([True, False])}, "motif_id is bool"),
        ({"x": np.array([[object()]])}, "cannot be read as an .npz file of plain arrays"),
    ],
)
def test_files_that_hold_no_graph(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    arrays = {name: it for name, it in {**GOOD, **changes}.items() if it is not None}
    np.savez(tmp_path / "graph.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_graph(tmp_path / "graph.npz")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_graph(tmp_path / "absent.npz")
    (tmp_path / "graph.npz").write_bytes(b"text")
    with pytest.raises(InputError, match=r"cannot be read as an \.npz"):
        read_graph(tmp_path / "graph.npz")
    with pytest.raises(InputError, match="the graph lacks edge_index"):
        write_graph(Data(x=torch.ones(1, 1)), tmp_path / "graph.npz")
