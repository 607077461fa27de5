"""Messages of events (Eq. 2), and where in a table of them a history's positions are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from zoo_tns.positions import Positions


class Reads(NamedTuple):
    """Which rows of a table of messages a batch's fractional positions read.

    The table holds first the k most recent messages of each history, k rows a history, and then
    those beyond: events that positions need and that are older than these.

    Attributes:
        lower: int64 [B, k], the rows of the more recent events.
        upper: int64 [B, k], the rows of the older ones.
        history: int64 [M], whose history each message beyond is of.
        position: int64 [M], its position there.
    """

    lower: Tensor
    upper: Tensor
    history: Tensor
    position: Tensor


def reads(positions: Positions, k: int) -> Reads:
    """Returns where positions find their events, each event beyond the first k named once."""
    size = len(positions.floor)
    wanted = torch.stack([positions.floor, positions.upper], dim=2).view(size, -1)
    # Rates are at least 1, so a history's wanted positions do not decrease: what repeats, is next.
    beyond = wanted > k
    first = beyond.clone()
    first[:, 1:] &= wanted[:, 1:] != wanted[:, :-1]
    number = first.flatten().cumsum(0).view_as(first) - 1
    start = torch.arange(size, device=wanted.device).unsqueeze(1) * k
    row = torch.where(beyond, size * k + number, start + wanted - 1).view(size, k, 2)
    history, place = first.nonzero(as_tuple=True)
    return Reads(row[..., 0], row[..., 1], history, wanted[history, place])


def unique_queries(nodes: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Returns which of the queries (node, time) are the first of their kind, and each one's kind.

    Args:
        nodes: int64 [n].
        times: [n].

    Returns:
        int64 [u], rows of the first ones; and int64 [n], for each query the place of its like.
    """
    moments, moment = times.unique(return_inverse=True)
    kinds, kind = (moment + nodes * len(moments)).unique(return_inverse=True)
    rows = torch.arange(len(nodes), device=nodes.device)
    first = rows.new_full((len(kinds),), len(nodes)).scatter_reduce(0, kind, rows, "amin")
    return first, kind
