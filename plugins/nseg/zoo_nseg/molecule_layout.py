"""Where the atoms of a molecule stand in its picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import networkx as nx
import numpy as np
from numpy.typing import NDArray

_APART = 0.35
"""Atoms nearer than this, in lengths of a bond, hide each other."""
_GAP = 1.5
Places = NDArray[np.float64]


def molecule_layout(number: int, bonds: Iterable[tuple[int, int]]) -> Places:
    """Returns [N, 2] places, the same for the same molecule; bonds are 1 long on average.

    Each connected part is laid out by Kamada and Kawai's method (Information Processing Letters 31,
    1989), from several beginnings until no bonds cross. The parts of a salt stand side by side.

    Args:
        number: N, of atoms.
        bonds: pairs of atoms, in any order and direction.
    """
    whole = nx.Graph()
    whole.add_nodes_from(range(number))
    # In one order, so that sums over bonds round alike.
    whole.add_edges_from(sorted({(min(pair), max(pair)) for pair in bonds if pair[0] != pair[1]}))
    places, right = np.zeros((number, 2)), 0.0
    parts = [sorted(part) for part in nx.connected_components(whole)]
    for part in sorted(parts, key=lambda each: (-len(each), each)):
        local = _part_layout(whole, part)
        local[:, 0] += right - local[:, 0].min()
        right = local[:, 0].max() + _GAP
        places[part] = local
    return places


def _part_layout(whole: nx.Graph, part: list[int]) -> Places:
    """[n, 2] for the atoms of a connected part, its longest side level."""
    if len(part) == 1:
        return np.zeros((1, 2))
    row = {node: place for place, node in enumerate(part)}
    graph = nx.Graph()
    graph.add_nodes_from(range(len(part)))
    graph.add_edges_from((row[one], row[two]) for one, two in sorted(whole.subgraph(part).edges))
    bonds = np.array(graph.edges)
    best, fewest = np.zeros((len(part), 2)), np.inf
    for begin in _beginnings():
        layout = nx.kamada_kawai_layout(graph, pos=begin(graph))
        places = np.array([layout[node] for node in range(len(part))])
        places -= places.mean(axis=0)
        places /= np.linalg.norm(places[bonds[:, 0]] - places[bonds[:, 1]], axis=1).mean()
        faults = _crossings(places, bonds) + _hidden(places)
        if faults < fewest:
            best, fewest = places, faults
        if not faults:
            break
    return best @ np.linalg.svd(best)[2].T


def _beginnings() -> Iterator[Callable[[nx.Graph], dict[int, Places]]]:
    yield nx.circular_layout
    yield _spectral
    for seed in range(3):
        yield lambda graph, seed=seed: nx.spring_layout(graph, seed=seed)


def _spectral(graph: nx.Graph) -> dict[int, Places]:
    """A spectral layout in which no two atoms share a place, as alike atoms of one neighbour do."""
    circle, places = nx.circular_layout(graph), nx.spectral_layout(graph)
    return {node: places[node] + 0.05 * circle[node] for node in graph}


def _crossings(places: Places, bonds: NDArray[np.int64]) -> int:
    """How many pairs of bonds cross at an inner point of both."""
    one, two = places[bonds[:, 0]], places[bonds[:, 1]]
    # Entry [i, j]: on which side of bond i the ends of bond j lie.
    first = _sides(one[:, None], two[:, None], one[None])
    second = _sides(one[:, None], two[:, None], two[None])
    apart = first * second < -1e-9
    return int((apart & apart.T).sum()) // 2


def _sides(one: Places, two: Places, point: Places) -> Places:
    along, to = two - one, point - one
    return along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]


def _hidden(places: Places) -> int:
    """How many pairs of atoms lie too near each other."""
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return int((np.triu(distances < _APART, k=1)).sum())
