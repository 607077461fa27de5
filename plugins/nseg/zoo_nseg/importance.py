"""What a mask says of nodes and edges: importances, the best edges, and how much is left out."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import cast

import torch
from torch import Tensor
from torch_geometric.explain import Explanation

from zoo_core.errors import InputError
from zoo_nseg.reading import edge_mask, edges_of, influencing_nodes, masks, real
from zoo_nseg.result import HARD
from zoo_nseg.ties import opposite


def node_importance(explanation: Explanation) -> Tensor:
    """Returns how important each node is.

    Args:
        explanation: with an `edge_mask` [E], a `node_mask` [N, 1], or both.

    Returns:
        [N]: the sum of the masks of a node's edges, in and out, a self-loop once; where no edges
        are explained, the node's own mask.

    Raises:
        InputError: it has no such mask.
    """
    edges, nodes = masks(explanation)
    if edges is None:
        return cast(Tensor, nodes)
    source, target = explanation.edge_index
    sums = edges.new_zeros(len(explanation.x)).index_add(0, source, edges)
    return sums.index_add(0, target, edges.masked_fill(source == target, 0))


def sparsity(explanation: Explanation, threshold: float = HARD) -> float:
    """Returns the share that an explanation leaves out of what could matter.

    Args:
        explanation: with an `edge_mask` [E], a `node_mask` [N, 1], or both: then edges and nodes
            are counted together.
        threshold: an entry is kept from this value on.

    Returns:
        1 - kept / all, where all are the edges and nodes that the output depends on, as far as the
        explanation says which these are; 1 if there are none.

    Raises:
        InputError: it has no such mask, or threshold is no finite number.
    """
    limit = real("threshold", threshold)
    edges, nodes = masks(explanation)
    chosen = []
    if edges is not None:
        chosen.append(edges[edges_of(explanation, "influencing")])
    if nodes is not None:
        chosen.append(nodes[influencing_nodes(explanation)])
    total = sum(len(each) for each in chosen)
    kept = sum(int((each >= limit).sum()) for each in chosen)
    return 1 - kept / total if total else 1.0


def top_edges(
    explanation: Explanation, k: int, *, edges: str | Sequence[int] | Tensor = "neighbourhood"
) -> Tensor:
    """Returns the k most important undirected edges, as ids of their directions.

    Edges are walked by decreasing mask, those of equal mask by id. Each is taken together with its
    opposite direction, self-loops never, until 2 k directed edges are taken (official code).

    Args:
        explanation: with an `edge_mask` [E].
        k: how many undirected edges, at least 1.
        edges: which are walked: "neighbourhood", those between nodes within L hops of the explained
            one; "influencing", those whose messages reach it; "all"; ids; or a bool mask [E]. An
            explanation that does not say which these are, such as one of a graph, is walked whole.

    Returns:
        [<= 2 k] int64, edge ids in the order in which they are taken.

    Raises:
        InputError: no edge mask, or a k below 1.
        IndexOutOfRangeError: an id that is not there.
    """
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise InputError(f"k is {k!r}; expected a whole number of at least 1.")
    scores = edge_mask(explanation)
    ids = edges_of(explanation, edges)
    edge_index = explanation.edge_index[:, ids]
    rank = torch.empty_like(ids)
    rank[scores[ids].sort(descending=True, stable=True).indices] = torch.arange(
        len(ids), device=ids.device
    )
    # An edge is taken when the first of its two directions is met, the other right after.
    order = torch.argsort(torch.minimum(rank, rank[opposite(edge_index)]) * len(ids) + rank)
    proper = edge_index[0] != edge_index[1]
    return ids[order[proper[order]][: 2 * int(k)]]
