"""The networks that NSEG explains: GCN and GIN of a few layers, for nodes or whole graphs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINConv, global_add_pool
from torch_geometric.utils import degree

from zoo_core.errors import ConfigError, InputError, suggestion

CONVS: Final = ("gcn", "gin")
TASK_LEVELS: Final = ("node", "graph")
_WIDEST = 1 << 20
_DEEPEST = 1000


class GNN(nn.Module):
    """A GCN or GIN without self-loops, with a linear classifier on nodes or on summed graphs.

    A GCN layer is ReLU(D_in^-1/2 A^T D_out^-1/2 h W + b), with the degrees of the unweighted graph,
    those of 0 counted as 1; a GIN layer is ReLU(W ((1 + eps) h + sum of the neighbours' h) + b),
    with eps fixed at 0. Edge masks that torch_geometric sets multiply the messages and leave the
    degrees as they are. Source: official code; the names of the tensors are torch_geometric's.

    Args:
        conv: "gcn" or "gin".
        in_channels: F, the width of the nodes' features.
        hidden_channels: the width of each layer; as many layers as numbers.
        num_classes: C.
        task_level: "node" classifies each node, "graph" the sum of a graph's nodes.
        dropout: the probability with which a layer's outputs are zeroed before its ReLU, in
            training mode.

    Raises:
        ConfigError: an argument that is none of those allowed.
    """

    def __init__(
        self,
        conv: str,
        in_channels: int,
        hidden_channels: Sequence[int],
        num_classes: int,
        task_level: str = "node",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv = _choice("conv", conv, CONVS)
        self.in_channels = _width("in_channels", in_channels)
        self.hidden_channels = _widths(hidden_channels)
        self.num_classes = _width("num_classes", num_classes)
        self.task_level = _choice("task_level", task_level, TASK_LEVELS)
        self.dropout = _probability(dropout)
        widths = itertools.pairwise((self.in_channels, *self.hidden_channels))
        self.convs = nn.ModuleList(_layer(self.conv, *each) for each in widths)
        self.classify = nn.Linear(self.hidden_channels[-1], self.num_classes)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        """Returns the logits.

        Args:
            x: [N, F] float, the nodes' features.
            edge_index: [2, E] int64, sources and destinations.
            batch: [N] int64, the graph of each node, 0 ... B - 1 in any order; None is one graph.
                For task level "node" it makes no difference.

        Returns:
            [N, C] for task level "node", [B, C] for "graph", of the dtype of `x`.

        Raises:
            InputError: a tensor of another shape or kind of number.
        """
        self._check(x, edge_index, batch)
        weight = _normalisation(edge_index, x) if self.conv == "gcn" else None
        h = x
        for layer in self.convs:
            h = layer(h, edge_index) if weight is None else layer(h, edge_index, weight)
            h = nn.functional.dropout(h, self.dropout, self.training).relu()
        if self.task_level == "graph":
            h = global_add_pool(h, batch)
        return cast(Tensor, self.classify(h))

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the classifier by a fresh one.

        Raises:
            ConfigError: not a whole number of at least 1.
        """
        self.num_classes = _width("num_classes", num_classes)
        old = self.classify.weight
        self.classify = nn.Linear(
            self.hidden_channels[-1], self.num_classes, device=old.device, dtype=old.dtype
        )

    def extra_repr(self) -> str:
        """Returns the arguments that the layers do not show."""
        return f"conv={self.conv!r}, task_level={self.task_level!r}, dropout={self.dropout}"

    def _check(self, x: Tensor, edge_index: Tensor, batch: Tensor | None) -> None:
        if x.ndim != 2 or x.shape[1] != self.in_channels or not x.is_floating_point():
            raise InputError(
                f"x is {_described(x)}; expected floating-point [nodes, {self.in_channels}]."
            )
        if edge_index.ndim != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
            raise InputError(f"edge_index is {_described(edge_index)}; expected int64 [2, edges].")
        if batch is not None and (batch.shape != x.shape[:1] or batch.dtype != torch.int64):
            raise InputError(f"batch is {_described(batch)}; expected int64 [{x.shape[0]}].")


def _layer(conv: str, width: int, next_width: int) -> nn.Module:
    if conv == "gcn":
        # torch_geometric's own normalisation counts incoming edges alone, for both ends.
        return GCNConv(width, next_width, add_self_loops=False, normalize=False)
    return GINConv(nn.Linear(width, next_width), eps=0.0, train_eps=False)


def _normalisation(edge_index: Tensor, x: Tensor) -> Tensor:
    """The factor [E] of each edge's messages."""
    source, destination = edge_index
    outgoing = degree(source, x.shape[0], x.dtype).clamp(min=1).rsqrt()
    incoming = degree(destination, x.shape[0], x.dtype).clamp(min=1).rsqrt()
    return outgoing[source] * incoming[destination]


def _described(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        near = suggestion(value, allowed) if isinstance(value, str) else ""
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(allowed)}.{near}")
    return value


def _width(name: str, value: Any) -> int:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not 1 <= value <= _WIDEST:
        raise ConfigError(f"{name} is {value!r}; expected a whole number from 1 to {_WIDEST}.")
    return int(value)


def _widths(value: Any) -> tuple[int, ...]:
    several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if not several or not 1 <= len(value) <= _DEEPEST:
        raise ConfigError(
            f"hidden_channels is {value!r}; expected the width of each layer, such as (16, 32, 16)."
        )
    return tuple(_width(f"hidden_channels[{place}]", each) for place, each in enumerate(value))


def _probability(value: Any) -> float:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not (math.isfinite(value) and 0 <= value < 1):
        raise ConfigError(f"dropout is {value!r}; expected a number in [0, 1).")
    return float(value)
