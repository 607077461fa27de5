"""One pass of embedding: the recursion over layers and neighbours (section 3, Eq. 2 to 11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from zoo_tns.interpolation import interpolate_rows
from zoo_tns.memory import MemoryView
from zoo_tns.messages import reads, unique_queries
from zoo_tns.neighbors import Neighbors
from zoo_tns.positions import Positions, expanded, largest_rate

if TYPE_CHECKING:
    from zoo_tns.graph import TemporalGraph
    from zoo_tns.model import TemporalGNN


class Queries(NamedTuple):
    """Whose embedding is wanted, and as of when.

    Attributes:
        nodes: int64 [B], in main memory.
        times: int64 or float64 [B], in main memory.
    """

    nodes: Tensor
    times: Tensor


class Pass:
    """Embeds queries with one state of the memory; holds what queries share, then is let go."""

    def __init__(self, model: TemporalGNN, graph: TemporalGraph) -> None:
        """Begins a pass over a graph."""
        graph.check_whole()
        self.model = model
        self.graph = graph
        self.device = model.time_encoder.weight.device
        self.now = model.time_encoder.now()
        self._memory: Callable[[Tensor], Tensor] | None = None
        if model.memory is not None:
            self._memory = MemoryView(model.memory, model.state())

    def embed(self, queries: Queries, layer: int) -> Tensor:
        """Returns the embeddings after a layer: [B, d_l]."""
        if layer == 0:
            return self._initial(queries.nodes)
        return self.layer(queries, layer)[0]

    def layer(self, queries: Queries, layer: int) -> tuple[Tensor, Tensor | None]:
        """Returns the embeddings after a layer, and the rates by which it sampled, float64 [B].

        The rates are None where sampling has none.
        """
        model = self.model
        count = self.graph.index.count(*queries)
        if model.sampler in ("tns", "expanded"):
            h, messages, mask, rate = self._expanded(queries, count, layer)
        else:
            rate = None if model.sampler == "uniform" else torch.ones(len(count)).double()
            found = self.graph.index.lookup(queries.nodes, count, self._whole(count))
            h, messages = self._messages(queries, found, layer)
            mask = found.mask.to(self.device)
        return model.aggregators[layer - 1](h, messages, mask, self.now), rate

    def _whole(self, count: Tensor) -> Tensor:
        """Positions that are events: the most recent (Eq. 3), or some drawn with replacement."""
        k = self.model.k
        if self.model.sampler == "uniform":
            drawn = torch.rand(
                len(count), k, dtype=torch.float64, generator=self.model.sampling_generator
            )
            # An empty history has no position; 1 is masked there.
            drawn = (drawn * count.unsqueeze(1)).long() + 1
            return torch.minimum(drawn, count.clamp(min=1).unsqueeze(1))
        return torch.arange(1, k + 1).expand(len(count), -1)

    def _expanded(
        self, queries: Queries, count: Tensor, layer: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reads messages at expanded positions: h, messages [B, k, d_m], mask [B, k], rates [B]."""
        model = self.model
        k, index = model.k, self.graph.index
        recent = torch.arange(1, k + 1).expand(len(count), -1)
        found = index.lookup(queries.nodes, count, recent)
        h, messages = self._messages(queries, found, layer)
        mask = found.mask.to(self.device)
        if model.sampler == "tns":
            rate = model.expansions[layer - 1](h, messages, mask, count.to(self.device), self.now)
        else:
            rate = torch.full((len(count),), float(model.rate), dtype=torch.float64)
            if model.short == "clip":
                rate = torch.minimum(rate, largest_rate(count, k))
        rate = rate.to(self.device)
        positions = expanded(rate, count.to(self.device), k)
        if not positions.weight.requires_grad:
            # Without a gradient to the rate, what has no weight need not be read.
            upper = torch.where(positions.weight == 0, positions.floor, positions.upper)
            positions = positions._replace(upper=upper)
            recent = recent.to(self.device)
            if bool(((positions.upper == recent) | ~positions.mask).all()):
                return h, messages, positions.mask, rate
        return h, self._between(queries, count, positions, messages, layer), positions.mask, rate

    def _between(
        self, queries: Queries, count: Tensor, positions: Positions, recent: Tensor, layer: int
    ) -> Tensor:
        """Interpolates the messages at fractional positions; those among the recent are there."""
        k = self.model.k
        read = reads(positions, k)
        history, position = read.history.cpu(), read.position.cpu()
        table = recent.flatten(0, 1)
        if len(history):
            of = Queries(queries.nodes[history], queries.times[history])
            found = self.graph.index.lookup(of.nodes, count[history], position.unsqueeze(1))
            beyond = self._messages(of, found, layer, itself=False)[1]
            table = torch.cat([table, beyond.flatten(0, 1)])
        return interpolate_rows(table, read.lower, read.upper, positions.weight)

    def _messages(
        self, queries: Queries, found: Neighbors, layer: int, itself: bool = True
    ) -> tuple[Tensor | None, Tensor]:
        """Returns h [B, d] of the queries below this layer, and m [B, K, d_m] (Eq. 2).

        Args:
            queries: [B].
            found: the events, [B, K].
            layer: whose messages these are.
            itself: whether h is wanted; else it is None.
        """
        size, width = found.node.shape
        # Padding reads what is there and is masked later; it must only be finite.
        partners = found.node.clamp(min=0).flatten()
        asked = queries.times.unsqueeze(1)
        times = found.time if self.model.neighbor_time == "event" else asked.expand(-1, width)
        below = Queries(partners, times.flatten())
        if not itself:
            h, embedded = None, self._below(below, layer - 1)
        elif below.times.dtype == queries.times.dtype:
            both = Queries(*(torch.cat(each) for each in zip(queries, below, strict=True)))
            h, embedded = self._below(both, layer - 1).split([size, size * width])
        else:
            # Not together: float64 does not hold every int64, and an event's time must be exact.
            h, embedded = (self._below(each, layer - 1) for each in (queries, below))
        neighbours = embedded.unflatten(0, (size, width))
        elapsed = torch.where(found.mask, asked - found.time, 0).to(self.device)
        parts = [neighbours, self.model.time_encoder(elapsed)]
        if self.graph.edge_dim:
            events = found.edge_id.clamp(min=0).to(self.device)
            parts.insert(1, self.graph.edge_features[events].to(embedded))
        return h, torch.cat(parts, dim=2)

    def _below(self, queries: Queries, layer: int) -> Tensor:
        """Embeds queries of which many may be alike, each kind once."""
        if layer == 0:
            return self._initial(queries.nodes)
        first, kind = unique_queries(*queries)
        some = Queries(queries.nodes[first], queries.times[first])
        return self.embed(some, layer).index_select(0, kind.to(self.device))

    def _initial(self, nodes: Tensor) -> Tensor:
        """Layer 0: the features of nodes, plus their memory."""
        nodes = nodes.to(self.device)
        features = self.graph.node_features
        h = None if features is None else features[nodes].to(self.now)
        if self._memory is not None:
            memory = self._memory(nodes)
            h = memory if h is None else h + memory
        return self.now.new_zeros(len(nodes), self.model.node_dim) if h is None else h
