"""A batch of new events, checked before a model takes any of it in."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_tns.checks import as_nodes, as_times


class EventBatch(NamedTuple):
    """Events in the order of the stream.

    Attributes:
        src: int64 [B].
        dst: int64 [B].
        t: float64 [B].
        edge_features: floating [B, d_e].
    """

    src: Tensor
    dst: Tensor
    t: Tensor
    edge_features: Tensor

    def to(self, device: torch.device) -> EventBatch:
        """Returns it on a device."""
        return EventBatch(*(each.to(device) for each in self))


def event_batch(
    src: Any,
    dst: Any,
    t: Any,
    edge_features: Tensor | None,
    *,
    num_nodes: int,
    edge_dim: int,
    latest: float | None,
    dtype: torch.dtype,
) -> EventBatch:
    """Returns the events as tensors.

    Args:
        src: int [B].
        dst: int [B].
        t: [B].
        edge_features: floating [B, d_e], or None if d_e is 0.
        num_nodes: V; ids are below it.
        edge_dim: d_e.
        dtype: of the features, where they go.
        latest: events may not decrease in time, nor begin before this one; None allows both.

    Raises:
        InputError: an argument is not as described.
    """
    times = as_times(t, "t")
    size = len(times)
    ids = [as_nodes(each, num_nodes, name, size) for each, name in ((src, "src"), (dst, "dst"))]
    if edge_features is None:
        if edge_dim and size:
            raise InputError(f"edge_features is None; the model was made with edge_dim={edge_dim}.")
        edge_features = torch.zeros(size, edge_dim)
    if not isinstance(edge_features, Tensor) or not edge_features.is_floating_point():
        kind = getattr(edge_features, "dtype", type(edge_features).__name__)
        raise InputError(f"edge_features is {kind}; expected a floating-point tensor.")
    if tuple(edge_features.shape) != (size, edge_dim):
        raise InputError(
            f"edge_features is {list(edge_features.shape)}; expected {[size, edge_dim]}."
        )
    edge_features = edge_features.detach().to(dtype)
    if not bool(edge_features.isfinite().all()):
        raise InputError(f"edge_features has values that are not finite as {dtype}.")
    if size and latest is not None:
        if (times[1:] < times[:-1]).any():
            raise InputError("t decreases; sort the events, or pass allow_out_of_order=True.")
        if times[0] < latest:
            raise InputError(
                f"t starts at {times[0]}, before the latest event taken in, at {latest:g}; call "
                "reset_memory() for another stream, or pass allow_out_of_order=True."
            )
    src, dst = (torch.from_numpy(each) for each in ids)
    return EventBatch(src, dst, torch.from_numpy(times).double(), edge_features)
