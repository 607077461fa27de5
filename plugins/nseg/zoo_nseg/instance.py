"""Instances to explain, and their disjoint unions that one forward pass runs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

_PLAIN = (str, bool, int, float, type(None))
Level = Literal["node", "edge", "graph", "same"]


@dataclass(frozen=True)
class Argument:
    """A further argument of the model.

    Attributes:
        value: what the model is given.
        level: what its rows belong to; "same" for a value that every graph shares.
    """

    value: Any
    level: Level


@dataclass(frozen=True)
class Instance:
    """One output to explain, or several that share a mask, on a graph of its own.

    Attributes:
        x: [n, F] features.
        x_cf: [n, F] counterfactual features; None where features are not masked.
        edge_index: [2, e] int64.
        arguments: of the model, without `batch`.
        batch: [n] int64 where the model is given one, else None.
        num_graphs: how many graphs `batch` tells apart; 0 without it.
        rows: [R] int64 of the model's output.
        labels: [R] int64, the label that is explained in each.
        messages: [m] int64, ascending: the edges that have a mask; the others send nothing.
        free: [k] int64, ascending: the nodes that have a mask; the others keep their features.
        edge_ids: [m] int64: the masked edges in the whole graph.
        logit_ids: [m] int64: the edges of the whole graph whose initial logits they start from.
        node_ids: [k] int64: the masked nodes in the whole graph.
        tied: [m] int64: positions in `messages` of the edge whose logit an edge uses.
        copies: [m]: for how many edges of the whole graph the regulariser counts an edge.
        num_nodes: N of the whole graph.
        num_edges: E of the whole graph.
        edge_logits: [m] initial logits, or None to draw them.
        node_logits: [k] initial logits, or None to draw them.
    """

    x: Tensor
    x_cf: Tensor | None
    edge_index: Tensor
    arguments: Mapping[str, Argument]
    batch: Tensor | None
    num_graphs: int
    rows: Tensor
    labels: Tensor
    messages: Tensor
    free: Tensor
    edge_ids: Tensor
    logit_ids: Tensor
    node_ids: Tensor
    tied: Tensor
    copies: Tensor
    num_nodes: int
    num_edges: int
    edge_logits: Tensor | None = None
    node_logits: Tensor | None = None


@dataclass(frozen=True)
class Union:
    """Instances side by side, `copies` times over; the model never sees where one ends.

    Attributes:
        x: [n, F], of one copy.
        x_cf: [n, F] or None, of one copy.
        edge_index: [2, copies * e].
        messages: [copies * m].
        arguments: of the model, for all copies.
        edge_arguments: the names of those that have a row an edge.
        rows: [copies * R].
        labels: [copies * R].
        row_instance: [R].
        row_sharers: [R] int64, the number of rows of the row's instance.
        message_instance: [m].
        free: [k].
        free_instance: [k].
        tied: [m].
        size: I, how many instances.
        copies: how often they are repeated.
    """

    x: Tensor
    x_cf: Tensor | None
    edge_index: Tensor
    messages: Tensor
    arguments: Mapping[str, Any]
    edge_arguments: tuple[str, ...]
    rows: Tensor
    labels: Tensor
    row_instance: Tensor
    row_sharers: Tensor
    message_instance: Tensor
    free: Tensor
    free_instance: Tensor
    tied: Tensor
    size: int
    copies: int

    @property
    def num_nodes(self) -> int:
        """How many nodes all copies have."""
        return self.copies * len(self.x)


def united(instances: Sequence[Instance], copies: int, num_outputs: Sequence[int]) -> Union:
    """Returns the disjoint union of instances, repeated.

    Args:
        instances: at least one, all with the same arguments.
        copies: how often.
        num_outputs: how many rows the model's output has for each instance.
    """
    first = instances[0]
    nodes = _offsets([len(each.x) for each in instances])
    edges = _offsets([each.edge_index.shape[1] for each in instances])
    messages = _offsets([len(each.messages) for each in instances])
    outputs = _offsets(num_outputs)
    device = first.x.device
    row_instance = _owner([len(each.rows) for each in instances], device)
    counts = torch.bincount(row_instance, minlength=len(instances))
    edge_index = torch.cat(
        [each.edge_index + start for each, start in zip(instances, nodes, strict=False)], 1
    )
    arguments = {
        name: _repeated([each.arguments[name] for each in instances], copies)
        for name in first.arguments
    }
    if first.batch is not None:
        graphs = _offsets([each.num_graphs for each in instances])
        batch = torch.cat(
            [_required(each.batch) + start for each, start in zip(instances, graphs, strict=False)]
        )
        arguments["batch"] = _shifted(batch, graphs[-1], copies)
    return Union(
        x=torch.cat([each.x for each in instances]),
        x_cf=None
        if first.x_cf is None
        else torch.cat([_required(each.x_cf) for each in instances]),
        edge_index=_shifted(edge_index, nodes[-1], copies),
        messages=_shifted(_joined(instances, "messages", edges), edges[-1], copies),
        arguments=arguments,
        edge_arguments=tuple(n for n, each in first.arguments.items() if each.level == "edge"),
        rows=_shifted(_joined(instances, "rows", outputs), outputs[-1], copies),
        labels=torch.cat([each.labels for each in instances]).repeat(copies),
        row_instance=row_instance,
        row_sharers=counts[row_instance],
        message_instance=_owner([len(each.messages) for each in instances], device),
        free=_joined(instances, "free", nodes),
        free_instance=_owner([len(each.free) for each in instances], device),
        tied=_joined(instances, "tied", messages),
        size=len(instances),
        copies=copies,
    )


def chunks(instances: Sequence[Instance], worlds: int, budget: int) -> list[range]:
    """Returns which instances are run together: as many in a row as the budget of edges allows.

    Instances whose shared arguments differ are never run together.

    Args:
        instances: in order.
        worlds: how many copies of an instance one pass runs.
        budget: how many edges one pass may have; an instance beyond it goes by itself.
    """
    found: list[range] = []
    start = used = 0
    for place, each in enumerate(instances):
        needed = worlds * max(each.edge_index.shape[1], 1)
        full = used + needed > budget
        if place > start and (full or not _alike(instances[start], each)):
            found.append(range(start, place))
            start, used = place, 0
        used += needed
    return [*found, range(start, len(instances))] if instances else []


def stackable(instances: Sequence[Instance], worlds: int, budget: int) -> bool:
    """Whether one pass may run so many copies of all instances."""
    return worlds * sum(each.edge_index.shape[1] for each in instances) <= budget


def _alike(one: Instance, other: Instance) -> bool:
    """Whether the arguments that all graphs of a union share have one value in both."""
    for name, mine in one.arguments.items():
        theirs = other.arguments[name]
        if mine.level != theirs.level:
            return False
        if mine.level == "same" and not _equal(mine.value, theirs.value):
            return False
    return True


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return isinstance(one, _PLAIN) and type(one) is type(other) and one == other


def _joined(instances: Sequence[Instance], name: str, starts: Sequence[int]) -> Tensor:
    return torch.cat(
        [getattr(each, name) + start for each, start in zip(instances, starts, strict=False)]
    )


def _offsets(lengths: Sequence[int]) -> list[int]:
    """The starts of parts laid one after the other, and their end."""
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    return starts


def _owner(lengths: Sequence[int], device: torch.device) -> Tensor:
    numbers = torch.tensor(lengths, dtype=torch.long, device=device)
    return torch.repeat_interleave(torch.arange(len(lengths), device=device), numbers)


def _shifted(ids: Tensor, step: int, copies: int) -> Tensor:
    """Repeats ids along the last dimension, each copy `step` further on."""
    shift = torch.arange(copies, device=ids.device).repeat_interleave(ids.shape[-1]) * step
    return ids.repeat(*[1] * (ids.ndim - 1), copies) + shift


def _repeated(arguments: Sequence[Argument], copies: int) -> Any:
    first = arguments[0]
    if first.level == "same":
        return first.value
    joined = torch.cat([each.value for each in arguments])
    return joined.repeat(copies, *[1] * (joined.ndim - 1))


def _required(value: Tensor | None) -> Tensor:
    if value is None:
        raise TypeError("instances of one union must agree in what they have")
    return value
