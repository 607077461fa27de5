"""A temporal graph: an index of its events, and the features of events and nodes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_tns.index import TemporalIndex

if TYPE_CHECKING:
    from torch_geometric.data import TemporalData


class TemporalGraph:
    """What a temporal graph network looks up: events before a time, and features.

    Attributes:
        index: the events.
        node_features: floating [V, d_n], or None: zeros.
    """

    def __init__(
        self,
        index: TemporalIndex,
        edge_features: Tensor | None = None,
        node_features: Tensor | None = None,
    ) -> None:
        """Puts them together.

        Args:
            index: the events. Their ids are rows of `edge_features`.
            edge_features: floating [E, d_e]; None or a width of 0 is none.
            node_features: floating [V, d_n], or None.

        Raises:
            InputError: the rows do not fit the events or the nodes, or values are not finite.
        """
        if not isinstance(index, TemporalIndex):
            raise InputError(f"index is a {type(index).__name__}; expected a TemporalIndex.")
        self.index = index
        events = index.num_events
        features = torch.zeros(events, 0) if edge_features is None else edge_features
        self._edges = _features(features, "edge_features", events, "events")
        self._num_events = events
        self.node_features = (
            None
            if node_features is None
            else _features(node_features, "node_features", index.num_nodes, "nodes")
        )

    @classmethod
    def from_data(
        cls,
        data: TemporalData,
        num_nodes: int | None = None,
        node_features: Tensor | None = None,
    ) -> TemporalGraph:
        """Returns the graph of `torch_geometric`'s events; `data.msg` are the edge features.

        Args:
            data: the events, with src, dst and t; msg floating [E, d_e] is optional.
            num_nodes: V; None is one above the largest id.
            node_features: floating [V, d_n], or None.
        """
        index = TemporalIndex(data.src, data.dst, data.t, num_nodes=num_nodes)
        return cls(index, getattr(data, "msg", None), node_features)

    @property
    def edge_features(self) -> Tensor:
        """Floating [E, d_e], by event id; d_e may be 0."""
        return self._edges[: self._num_events]

    @property
    def edge_dim(self) -> int:
        """d_e."""
        return self._edges.shape[1]

    @property
    def num_nodes(self) -> int:
        """V."""
        return self.index.num_nodes

    @property
    def num_events(self) -> int:
        """E."""
        return self._num_events

    def to(self, device: Any) -> TemporalGraph:
        """Returns the graph with its features on a device. The index is always in main memory."""
        moved = copy.copy(self)
        moved._edges = self._edges.to(device)
        if self.node_features is not None:
            moved.node_features = self.node_features.to(device)
        return moved

    def append(
        self,
        src: Any,
        dst: Any,
        t: Any,
        edge_features: Tensor | None = None,
        *,
        allow_out_of_order: bool = False,
    ) -> None:
        """Adds events at the end of the stream.

        Args:
            src: int [B].
            dst: int [B].
            t: [B], none before the last event.
            edge_features: floating [B, d_e]; needed where the graph has some.
            allow_out_of_order: also take events before the last one.

        Raises:
            InputError: an argument is not as described; the graph is as it was.
        """
        size = len(src)
        features = self.new_features(edge_features, size)
        if self.node_features is not None:
            largest = max(int(torch.as_tensor(each).max()) for each in (src, dst)) if size else -1
            if largest >= len(self.node_features):
                raise InputError(
                    f"node {largest} has no features: node_features has "
                    f"{len(self.node_features)} rows."
                )
        ids = torch.arange(self._num_events, self._num_events + size)
        self.index.append(src, dst, t, edge_id=ids, allow_out_of_order=allow_out_of_order)
        needed = self._num_events + size
        if needed > len(self._edges):
            grown = self._edges.new_zeros(max(needed, 2 * len(self._edges)), self.edge_dim)
            grown[: self._num_events] = self.edge_features
            self._edges = grown
        self._edges[self._num_events : needed] = features
        self._num_events = needed

    def new_features(self, edge_features: Tensor | None, size: int) -> Tensor:
        """Returns the features of `size` new events, checked: floating [size, d_e]."""
        if edge_features is None and self.edge_dim:
            raise InputError(
                f"edge_features is None; the graph's events have {self.edge_dim} features each."
            )
        features = torch.zeros(size, 0) if edge_features is None else edge_features
        features = _features(features, "edge_features", size, "events")
        if features.shape[1] != self.edge_dim:
            raise InputError(
                f"edge_features has {features.shape[1]} columns; expected {self.edge_dim}."
            )
        return features.to(self._edges)


def _features(value: object, name: str, rows: int, of: str) -> Tensor:
    if not (isinstance(value, Tensor) and value.ndim == 2 and value.is_floating_point()):
        raise InputError(f"{name} is not a floating-point tensor of two dimensions.")
    if len(value) != rows:
        raise InputError(f"{name} has {len(value)} rows; expected one for each of {rows} {of}.")
    if not bool(value.isfinite().all()):
        raise InputError(f"{name} has values that are not finite.")
    return value.detach()
