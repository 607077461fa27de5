"""Weighted sums of neighbours, without a row in memory for every message.

The messages of many layers are a neighbour's state times a number. Their sums are then a sparse
matrix times a dense one, and the gradient of the numbers a product sampled at the matrix's entries:
each reads the states once, where gathering, scaling and scattering write and read every message.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch_geometric.nn import GCNConv, GINConv, GraphConv, MessagePassing, SAGEConv
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation

_LAYERS = (GCNConv, GINConv, GraphConv, SAGEConv)
_AGGREGATIONS = {SumAggregation: "sum", MeanAggregation: "mean"}
_HOOKS = tuple(
    f"_{what}_forward_{when}hooks"
    for what in ("propagate", "message", "aggregate")
    for when in ("pre_", "")
)


class NeighbourSums:
    """Sums over the incoming edges of each node, on one set of edges.

    Args:
        source: [M] int64.
        target: [M] int64.
        num_nodes: N.
    """

    def __init__(self, source: Tensor, target: Tensor, num_nodes: int) -> None:
        self.size = (num_nodes, num_nodes)
        self._into = _compressed(target, source, num_nodes)
        self._out_of = _compressed(source, target, num_nodes)

    def __call__(self, weights: Tensor, states: Tensor, *, mean: bool = False) -> Tensor:
        """Returns the sums [N, D] of `weights * states[source]` by target.

        Args:
            weights: [M] floating point.
            states: [N, D] of the same dtype.
            mean: whether to divide by the number of edges at the target, if there are any.
        """
        result: Tensor = _Sums.apply(weights, states, self)
        if mean:
            result = result / self._into[0].diff().clamp_min(1).unsqueeze(-1)
        return result

    def forward(self, weights: Tensor, states: Tensor) -> Tensor:
        """The product with the matrix of the weights."""
        return self._matrix(self._into, weights) @ states

    def to_states(self, weights: Tensor, gradient: Tensor) -> Tensor:
        """The product with its transpose."""
        return self._matrix(self._out_of, weights) @ gradient

    def to_weights(self, states: Tensor, gradient: Tensor) -> Tensor:
        """The product of gradients and states at the matrix's entries."""
        _, _, order, back = self._into
        empty = self._matrix(self._into, states.new_zeros(len(order)))
        sampled = torch.sparse.sampled_addmm(empty, gradient, states.t(), beta=0.0)
        return sampled.values()[back]

    def _matrix(self, form: tuple[Tensor, Tensor, Tensor, Tensor], weights: Tensor) -> Tensor:
        start, column, order, _ = form
        return torch.sparse_csr_tensor(
            start, column, weights[order], size=self.size, check_invariants=False
        )


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, states: Tensor, sums: NeighbourSums) -> Tensor:
        ctx.save_for_backward(weights, states)
        ctx.sums = sums
        return sums.forward(weights, states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weights, states = ctx.saved_tensors
        sums: NeighbourSums = ctx.sums
        gradient = gradient.contiguous()
        return (
            sums.to_weights(states, gradient) if ctx.needs_input_grad[0] else None,
            sums.to_states(weights, gradient) if ctx.needs_input_grad[1] else None,
            None,
        )


@functools.cache
def available() -> bool:
    """Whether this build of torch has the sparse products that are needed, on the CPU."""
    ends = torch.tensor([0, 1])
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        # torch calls the layout a beta, once a process.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        try:
            sums = NeighbourSums(ends, ends.flip(0), 2)
            weights, states = torch.tensor([2.0, 3.0]), torch.tensor([[5.0], [7.0]])
            found = (
                sums.forward(weights, states),
                sums.to_states(weights, states),
                sums.to_weights(states, states),
            )
        except RuntimeError:
            return False
    return [each.flatten().tolist() for each in found] == [[21, 10], [14, 15], [35, 35]]


def _compressed(
    row: Tensor, column: Tensor, num_nodes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where each row starts, the columns in that order, the order, and the way back."""
    order = torch.argsort(row, stable=True)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    start = torch.zeros(num_nodes + 1, dtype=torch.long, device=row.device)
    start[1:] = torch.bincount(row, minlength=num_nodes).cumsum(0)
    index = torch.int32 if max(num_nodes, len(order)) < 2**31 else torch.int64
    return start.to(index), column[order].to(index), order, back


def kind(layer: MessagePassing) -> str | None:
    """Returns "sum" or "mean" if that of weighted neighbours is all a layer's propagation does.

    True of the library's own layers alone, with nothing of the user's hooked into them.
    """
    aggregation = _AGGREGATIONS.get(type(layer.aggr_module))
    plain = type(layer) in _LAYERS and not any(getattr(layer, name) for name in _HOOKS)
    own = any(name in vars(layer) for name in ("message", "explain_message", "aggregate", "update"))
    return aggregation if plain and not own else None
