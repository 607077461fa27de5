"""Both directions of an edge, tied: an option; by default every direction has its own mask."""

from __future__ import annotations

import torch
from torch import Tensor


def opposite(edge_index: Tensor) -> Tensor:
    """Returns for each edge the edge in the opposite direction, itself where there is none.

    Of parallel edges the k-th one way meets the k-th the other way. A self-loop is its own.

    Args:
        edge_index: [2, E] int64.

    Returns:
        [E] int64.
    """
    edges = edge_index.shape[1]
    places = torch.arange(edges, device=edge_index.device)
    if edges == 0:
        return places
    source, target = edge_index
    nodes = int(edge_index.max()) + 1
    low, high = torch.minimum(source, target), torch.maximum(source, target)
    pair, forward = low * nodes + high, (source <= target).long()
    # Which of its parallels an edge is: its rank among edges of the same pair and direction.
    order = torch.argsort(pair * 2 + forward, stable=True)
    sorted_key = (pair * 2 + forward)[order]
    first = torch.searchsorted(sorted_key, sorted_key)
    rank = torch.empty_like(places)
    rank[order] = places - first
    # Edges of one pair and rank meet; there are at most two, one each way.
    order = torch.argsort(rank, stable=True)
    order = order[torch.argsort(pair[order], stable=True)]
    same = (pair[order][1:] == pair[order][:-1]) & (rank[order][1:] == rank[order][:-1])
    found = places.clone()
    one, other = order[:-1][same], order[1:][same]
    found[one], found[other] = other, one
    return found


def ties(edge_index: Tensor, chosen: Tensor, *, symmetric: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Returns how the masks of some edges of a graph hang together.

    Args:
        edge_index: [2, E] of the whole graph.
        chosen: [m] int64, ascending: the edges that have a mask.
        symmetric: whether both directions of an edge share a logit.

    Returns:
        [m] int64, the edge of the whole graph whose initial logit each starts from; [m] int64,
        the position in `chosen` of the edge whose logit each uses; [m] float, for how many edges
        of the whole graph the regulariser counts each.
    """
    own = torch.arange(len(chosen), device=chosen.device)
    if not symmetric:
        return chosen, own, torch.ones(len(chosen), device=chosen.device)
    partner = opposite(edge_index)[chosen]
    place = own.new_full((edge_index.shape[1],), -1)
    place[chosen] = own
    beside = place[partner]
    has_partner = partner != chosen
    tied = torch.where(beside >= 0, torch.minimum(own, beside), own)
    alone = has_partner & (beside < 0)
    return torch.minimum(chosen, partner), tied, 1 + alone.float()
