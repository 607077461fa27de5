"""What a picture shows, read off an explanation and a caller's arguments, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from zoo_core.errors import InputError
from zoo_nseg.molecule_layout import Places
from zoo_nseg.result import HARD

if TYPE_CHECKING:
    from torch_geometric.explain import Explanation


class Edge(NamedTuple):
    """An edge to draw: both directions in one, with the larger mask, or the only one there is."""

    source: int
    target: int
    mask: float
    both: bool
    truth: bool


def edges_to_draw(explanation: Explanation, hard: bool, truth: Any) -> list[Edge]:
    """Returns the edges to draw, the strongest last.

    Args:
        explanation: with `edge_index` and at least one of `edge_mask` [E] and `node_mask`.
        hard: count masks of at least 0.5 as 1 and others as 0.
        truth: [E] bool, which edges are true; None for none.

    Raises:
        InputError: the explanation or `truth` is not as above.
    """
    edge_index = explanation.get("edge_index")
    if not isinstance(edge_index, torch.Tensor) or edge_index.ndim != 2 or len(edge_index) != 2:
        raise InputError("the explanation has no edge_index [2, E]; give it that of its graph.")
    if explanation.get("edge_mask") is None and explanation.get("node_mask") is None:
        raise InputError("the explanation has neither edge_mask nor node_mask; nothing to draw.")
    number = edge_index.shape[1]
    mask = np.zeros(number)
    if explanation.get("edge_mask") is not None:
        mask = _fractions("edge_mask", explanation.edge_mask, number, "one an edge")
    if hard:
        mask = (mask >= HARD).astype(float)
    true = np.zeros(number) if truth is None else _fractions("truth", truth, number, "one an edge")
    found: dict[tuple[int, int], Edge] = {}
    for (source, target), strength, is_true in zip(
        edge_index.T.tolist(), mask.tolist(), (true > 0).tolist(), strict=True
    ):
        key = (min(source, target), max(source, target))
        old = found.get(key, Edge(source, target, 0.0, False, False))
        both = old.both or old.source != source
        found[key] = old._replace(
            mask=max(old.mask, strength), both=both, truth=old.truth or is_true
        )
    return sorted(found.values(), key=lambda each: each.mask)


def explained_nodes(explanation: Explanation) -> list[int]:
    """Returns the nodes whose prediction is explained; none where that of a graph is."""
    config, index = getattr(explanation, "_model_config", None), explanation.get("index")
    is_node = explanation.get("khop_edge_ids") is not None
    if config is not None:
        is_node = config.task_level.value == "node"
    if not is_node or index is None:
        return []
    return sorted(set(torch.as_tensor(index).reshape(-1).tolist()))


def values_of_nodes(explanation: Explanation, edges: list[Edge], hard: bool, given: Any) -> Places:
    """Returns [N] in [0, 1]: what is given, or `node_mask`, or the largest mask at each node.

    Args:
        explanation: of N nodes.
        edges: those of `edges_to_draw`.
        hard: count masks of at least 0.5 as 1 and others as 0.
        given: [N] in [0, 1], or None.

    Raises:
        InputError: what is given, or `node_mask`, is not N numbers in [0, 1].
    """
    number = int(explanation.num_nodes)
    if given is not None:
        return _fractions("node_values", given, number, "one a node")
    if explanation.get("node_mask") is not None:
        values = _fractions("node_mask", explanation.node_mask, number, "one a node")
        return (values >= HARD).astype(float) if hard else values
    values = np.zeros(number)
    for edge in edges:
        values[[edge.source, edge.target]] = np.maximum(
            values[[edge.source, edge.target]], edge.mask
        )
    return values


def given_places(positions: Any, nodes: list[int], number: int) -> Places | None:
    """Returns `positions` as [number, 2], nan where none is needed.

    Args:
        positions: [number, 2], or by node number; None for none.
        nodes: those that need one.
        number: of all nodes.

    Raises:
        InputError: no numbers, another shape, or no finite place for one of `nodes`.
    """
    if positions is None:
        return None
    places = np.full((number, 2), np.nan)
    if isinstance(positions, Mapping):
        for node in nodes:
            places[node] = positions.get(node, np.nan)
    else:
        given = _array("positions", positions)
        if given.shape != (number, 2):
            raise InputError(f"positions have shape {given.shape}; expected [{number}, 2].")
        places[:] = given
    lacking = [node for node in nodes if not np.isfinite(places[node]).all()]
    if lacking:
        raise InputError(
            f"positions have no finite place for node {lacking[0]}; give it two numbers."
        )
    return places


def title_of(explanation: Explanation) -> str:
    """Returns the explained labels and the bounds of the PNS, as far as there are any."""
    parts = []
    label = explanation.get("label")
    if label is not None:
        labels = [str(each) for each in torch.as_tensor(label).reshape(-1).tolist()]
        parts.append(f"label {', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}")
    lower, upper = explanation.get("pns_lower"), explanation.get("pns_upper")
    if lower is not None and upper is not None:
        parts.append(f"PNS in [{float(lower):.2f}, {float(upper):.2f}]")
    return "; ".join(parts)


def _fractions(name: str, values: Any, number: int, each: str) -> Places:
    """`values` as [number] float64 in [0, 1]."""
    array = _array(name, values)
    if array.size != number or array.shape not in ((number,), (number, 1)):
        raise InputError(f"{name} has shape {array.shape}; expected {number} numbers, {each}.")
    array = array.reshape(number)
    outside = array[~((array >= 0) & (array <= 1))]
    if len(outside):
        raise InputError(f"{name} holds {outside[0]}; expected numbers in [0, 1].")
    return array


def _array(name: str, values: Any) -> Places:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {values!r}; expected numbers.") from error
