"""What a look-up of neighbours returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Neighbors(NamedTuple):
    """Events of the histories of B queries, K columns each, on the CPU.

    Attributes:
        node: int64 [B, K], the other endpoint; -1 where the mask is False.
        edge_id: int64 [B, K], the event; -1 where the mask is False.
        time: int64 or float64 [B, K], when it happened; 0 where the mask is False.
        mask: bool [B, K], whether there is an event. Go by it: 0 is a node like any other.
    """

    node: Tensor
    edge_id: Tensor
    time: Tensor
    mask: Tensor


class WeightedNeighbors(NamedTuple):
    """`Neighbors` that do not all count alike.

    Attributes:
        node: int64 [B, K], as of `Neighbors`, like the next three.
        edge_id: int64 [B, K].
        time: int64 or float64 [B, K].
        mask: bool [B, K].
        weight: float64 [B, K], how much the column counts in a sum of messages; 0 where the mask is
            False.
    """

    node: Tensor
    edge_id: Tensor
    time: Tensor
    mask: Tensor
    weight: Tensor


class Window(NamedTuple):
    """All events of B queries in a window of time, one query after the other, newest first.

    Attributes:
        offsets: int64 [B + 1]; those of query i are the entries offsets[i] to offsets[i + 1] - 1.
        node: int64 [M], the other endpoint.
        edge_id: int64 [M].
        time: int64 or float64 [M].
    """

    offsets: Tensor
    node: Tensor
    edge_id: Tensor
    time: Tensor
