"""How well an explanation finds the edges that are known to have made the label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.explain import Explanation

from zoo_core.errors import InputError
from zoo_nseg import inputs
from zoo_nseg.importance import top_edges
from zoo_nseg.reading import edge_mask, edges_of


@dataclass(frozen=True)
class TruthMetrics:
    """The agreement of explanations with the ground truth, averaged over them.

    Attributes:
        recall: mean recall at k.
        auc: mean ROC-AUC.
        n: how many explanations.
    """

    recall: float
    auc: float
    n: int


def motif_edges(data: Data, node: int) -> Tensor:
    """Returns which edges are those of a node's motif: both their ends lie in it.

    Args:
        data: a graph with `edge_index` [2, E] and `motif_id` [N] (-1 outside motifs), such as
            those of `zoo_nseg.synthetic`.
        node: in a motif.

    Returns:
        bool [E].

    Raises:
        InputError: the graph has no motifs, or the node lies in none.
        IndexOutOfRangeError: no such node.
    """
    motif = data.get("motif_id")
    if not isinstance(motif, Tensor) or motif.ndim != 1:
        raise InputError("data has no motif_id [N]; expected a graph with known motifs.")
    ids = inputs.nodes(node, len(motif), motif.device, "node")
    if len(ids) != 1:
        raise InputError(f"node holds {len(ids)} ids; expected one.")
    own = motif[ids]
    if int(own) < 0:
        raise InputError(f"node {int(ids)} lies in no motif, so it has no ground truth.")
    source, target = motif[data.edge_index]
    return (source == own) & (target == own)


def recall_at_k(
    explanation: Explanation,
    truth: Any,
    k: int,
    *,
    edges: str | Sequence[int] | Tensor = "neighbourhood",
) -> float:
    """Returns the share of the true edges that are among the k best undirected ones.

    Args:
        explanation: with an `edge_mask` [E].
        truth: bool [E], the true edges of this instance, such as `motif_edges`; self-loops in it
            do not count.
        k: how many undirected edges are taken, as `zoo_nseg.importance.top_edges` takes them.
        edges: which are ranked, as for `top_edges`.

    Raises:
        InputError: no edge mask, no edge is true, or an argument of another kind.
        IndexOutOfRangeError: an edge id that is not there.
    """
    true = _true_edges(explanation, truth)
    source, target = explanation.edge_index
    true = true & (source != target)
    total = int(true.sum())
    if not total:
        raise InputError("truth holds no edge that is not a self-loop; expected at least one.")
    return int(true[top_edges(explanation, k, edges=edges)].sum()) / total


def explanation_auc(
    explanation: Explanation,
    truth: Any,
    *,
    edges: str | Sequence[int] | Tensor = "neighbourhood",
) -> float:
    """Returns the area under the ROC curve of an edge mask against the true edges.

    Args:
        explanation: with an `edge_mask` [E].
        truth: bool [E].
        edges: over which: "neighbourhood", those between nodes within L hops of the explained one,
            as in the official code; "influencing", those whose messages reach it, without the
            easy ones that cannot matter; "all"; or ids.

    Returns:
        in [0, 1]; 1 if all of these edges are true, as in the official code.

    Raises:
        InputError: no edge mask, none of these edges is true, or an argument of another kind.
        IndexOutOfRangeError: an edge id that is not there.
    """
    true = _true_edges(explanation, truth)
    ids = edges_of(explanation, edges)
    chosen = true[ids]
    if not bool(chosen.any()):
        raise InputError(f"none of the {len(ids)} edges is true, so there is no ROC curve.")
    if bool(chosen.all()):
        return 1.0
    from sklearn.metrics import roc_auc_score

    scores = edge_mask(explanation)[ids].double()
    return float(roc_auc_score(chosen.cpu().numpy(), scores.cpu().numpy()))


def truth_metrics(
    explanations: Iterable[Explanation],
    truths: Iterable[Any],
    k: int,
    *,
    edges: str | Sequence[int] | Tensor = "neighbourhood",
) -> TruthMetrics:
    """Returns recall at k and ROC-AUC, averaged over instances.

    Args:
        explanations: with an `edge_mask`.
        truths: of each, bool [E].
        k: as for `recall_at_k`.
        edges: as for `recall_at_k` and `explanation_auc`.

    Raises:
        InputError, IndexOutOfRangeError: as these; or not one truth for each explanation.
    """
    known, given = list(explanations), list(truths)
    if not known or len(known) != len(given):
        raise InputError(
            f"there are {len(known)} explanations and {len(given)} truths; expected a truth for "
            "each explanation, and at least one."
        )
    pairs = list(zip(known, given, strict=True))
    recalls = [recall_at_k(*pair, k, edges=edges) for pair in pairs]
    areas = [explanation_auc(*pair, edges=edges) for pair in pairs]
    return TruthMetrics(sum(recalls) / len(pairs), sum(areas) / len(pairs), len(pairs))


def _true_edges(explanation: Any, truth: Any) -> Tensor:
    scores = edge_mask(explanation)
    try:
        true = torch.as_tensor(truth, device=scores.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"truth is a {type(truth).__name__}; expected a bool tensor.") from error
    if true.shape != scores.shape:
        raise InputError(f"truth is {list(true.shape)}; expected [{len(scores)}], one an edge.")
    if true.dtype != torch.bool:
        if not bool(((true == 0) | (true == 1)).all()):
            raise InputError(f"truth is {true.dtype} with other values than 0 and 1.")
        true = true == 1
    return true
