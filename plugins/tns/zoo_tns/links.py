"""Seed edges of a link loader, with negative ones, in torch_geometric's order."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch_geometric.sampler import EdgeSamplerInput, NegativeSampling

from zoo_core.errors import InputError
from zoo_tns.checks import as_nodes, as_times
from zoo_tns.draws import Draws
from zoo_tns.index import TemporalIndex

Negatives = Literal["nodes", "destinations"]
"""What negative edges are drawn from; see `zoo_tns.samplers.TemporalSampler`."""


class LinkSeeds(NamedTuple):
    """The endpoints of P seed edges and the negative ones after them, with their times.

    Attributes:
        src: int64 [P + negatives]; in mode "triplet" [P].
        dst: int64 [P + negatives].
        src_time: as long as `src`.
        dst_time: as long as `dst`.
        label: [P + negatives], or None where there are none.
    """

    src: Tensor
    dst: Tensor
    src_time: Tensor
    dst_time: Tensor
    label: Tensor | None


def link_seeds(
    given: EdgeSamplerInput,
    neg_sampling: NegativeSampling | None,
    index: TemporalIndex,
    negatives: Negatives,
    draws: Draws,
) -> LinkSeeds:
    """Returns seed edges with their negatives: the i-th has the time of edge i modulo P.

    Raises:
        InputError: edges that are no nodes or have no times, or a weight of the negative sampling
            that does not fit the number of nodes.
    """
    src = torch.from_numpy(as_nodes(given.row, index.num_nodes, "edge_label_index"))
    dst = torch.from_numpy(as_nodes(given.col, index.num_nodes, "edge_label_index", len(src)))
    time = torch.from_numpy(as_times(given.time, "edge_label_time", len(src)))
    label = given.label
    if neg_sampling is None:
        return LinkSeeds(src, dst, time, time, label)
    num_negatives = math.ceil(len(src) * neg_sampling.amount)
    edge = torch.arange(num_negatives) % max(len(src), 1)
    other = _draw(neg_sampling.dst_weight, "dst_weight", num_negatives, index, negatives, draws)
    dst, dst_time = torch.cat((dst, other)), torch.cat((time, time[edge]))
    if neg_sampling.is_triplet():
        return LinkSeeds(src, dst, time, dst_time, None)
    weight = neg_sampling.src_weight
    if weight is None and negatives == "destinations":
        source = src[edge]
    else:
        source = _draw(weight, "src_weight", num_negatives, index, "nodes", draws)
    if label is None:
        label = torch.ones(len(src))
    label = torch.cat((label, label.new_zeros((num_negatives, *label.shape[1:]))))
    return LinkSeeds(torch.cat((src, source)), dst, dst_time, dst_time, label)


def link_metadata(
    given: EdgeSamplerInput, links: LinkSeeds, neg_sampling: NegativeSampling | None
) -> tuple[Any, ...]:
    """Returns what torch_geometric's `LinkLoader` reads: where the seeds are among the nodes.

    The seeds are `src`, then `dst`. The negatives of triplet i are row i of the last index.
    """
    if neg_sampling is None or neg_sampling.is_binary():
        edge_label_index = torch.arange(2 * len(links.src)).view(2, -1)
        return given.input_id, edge_label_index, links.label, links.src_time
    size = len(links.src)
    dst = size + torch.arange(len(links.dst))
    negative = dst[size:].view(neg_sampling.amount, size).t()
    if neg_sampling.amount == 1:
        negative = negative.squeeze(1)
    return given.input_id, torch.arange(size), dst[:size], negative, links.src_time


def _draw(
    weight: Tensor | None,
    name: str,
    size: int,
    index: TemporalIndex,
    negatives: Negatives,
    draws: Draws,
) -> Tensor:
    if weight is not None:
        if weight.numel() != index.num_nodes:
            raise InputError(
                f"neg_sampling has a {name} of {weight.numel()} entries; expected one for each of "
                f"the {index.num_nodes} nodes."
            )
        return draws.weighted(weight.flatten(), size) if size else torch.zeros(0, dtype=torch.long)
    if negatives == "nodes":
        return draws.integers(max(index.num_nodes, 1), size)
    candidates = index.destinations()
    if size and not len(candidates):
        raise InputError("negatives cannot be drawn: the index has no events; append some.")
    return candidates[draws.integers(max(len(candidates), 1), size)]
