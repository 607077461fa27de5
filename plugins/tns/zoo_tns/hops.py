"""Subgraphs of several hops around seeds, in torch_geometric's format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.sampler import SamplerOutput

from zoo_tns.checks import Ids, as_ids, as_times
from zoo_tns.neighbors import Neighbors, WeightedNeighbors

NeighborTime = Literal["query", "event"]
"""As of when neighbours of neighbours are sampled; see `zoo_tns.samplers.TemporalSampler`."""


class Sampled(NamedTuple):
    """What torch_geometric's `SamplerOutput` has no field for.

    Attributes:
        edge_weight: float64 [M], or None where all edges count alike.
        edge_time: int64 or float64 [M], when the event of an edge happened.
        node_time: int64 or float64 [N], as of when a node is asked about; of both kinds, float64.
    """

    edge_weight: Tensor | None
    edge_time: Tensor
    node_time: Tensor


class _Edges(NamedTuple):
    """Sampled events of one hop: the target's place in the subgraph, and what was found."""

    target: Ids
    node: Ids
    edge_id: Ids
    time: NDArray
    weight: NDArray[np.float64] | None


def sample_hops(
    sample: Callable[[Tensor, Tensor, int], Neighbors | WeightedNeighbors],
    seeds: Tensor,
    times: Tensor,
    num_hops: int,
    neighbor_time: NeighborTime = "query",
) -> tuple[SamplerOutput, Sampled]:
    """Returns the disjoint subgraphs around seeds, edges pointing from neighbours to targets.

    The nodes are the seeds, in order, then those each hop adds. In the subgraph of a seed a node is
    there once for each time it is asked about; its neighbours are sampled in the hop after it was
    reached first. Every sampled event is an edge of its own. Of weighted ones, equal events of a
    target are merged, their weights added, and weights of 0 left out.

    Args:
        sample: (nodes [B], times [B], hop) to `Neighbors`, or those with weights.
        seeds: node ids [S].
        times: [S].
        num_hops: how many times neighbours are sampled.
        neighbor_time: whether a neighbour is asked about at the time of its target, "query", or of
            the event, "event".

    Returns:
        The output, `batch` being the seed's number, and the weights and times.
    """
    node = as_ids(seeds, "seeds")
    batch = np.arange(len(node))
    asked = [as_times(times, "times", len(node))]
    event_time = None
    hops: list[_Edges] = []
    sources: list[Ids] = []
    for hop in range(num_hops):
        known = len(node)
        frontier = np.arange(known - len(asked[-1]), known)
        found = sample(torch.from_numpy(node[frontier]), torch.from_numpy(asked[-1]), hop)
        edges = _flat(found, frontier)
        node = np.concatenate((node, edges.node))
        batch = np.concatenate((batch, batch[edges.target]))
        if neighbor_time == "query":
            # All nodes of a seed's subgraph are asked about at the seed's time.
            their_time = asked[-1][edges.target - frontier[:1]]
            place, first = _first_places((node, batch))
        else:
            their_time = edges.time
            if event_time is None:
                event_time = np.full(known, _after_all(their_time.dtype))
            event_time = np.concatenate((event_time, their_time))
            place, first = _first_places((event_time, node, batch))
            event_time = event_time[first]
        node, batch = node[first], batch[first]
        asked.append(their_time[first[known:] - known])
        sources.append(place[known:])
        hops.append(edges)
    weights = [each.weight for each in hops if each.weight is not None]
    output = SamplerOutput(
        node=torch.from_numpy(node),
        row=_joined(sources),
        col=_joined([each.target for each in hops]),
        edge=_joined([each.edge_id for each in hops]),
        batch=torch.from_numpy(batch),
        num_sampled_nodes=[len(each) for each in asked],
        num_sampled_edges=[len(each.target) for each in hops],
    )
    edge_time = _joined([each.time for each in hops])
    return output, Sampled(_joined(weights) if weights else None, edge_time, _joined(asked))


def _flat(found: Neighbors | WeightedNeighbors, frontier: Ids) -> _Edges:
    mask = found.mask.numpy()
    weight = None
    if isinstance(found, WeightedNeighbors):
        dense = found.weight.detach().numpy()
        mask = mask & (dense != 0)
        weight = dense[mask]
    edges = _Edges(
        np.broadcast_to(frontier[:, None], mask.shape)[mask],
        found.node.numpy()[mask],
        found.edge_id.numpy()[mask],
        found.time.numpy()[mask],
        weight,
    )
    if weight is None:
        return edges
    # Several events may have one id, but not one neighbour and time as well.
    place, first = _first_places((edges.time, edges.node, edges.edge_id, edges.target))
    target, node, edge_id, time = (each[first] for each in edges[:4])
    return _Edges(target, node, edge_id, time, np.bincount(place, weight, len(first)))


def _first_places(keys: tuple[NDArray, ...]) -> tuple[Ids, Ids]:
    """Finds equal entries among n, each a tuple of keys [n].

    Returns:
        For each entry the place [n] of its equal among the distinct ones, and where the latter are
        [D], in order of first appearance.
    """
    order = np.lexsort(keys)
    differs = np.zeros(len(order), np.bool_)
    differs[:1] = True
    for key in keys:
        ordered = key[order]
        differs[1:] |= ordered[1:] != ordered[:-1]
    # The sort is stable, so that the first of equal ones is the one that came first.
    representative = np.empty(len(order), np.int64)
    representative[order] = order[differs][np.cumsum(differs) - 1]
    first = np.flatnonzero(representative == np.arange(len(order)))
    place = np.empty(len(order), np.int64)
    place[first] = np.arange(len(first))
    return place[representative], first


def _joined(parts: list[NDArray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def _after_all(dtype: np.dtype) -> np.ndarray:
    """Returns a time that is no event's: a seed is asked about after every event it reaches."""
    return np.asarray(np.inf if dtype == np.float64 else np.iinfo(dtype).max, dtype)
