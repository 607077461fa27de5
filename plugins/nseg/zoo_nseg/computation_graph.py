"""The part of a graph that an output node can depend on.

After L rounds of message passing a node depends on the features of the nodes within L hops and on
the messages over edges that end within L - 1 hops: the *influencing* edges. Layers that count
degrees also need to know of every other edge at those nodes; these keep their place, but their
far ends become one node that stands for everything outside, and nothing is sent over them.

L is how often the model passes messages. Where layers run side by side it is more than the model's
depth: then some edges count as influencing that are not, which costs time and changes no output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class ComputationGraph:
    """What some output nodes depend on, in a graph of its own.

    Attributes:
        nodes: [n] int64, ascending: the nodes within L hops, as ids of the whole graph.
        distance: [n] int64, hops to the nearest output node.
        edges: [e] int64, ascending: the edges that touch these nodes, as ids of the whole graph.
        edge_index: [2, e] int64 in positions of `nodes`; n is the node outside.
        outside: a node of the whole graph that lends its features to the node outside; None if
            there is nothing outside.
        messages: [m] int64, ascending: positions in `edges` of the influencing edges.
        inner: [k] int64: ids of the edges between nodes within L hops.
    """

    nodes: Tensor
    distance: Tensor
    edges: Tensor
    edge_index: Tensor
    outside: int | None
    messages: Tensor
    inner: Tensor


class Neighbourhoods:
    """Finds computation graphs in one graph.

    Args:
        edge_index: [2, E] int64.
        num_nodes: N.
        flow: "source_to_target" or "target_to_source", as the layers pass messages.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, flow: str = "source_to_target") -> None:
        ends = edge_index.cpu().numpy()
        self._source, self._target = ends if flow == "source_to_target" else ends[::-1]
        self._ends = ends
        self._device = edge_index.device
        self._into = _Adjacency(self._target, num_nodes)
        self._out_of = _Adjacency(self._source, num_nodes)

    def around(self, seeds: Tensor, hops: int) -> ComputationGraph:
        """Returns what the nodes `seeds` [R] depend on after `hops` rounds of message passing."""
        nodes = frontier = np.unique(seeds.cpu().numpy())
        distance = np.zeros(len(nodes), dtype=np.int64)
        for hop in range(1, hops + 1):
            reached = np.unique(self._source[self._into.edges(frontier)])
            frontier = np.setdiff1d(reached, nodes, assume_unique=True)
            if not len(frontier):
                break
            order = np.argsort(np.concatenate([nodes, frontier]), kind="stable")
            nodes = np.concatenate([nodes, frontier])[order]
            far = np.full(len(frontier), hop, dtype=np.int64)
            distance = np.concatenate([distance, far])[order]
        edges = np.union1d(self._into.edges(nodes), self._out_of.edges(nodes))
        local = np.stack([_positions(nodes, end[edges]) for end in self._ends])
        inside = (local < len(nodes)).all(0)
        target = _positions(nodes, self._target[edges])
        reach = np.append(distance, hops)  # of the node outside, whose own state never matters
        far_ends = self._ends[:, edges][:, ~inside]
        beyond = far_ends[~np.isin(far_ends, nodes)]
        return ComputationGraph(
            nodes=self._tensor(nodes),
            distance=self._tensor(distance),
            edges=self._tensor(edges),
            edge_index=self._tensor(local),
            outside=int(beyond[0]) if len(beyond) else None,
            messages=self._tensor(np.flatnonzero(inside & (reach[target] < hops))),
            inner=self._tensor(edges[inside]),
        )

    def _tensor(self, ids: Ids) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids)).to(self._device)


class _Adjacency:
    """The edges at each node, at one of their ends."""

    def __init__(self, end: Ids, num_nodes: int) -> None:
        self._order = np.argsort(end, kind="stable")
        counts = np.bincount(end, minlength=num_nodes)
        self._start = np.concatenate([[0], np.cumsum(counts)])

    def edges(self, nodes: Ids) -> Ids:
        """The ids of the edges at these nodes, each once if the nodes differ."""
        start, count = self._start[nodes], self._start[nodes + 1] - self._start[nodes]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return self._order[np.repeat(start, count) + within]


def _positions(nodes: Ids, ids: Ids) -> Ids:
    """Where ids are in the ascending `nodes`; len(nodes) for those that are not there."""
    place = np.searchsorted(nodes, ids)
    found = nodes[np.minimum(place, len(nodes) - 1)] == ids
    return np.where(found, place, len(nodes))
