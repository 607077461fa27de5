"""From a graph, or several, and what to explain there, to instances of the search.

Every task comes in two forms: on its computation graph, to be run beside others, and as the caller
would run it. The second is right for every model, and the first where both give the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_nseg.computation_graph import ComputationGraph, Neighbourhoods
from zoo_nseg.instance import Argument, Instance
from zoo_nseg.ties import ties


@dataclass(frozen=True)
class Whole:
    """A graph with the model's unmasked output on it.

    Attributes:
        x: [N, F].
        x_cf: [N, F], or None where features are not explained.
        edge_index: [2, E].
        arguments: of the model, without `batch`.
        batch: [N], where the caller gives the model one.
        output: [R, ...] of the unmasked graph.
        labels: [R] that are explained.
        symmetric: whether both directions of an edge share a logit.
        edge_logits: [E] initial logits, or None to draw them.
        node_logits: [N] initial logits, or None to draw them.
    """

    x: Tensor
    x_cf: Tensor | None
    edge_index: Tensor
    arguments: Mapping[str, Argument]
    batch: Tensor | None
    output: Tensor
    labels: Tensor
    symmetric: bool
    edge_logits: Tensor | None = None
    node_logits: Tensor | None = None

    @property
    def num_nodes(self) -> int:
        """N."""
        return len(self.x)

    @property
    def num_edges(self) -> int:
        """E."""
        return self.edge_index.shape[1]

    @property
    def model_arguments(self) -> dict[str, Any]:
        """What the model is given beside `x` and `edge_index`."""
        given = {name: each.value for name, each in self.arguments.items()}
        return given if self.batch is None else {**given, "batch": self.batch}


@dataclass(frozen=True)
class Task:
    """One explanation to find.

    Attributes:
        whole: the graph.
        rows: [R] of the whole graph's output.
        around: what a node depends on; None for a graph-level task.
        own: the instance as the caller would run it.
        small: the instance on its own computation graph, to be run beside others; None if the
            model cannot be run so.
        outputs: how many rows the model's output has for `small`.
    """

    whole: Whole
    rows: Tensor
    around: ComputationGraph | None
    own: Callable[[], Instance]
    small: Instance | None
    outputs: int

    @property
    def beside(self) -> Instance:
        """The instance that is run beside others."""
        if self.small is None:
            raise TypeError("a task that the model can only run by itself was taken for another")
        return self.small


def node_task(whole: Whole, rows: Tensor, hops: int, hoods: Neighbourhoods) -> Task:
    """Returns the task of explaining nodes [R] of a graph by one mask.

    Args:
        whole: the graph.
        rows: the nodes.
        hops: how often the model passes messages.
        hoods: finds computation graphs in this graph.
    """
    around = hoods.around(rows, hops)
    alone = whole.batch is not None
    small = None if alone else _on(whole, rows, around)
    return Task(
        whole,
        rows,
        around,
        lambda: as_given(whole, rows),
        small,
        len(around.nodes) + (around.outside is not None),
    )


def graph_task(whole: Whole, rows: Tensor, *, batched: bool) -> Task:
    """Returns the task of explaining graph-level outputs [R] by one mask.

    Args:
        whole: the graph, or several that `whole.batch` tells apart.
        rows: of the model's output.
        batched: whether the model takes a `batch`.
    """
    small = None
    if batched:
        batch = whole.batch
        if batch is None:
            batch = torch.zeros(whole.num_nodes, dtype=torch.long, device=whole.x.device)
        small = _instance(whole, rows, batch=batch, num_graphs=len(whole.output))
    return Task(whole, rows, None, lambda: as_given(whole, rows), small, len(whole.output))


def as_given(whole: Whole, rows: Tensor) -> Instance:
    """Returns the instance on the whole graph, run as the caller would run it."""
    return _instance(whole, rows, batch=whole.batch, num_graphs=len(whole.output))


def _instance(whole: Whole, rows: Tensor, *, batch: Tensor | None, num_graphs: int) -> Instance:
    every_edge = torch.arange(whole.num_edges, device=whole.x.device)
    every_node = torch.arange(whole.num_nodes, device=whole.x.device)
    logit_ids, tied, copies = ties(whole.edge_index, every_edge, symmetric=whole.symmetric)
    return Instance(
        x=whole.x,
        x_cf=whole.x_cf,
        edge_index=whole.edge_index,
        arguments=whole.arguments,
        batch=batch,
        num_graphs=num_graphs,
        rows=rows,
        labels=whole.labels[rows],
        messages=every_edge,
        free=every_node,
        edge_ids=every_edge,
        logit_ids=logit_ids,
        node_ids=every_node,
        tied=tied,
        copies=copies,
        num_nodes=whole.num_nodes,
        num_edges=whole.num_edges,
        edge_logits=whole.edge_logits,
        node_logits=whole.node_logits,
    )


def _on(whole: Whole, rows: Tensor, around: ComputationGraph) -> Instance:
    nodes = around.nodes
    if around.outside is not None:
        nodes = torch.cat([nodes, nodes.new_tensor([around.outside])])
    chosen = {"node": nodes, "edge": around.edges}
    messages = around.edges[around.messages]
    logit_ids, tied, copies = ties(whole.edge_index, messages, symmetric=whole.symmetric)
    return Instance(
        x=whole.x[nodes],
        x_cf=None if whole.x_cf is None else whole.x_cf[nodes],
        edge_index=around.edge_index,
        arguments={
            name: Argument(each.value[chosen[each.level]], each.level)
            if each.level in chosen
            else Argument(each.value, "same")
            for name, each in whole.arguments.items()
        },
        batch=None,
        num_graphs=0,
        rows=torch.searchsorted(around.nodes, rows),
        labels=whole.labels[rows],
        messages=around.messages,
        free=torch.arange(len(around.nodes), device=whole.x.device),
        edge_ids=messages,
        logit_ids=logit_ids,
        node_ids=around.nodes,
        tied=tied,
        copies=copies,
        num_nodes=whole.num_nodes,
        num_edges=whole.num_edges,
        edge_logits=None if whole.edge_logits is None else whole.edge_logits[messages],
        node_logits=None if whole.node_logits is None else whole.node_logits[around.nodes],
    )
