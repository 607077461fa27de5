"""The three synthetic graphs with known motifs: BA-Shapes, Tree-Cycles, Tree-Grid.

Copies of a motif hang on a base graph; a node's label tells its role, so that the edges of its
motif are what a classifier must have seen. Structure, labels and numbers follow the graphs inside
the official checkpoints, which follow GNNExplainer's (arXiv 1903.03894): motif i hangs by its
node 0 on base node i * (base nodes // motifs), and a share of random edges is added at the end.
(`torch_geometric.datasets.ExplainerDataset` hangs motifs on random nodes by random nodes and
adds no edges; its `BAGraph` draws with replacement and so has fewer than 5 edges a node.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import networkx as nx
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.datasets.graph_generator import TreeGraph
from torch_geometric.datasets.motif_generator import (
    CustomMotif,
    CycleMotif,
    GridMotif,
    HouseMotif,
)
from torch_geometric.utils import to_undirected

from zoo_core.errors import InputError
from zoo_nseg.graph_file import read_graph, write_graph
from zoo_nseg.tu import split

__all__ = ["ba_shapes", "read_graph", "tree_cycles", "tree_grid", "write_graph"]

_FEATURES = 10
_TEST = 0.2


def ba_shapes(seed: int = 0, *, extra_edges: float = 0.01) -> Data:
    """Generates BA-Shapes: 80 houses on a Barabasi-Albert graph of 300 nodes, 4110 directed edges.

    Labels: 0 in the base; in a house 1 for the two nodes at mid height, 2 for the two at the
    bottom, 3 for the top.

    Args:
        seed: of the base graph, the random edges and the split; no global random state is used.
        extra_edges: random edges, as a share of all others.

    Returns:
        `x` [700, 10] ones, `edge_index` [2, E] with both directions, sorted, `y` [N], `motif_id`
        [N] (-1 in the base), `gt_edge_mask` bool [E] (both ends in one motif), and `train_mask`
        and `test_mask` bool [N], a random 80 % and the rest.

    Raises:
        InputError: an argument out of range.
    """
    generator = _generator(seed)
    # networkx has a random state of its own for each call.
    base = nx.barabasi_albert_graph(300, 5, seed=_draw(2**31, generator))
    house = HouseMotif()
    return _assembled(base, 80, house, house.structure.y + 1, extra_edges, generator, seed)


def tree_cycles(seed: int = 0, *, extra_edges: float = 0.01, second_edges: float = 0.5) -> Data:
    """Generates Tree-Cycles: 60 six-cycles on a binary tree of depth 8, about 1934 directed edges.

    Labels: 1 in a cycle, 0 in the tree.

    Args:
        seed: of the random edges and the split; no global random state is used.
        extra_edges: random edges, as a share of all others.
        second_edges: the probability that a cycle has a second edge, from one of its nodes 1 to 3
            to one of the 1st to 3rd base nodes after the one that it hangs on.

    Returns:
        As `ba_shapes`, with 871 nodes.

    Raises:
        InputError: an argument out of range.
    """
    generator = _generator(seed)
    second_edges = _share("second_edges", second_edges)
    ones = torch.ones(6, dtype=torch.int64)
    return _assembled(_tree(), 60, CycleMotif(6), ones, extra_edges, generator, seed, second_edges)


def tree_grid(seed: int = 0, *, extra_edges: float = 0.1) -> Data:
    """Generates Tree-Grid: 80 grids of 3 x 3 nodes on a binary tree of depth 8, 3410 edges.

    Labels: 1 in a grid, 0 in the tree.

    Args:
        seed: of the random edges and the split; no global random state is used.
        extra_edges: random edges, as a share of all others. The official graph is not among our
            files; with a tenth the number of edges is that of the official one.

    Returns:
        As `ba_shapes`, with 1231 nodes.

    Raises:
        InputError: an argument out of range.
    """
    generator = _generator(seed)
    ones = torch.ones(9, dtype=torch.int64)
    return _assembled(_tree(), 80, GridMotif(), ones, extra_edges, generator, seed)


def _tree() -> nx.Graph:
    """A binary tree of depth 8, its nodes numbered level by level, as the official ones are."""
    tree = TreeGraph(depth=8)()
    order = torch.argsort(tree.depth, stable=True)
    number = torch.empty_like(order)
    number[order] = torch.arange(len(order))
    graph = nx.Graph()
    graph.add_nodes_from(range(len(order)))
    graph.add_edges_from(number[tree.edge_index].T.tolist())
    return graph


def _assembled(
    base: nx.Graph,
    num_motifs: int,
    motif: CustomMotif,
    labels: Tensor,
    extra_edges: float,
    generator: torch.Generator,
    seed: int,
    second_edges: float = 0.0,
) -> Data:
    """Hangs the motifs on the base, adds random edges, and labels everything."""
    extra_edges = _share("extra_edges", extra_edges)
    graph, num_base, size = base.copy(), base.number_of_nodes(), len(labels)
    for number in range(num_motifs):
        on, first = number * (num_base // num_motifs), num_base + number * size
        graph.add_edges_from((motif.structure.edge_index + first).T.tolist())
        graph.add_edge(on, first)
        if second_edges and torch.rand((), generator=generator) < second_edges:
            by, beside = 1 + _draw(3, generator), 1 + _draw(3, generator)
            graph.add_edge(on + beside, first + by)
    _add_random_edges(graph, int(extra_edges * graph.number_of_edges()), generator)
    motif_id = torch.cat(
        [torch.full((num_base,), -1), torch.arange(num_motifs).repeat_interleave(size)]
    )
    edge_index = _edge_index(graph.edges, graph.number_of_nodes())
    source, destination = motif_id[edge_index]
    train, test = (torch.zeros(len(motif_id), dtype=torch.bool) for _ in range(2))
    for mask, nodes in zip((train, test), split(len(motif_id), seed, _TEST), strict=True):
        mask[nodes] = True
    return Data(
        x=torch.ones(len(motif_id), _FEATURES),
        edge_index=edge_index,
        y=torch.cat([torch.zeros(num_base, dtype=torch.int64), labels.repeat(num_motifs)]),
        motif_id=motif_id,
        gt_edge_mask=(source >= 0) & (source == destination),
        train_mask=train,
        test_mask=test,
    )


def _add_random_edges(graph: nx.Graph, number: int, generator: torch.Generator) -> None:
    """Joins pairs of nodes that are not neighbours, each as likely as any other."""
    nodes, wanted = graph.number_of_nodes(), graph.number_of_edges() + number
    while graph.number_of_edges() < wanted:
        u, v = _draw(nodes, generator), _draw(nodes, generator)
        if u != v:
            graph.add_edge(u, v)


def _edge_index(edges: Iterable[tuple[int, int]], num_nodes: int) -> Tensor:
    pairs = torch.tensor(list(edges), dtype=torch.int64).T.contiguous()
    both: Tensor = to_undirected(pairs, num_nodes=num_nodes)
    return both


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))


def _generator(seed: Any) -> torch.Generator:
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed!r}; expected a whole number from 0 to 2^63 - 1.")
    return torch.Generator().manual_seed(int(seed))


def _share(name: str, value: Any) -> float:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not (math.isfinite(value) and 0 <= value <= 1):
        raise InputError(f"{name} is {value!r}; expected a number in [0, 1].")
    return float(value)
