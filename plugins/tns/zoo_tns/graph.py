"""A temporal graph: an index of its events, and the features of events and nodes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_tns.checks import as_ids, as_times
from zoo_tns.index import TemporalIndex

if TYPE_CHECKING:
    from torch_geometric.data import TemporalData


class TemporalGraph:
    """What a temporal graph network looks up: events before a time, and features.

    Several models may share one. Of a live stream, one of them takes an event in by `observe`, the
    others by `update`: else it would be there twice.

    Attributes:
        index: the events. Events are added through the graph, not here.
        node_features: floating [V, d_n], or None: zeros. Gradients reach it.
    """

    def __init__(
        self,
        index: TemporalIndex,
        edge_features: Tensor | None = None,
        node_features: Tensor | None = None,
    ) -> None:
        """Puts them together.

        Args:
            index: the events.
            edge_features: floating [R, d_e], a row for each id of an event; an index of some
                events may have the features of all. None or a width of 0 is none. Gradients do
                not reach it.
            node_features: floating [V, d_n], or None.

        Raises:
            InputError: the rows do not fit the events or the nodes, or values are not finite.
        """
        if not isinstance(index, TemporalIndex):
            raise InputError(f"index is a {type(index).__name__}; expected a TemporalIndex.")
        self.index = index
        features = torch.zeros(index.num_edge_ids, 0) if edge_features is None else edge_features
        self._edges = _features(features, "edge_features").detach()
        self._rows = len(self._edges)
        if self._rows < index.num_edge_ids:
            raise InputError(
                f"edge_features has {self._rows} rows; expected one for each id of an event, of "
                f"which the largest is {index.num_edge_ids - 1}."
            )
        self._num_events = index.num_events
        self.node_features = None
        if node_features is not None:
            self.node_features = _features(node_features, "node_features")
            if len(node_features) != index.num_nodes:
                raise InputError(
                    f"node_features has {len(node_features)} rows; expected one for each of "
                    f"{index.num_nodes} nodes."
                )

    @classmethod
    def from_data(
        cls,
        data: TemporalData,
        num_nodes: int | None = None,
        node_features: Tensor | None = None,
        **index: Any,
    ) -> TemporalGraph:
        """Returns the graph of `torch_geometric`'s events; `data.msg` are the edge features.

        Args:
            data: the events, with src, dst and t; msg floating [E, d_e] is optional.
            num_nodes: V; None is one above the largest id.
            node_features: floating [V, d_n], or None.
            **index: other arguments of `TemporalIndex`, such as directed.
        """
        made = TemporalIndex.from_data(data, num_nodes=num_nodes, **index)
        return cls(made, getattr(data, "msg", None), node_features)

    @property
    def edge_features(self) -> Tensor:
        """Floating [R, d_e], by event id; d_e may be 0."""
        return self._edges[: self._rows]

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

    def check_whole(self) -> None:
        """Checks that all events of the index came through this graph.

        Raises:
            InputError: the index has others, whose features the graph does not know.
        """
        if self.index.num_events != self._num_events:
            raise InputError(
                f"the graph knows {self._num_events} events and its index has "
                f"{self.index.num_events}: add events through one graph alone."
            )

    def to(self, device: Any) -> TemporalGraph:
        """Returns the graph with its features on a device; the index, in main memory, is shared.

        Add events through one of the two alone; the other is then refused.
        """
        moved = copy.copy(self)
        moved._edges = self._edges.to(device)
        if self.node_features is not None:
            moved.node_features = self.node_features.to(device)
        return moved

    def grow(self, num_nodes: int, node_features: Tensor | None = None) -> None:
        """Adds nodes that have no events yet, up to a number of nodes.

        Args:
            num_nodes: V afterwards; not fewer than there are.
            node_features: floating [new, d_n]; needed where the graph has some.

        Raises:
            InputError: an argument is not as described; the graph is as it was.
        """
        if self.node_features is not None:
            new = max(num_nodes - self.num_nodes, 0)
            rows = self.node_features.new_zeros(0, self.node_features.shape[1])
            rows = rows if node_features is None else _features(node_features, "node_features")
            if rows.shape != (new, self.node_features.shape[1]):
                raise InputError(
                    f"node_features is {list(rows.shape)}; expected "
                    f"{[new, self.node_features.shape[1]]}, a row for each new node."
                )
            self.index.grow(num_nodes)
            self.node_features = torch.cat([self.node_features, rows.to(self.node_features)])
        else:
            self.index.grow(num_nodes)

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
        self.check_whole()
        size = len(as_times(t, "t"))
        ids = [as_ids(each, name, size) for each, name in ((src, "src"), (dst, "dst"))]
        features = self.new_features(edge_features, size)
        if self.node_features is not None and size:
            largest = int(max(each.max() for each in ids))
            if largest >= len(self.node_features):
                raise InputError(
                    f"node {largest} has no features: node_features has "
                    f"{len(self.node_features)} rows; add some by grow()."
                )
        first = max(self._rows, self.index.num_edge_ids)
        added = torch.arange(first, first + size)
        self.index.append(*ids, t, edge_id=added, allow_out_of_order=allow_out_of_order)
        needed = first + size
        if needed > len(self._edges):
            grown = self._edges.new_zeros(max(needed, 2 * len(self._edges)), self.edge_dim)
            grown[: self._rows] = self.edge_features
            self._edges = grown
        self._edges[first:needed] = features
        self._rows = needed
        self._num_events += size

    def new_features(self, edge_features: Tensor | None, size: int) -> Tensor:
        """Returns the features of `size` new events, checked: floating [size, d_e]."""
        if edge_features is None and self.edge_dim and size:
            raise InputError(
                f"edge_features is None; the graph's events have {self.edge_dim} features each."
            )
        given = torch.zeros(size, self.edge_dim) if edge_features is None else edge_features
        features = _features(given, "edge_features").detach().to(self._edges)
        if features.shape != (size, self.edge_dim):
            raise InputError(
                f"edge_features is {list(features.shape)}; expected {[size, self.edge_dim]}."
            )
        return _finite(features, "edge_features")


def _features(value: object, name: str) -> Tensor:
    if not (isinstance(value, Tensor) and value.ndim == 2 and value.is_floating_point()):
        raise InputError(f"{name} is not a floating-point tensor of two dimensions.")
    return _finite(value, name)


def _finite(value: Tensor, name: str) -> Tensor:
    if not bool(value.detach().isfinite().all()):
        raise InputError(f"{name} has values that are not finite as {value.dtype}.")
    return value
