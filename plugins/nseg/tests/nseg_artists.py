"""A path to draw, and what a picture shows, read back from its artists."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.explain import Explanation

MASKED, KEPT = 0.8, 5.0
"""Widths in points of edges of mask 0 and 1."""
PATH = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
"""0 - 1 - 2 - 3."""
PLACES = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])


def path(**changes):
    given = {
        "x": torch.eye(7)[[0, 1, 2, 0]],
        "edge_index": PATH,
        "edge_mask": torch.tensor([1.0, 0.2, 0.1, 0.5, 0.0, 0.0]),
        "label": torch.tensor([1]),
        "pns_lower": torch.tensor(0.25),
        "pns_upper": torch.tensor(0.875),
    }
    return Explanation(
        **{key: value for key, value in {**given, **changes}.items() if value is not None}
    )


def artists(ax, gid):
    return [each for each in ax.get_children() if each.get_gid() == gid]


def drawn(ax, gid):
    (artist,) = artists(ax, gid)
    return artist


def lines(ax, gid="edges"):
    """The ends of each line and its width."""
    collection = drawn(ax, gid)
    widths = np.broadcast_to(collection.get_linewidths(), len(collection.get_segments()))
    return {
        tuple(sorted(map(tuple, np.round(ends, 6).tolist()))): width
        for ends, width in zip(collection.get_segments(), widths, strict=True)
    }


def between(places, *pair):
    return tuple(sorted(tuple(np.round(places[each], 6).tolist()) for each in pair))
