"""Temporal graph networks that sample their neighbours in time, by TNS or as it is compared to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from zoo_core.errors import ConfigError, InputError
from zoo_tns.checks import as_nodes, as_times, whole_times
from zoo_tns.embedding import Pass, Queries
from zoo_tns.event_batch import EventBatch, event_batch
from zoo_tns.gate import Gate
from zoo_tns.graph import TemporalGraph
from zoo_tns.memory import LastBy, Memory, MemoryState
from zoo_tns.merge_layer import MergeLayer
from zoo_tns.optimizing import param_groups
from zoo_tns.pooling import Pooling
from zoo_tns.positions import ShortHistory
from zoo_tns.randomness import Streams
from zoo_tns.rate import ExpansionRate, RateStats, check_number
from zoo_tns.settings import Aggregator, Expansion, NeighborTime, Sampling, Settings
from zoo_tns.temporal_attention import TemporalAttention
from zoo_tns.tgat_attention import TGATAttention
from zoo_tns.time_encoding import TimeEncoder

_T = TypeVar("_T")


class TemporalGNN(nn.Module):
    """Embeds nodes as of a time from the events they took part in strictly before.

    Layer l embeds node i at time t as AGGR(h_i, {messages of sampled events}) (Eq. 4, 11). Which
    events, is `sampler`'s: the k most recent ones, k drawn uniformly with replacement, every
    r-th (Eq. 6), or at a rate that an expansion module of each layer predicts (TNS, Eq. 7 to 10).
    With `memory`, layer 0 is TGN's memory plus the features of nodes; without, the features alone.

    A model looks events up in the graph that `bind` gave it; the graph and the memory are not part
    of its `state_dict`. `model(src, dst, t)` scores links; `embed` gives embeddings.

    Attributes:
        time_encoder: phi, shared by all layers.
        aggregators: AGGR of each layer.
        predictor: the score of a link from two embeddings.
        memory: TGN's, or None.
        expansions: the expansion modules of each layer, for the sampler "tns".
        sampling_generator: what uniform sampling draws from; None is torch's global generator.
    """

    def __init__(
        self,
        num_nodes: int | None = None,
        edge_dim: int = 172,
        node_dim: int = 172,
        time_dim: int = 172,
        hidden: int = 172,
        layers: int = 1,
        k: int = 10,
        aggr: Aggregator = "attention",
        memory: bool = True,
        sampler: Sampling = "tns",
        rate: float = 2.0,
        short: ShortHistory = "truncate",
        expansion: Expansion = "same",
        neighbor_time: NeighborTime | None = None,
        heads: int = 2,
        dropout: float = 0.1,
        sigma: float = 1e-5,
        init_rate: float = 1.0,
        gate: Gate = "inward",
        last_by: LastBy = "role",
    ) -> None:
        """Makes the network. Weights of a backbone do not depend on the sampler: those of expansion
        modules are drawn last.

        Args:
            num_nodes: V; None is as many as the bound graph has.
            edge_dim: d_e, the number of features of an event, or 0.
            node_dim: d_0, of the features of nodes and of the memory.
            time_dim: d_t, of the time encoding.
            hidden: of every layer's result, and within aggregators.
            layers: L.
            k: S, the number of positions that a layer samples.
            aggr: "attention" (TGN), "tgat", "mean" (Eq. 5) or "sum".
            memory: whether nodes have a memory.
            sampler: "tns", "recent" (Eq. 3), "uniform" or "expanded" (Eq. 6).
            rate: of the sampler "expanded"; between integers messages are interpolated.
            short: what "expanded" does with short histories; see `expand_positions`.
            expansion: AGGR_r is of the "same" type and widths as AGGR, or Eq. 5's "mean".
            neighbor_time: as of which time neighbours are embedded: the "query" (Eq. 2, TGN) or
                the "event" (the official TGAT code); None is "event" for "tgat", else "query".
            heads: of attention.
            dropout: of attention.
            sigma: the standard deviation of the expansion modules' last weights at first.
            init_rate: the rate that they start at.
            gate: the gradient beyond the bounds of Eq. 8; see `zoo_tns.gate.truncate`.
            last_by: which message of a batch the memory keeps; see `Memory.store`.

        Raises:
            ConfigError: a value is not one of those, or two do not fit each other.
        """
        super().__init__()
        if neighbor_time is None:
            neighbor_time = "event" if aggr == "tgat" else "query"
        self.settings = Settings(
            num_nodes,
            edge_dim,
            node_dim,
            time_dim,
            hidden,
            layers,
            k,
            aggr,
            memory,
            sampler,
            rate,
            short,
            expansion,
            neighbor_time,
            heads,
            dropout,
            sigma,
            init_rate,
            gate,
            last_by,
        )
        self.sampling_generator: torch.Generator | None = None
        self.time_encoder = TimeEncoder(time_dim)
        self.memory = Memory(node_dim, edge_dim, time_dim) if memory else None
        self.aggregators = nn.ModuleList(
            self._aggregator(layer, aggr, hidden) for layer in range(layers)
        )
        self.predictor = MergeLayer(hidden, hidden, hidden, 1)
        self.expansions = nn.ModuleList()
        if sampler == "tns":
            kind: Aggregator = aggr if expansion == "same" else "mean"
            for layer in range(layers):
                module = self._aggregator(layer, kind, 1)
                self.expansions.append(
                    ExpansionRate(module, k, sigma=sigma, init_rate=init_rate, gate=gate)
                )
        self._graph: TemporalGraph | None = None
        self._state: MemoryState | None = None
        self._streams: Streams | None = None

    def _aggregator(self, layer: int, aggr: Aggregator, out: int) -> nn.Module:
        of = self.settings
        widths = (of.input_dim(layer), of.message_dim(layer))
        if aggr in ("mean", "sum"):
            return Pooling(*widths, of.hidden, out, mean=aggr == "mean")
        attention = TGATAttention if aggr == "tgat" else TemporalAttention
        return attention(*widths, of.time_dim, of.hidden, out, heads=of.heads, dropout=of.dropout)

    node_dim = property(lambda self: self.settings.node_dim, doc="d_0.")
    k = property(lambda self: self.settings.k, doc="S, of each layer.")
    sampler = property(lambda self: self.settings.sampler, doc="How neighbours are sampled.")
    rate = property(lambda self: self.settings.rate, doc='Of the sampler "expanded".')
    short = property(lambda self: self.settings.short, doc="See `expand_positions`.")
    neighbor_time = property(
        lambda self: self.settings.neighbor_time, doc='"query" or "event"; see the class.'
    )

    def reset_parameters(self) -> None:
        """Draws all weights anew; expansion modules start at `init_rate` again."""
        self.time_encoder.reset_parameters()
        for module in (self.memory, *self.aggregators, self.predictor, *self.expansions):
            if module is not None:
                module.reset_parameters()

    # The graph

    def bind(self, graph: TemporalGraph) -> TemporalGNN:
        """Gives the model the events it may look up, and returns the model.

        The memory stays as it is, with room for the graph's nodes. A model that was made with
        num_nodes can be asked for all of them: those without events get none. Otherwise `grow` of
        the graph adds nodes that are still to come.

        The model holds the graph, and copies and pickles of the model hold one as well; `to` moves
        the model alone, so move the graph's features by its own `to`.

        Raises:
            InputError: the graph has other widths, or more nodes than the model.
        """
        if not isinstance(graph, TemporalGraph):
            raise InputError(f"graph is a {type(graph).__name__}; expected a TemporalGraph.")
        of = self.settings
        if graph.edge_dim != of.edge_dim:
            raise InputError(
                f"the graph's events have {graph.edge_dim} features; the model was made with "
                f"edge_dim={of.edge_dim}."
            )
        if graph.node_features is not None and graph.node_features.shape[1] != of.node_dim:
            raise InputError(
                f"the graph's nodes have {graph.node_features.shape[1]} features; the model was "
                f"made with node_dim={of.node_dim}."
            )
        if of.num_nodes is not None and graph.num_nodes > of.num_nodes:
            raise InputError(
                f"the graph has {graph.num_nodes} nodes; the model was made with "
                f"num_nodes={of.num_nodes}."
            )
        if of.num_nodes is not None and graph.node_features is None:
            graph.grow(of.num_nodes)
        self._graph = graph
        return self

    @property
    def graph(self) -> TemporalGraph:
        """The graph that `bind` gave.

        Raises:
            InputError: there is none.
        """
        if self._graph is None:
            raise InputError("the model has no graph to look events up in: call bind(graph) first.")
        return self._graph

    @property
    def num_nodes(self) -> int:
        """V: as the model was made, else as many as the graph has."""
        given = self.settings.num_nodes
        return self.graph.num_nodes if given is None else given

    # Embeddings and scores

    def embed(self, nodes: Any, times: Any) -> Tensor:
        """Returns the embeddings of nodes as of times: [B, hidden].

        Args:
            nodes: int [B].
            times: [B], in the unit of the graph's.

        Raises:
            InputError: an argument is not as described, or no graph is bound.
        """
        queries = self._queries(nodes, times)
        return Pass(self, self.graph).embed(queries, self.settings.layers)

    def forward(
        self, src: Any, dst: Any, t: Any, negative: Any = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Returns the logits of links.

        Args:
            src: int [B].
            dst: int [B].
            t: [B].
            negative: int [B] or [B, n], destinations that were not; optional.

        Returns:
            [B]; with negatives, a pair: [B], and those of (src, negative) in negative's shape.
        """
        source, target = self._queries(src, t, "src", "t"), self._queries(dst, t, "dst", "t")
        size, times = len(source.nodes), source.times
        nodes = [source.nodes, target.nodes]
        if negative is not None:
            try:
                drawn = torch.as_tensor(negative)
            except (TypeError, ValueError, RuntimeError) as error:
                raise InputError(f"negative is no array of ids: {error}") from None
            if drawn.ndim not in (1, 2) or len(drawn) != size:
                raise InputError(
                    f"negative has the shape {list(drawn.shape)}; expected [{size}] or [{size}, n]."
                )
            width = drawn.numel() // max(size, 1)
            repeated = times.repeat_interleave(width)
            nodes.append(self._queries(drawn.flatten(), repeated, "negative").nodes)
            times = torch.cat([times, times, repeated])
        else:
            times = torch.cat([times, times])
        h = Pass(self, self.graph).embed(Queries(torch.cat(nodes), times), self.settings.layers)
        first, second = h[:size], h[size : 2 * size]
        scores = self.predictor(first, second).squeeze(1)
        if negative is None:
            return scores
        others = h[2 * size :]
        against = first.repeat_interleave(width, dim=0)
        return scores, self.predictor(against, others).squeeze(1).view(drawn.shape)

    def score(self, src: Any, dst: Any, t: Any) -> Tensor:
        """Returns the logits of links, [B]; `forward` without negatives."""
        return self(src, dst, t)

    @torch.no_grad()
    def rates(self, nodes: Any, times: Any) -> Tensor:
        """Returns the rate at which each layer samples for queries: float64 [B, L], at least 1.

        Args:
            nodes: int [B].
            times: [B].

        Raises:
            InputError: an argument is not as described, or the sampler is "uniform", without rates.
        """
        if self.sampler == "uniform":
            raise InputError("the sampler is 'uniform', which has no rate.")
        queries = self._queries(nodes, times)

        def each() -> Tensor:
            shared = Pass(self, self.graph)
            layers = range(1, self.settings.layers + 1)
            found = [shared.layer(queries, layer)[1] for layer in layers]
            return torch.stack([rate for rate in found if rate is not None], dim=1)

        return self._evaluating(each)

    def _evaluating(self, function: Callable[[], _T]) -> _T:
        """Calls a function with the model in evaluation mode, and restores each module's mode."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            return function()
        finally:
            for module, mode in modes:
                module.training = mode

    def _queries(self, nodes: Any, times: Any, name: str = "nodes", of: str = "times") -> Queries:
        known = self.graph.num_nodes
        moments = as_times(times, of)
        if self.graph.index.time_dtype == torch.int64:
            moments = whole_times(moments)
        ids = as_nodes(nodes, known, name, len(moments))
        return Queries(torch.from_numpy(ids), torch.from_numpy(moments))

    # The stream

    def state(self) -> MemoryState:
        """Returns the memory's own state, with room for all nodes, where the weights are.

        Raises:
            ConfigError: the model has no memory.
            InputError: the number of nodes is not known: no num_nodes, and no graph is bound.
        """
        if self.memory is None:
            raise ConfigError("the model has no memory; make it with memory=True.")
        weights = self.memory.cell.weight_hh
        with torch.inference_mode(False):  # tensors made in that mode could never be updated
            if self._state is None:
                self._state = self.memory.empty(self.num_nodes)
            stored = self._state.memory
            if (stored.dtype, stored.device) != (weights.dtype, weights.device):
                self._state = self._state.like(weights)
            self._state = self._state.grown(self.graph.num_nodes if self._graph else 0)
        return self._state

    def update(
        self,
        src: Any,
        dst: Any,
        t: Any,
        edge_features: Tensor | None = None,
        *,
        allow_out_of_order: bool = False,
    ) -> None:
        """Takes events of the stream into the memory, after they were scored.

        What is pending with their nodes goes into the memory for good; then the messages of these
        events are pending. In training, call it before the optimizer's step. Without a memory it
        does nothing but check.

        Args:
            src: int [B].
            dst: int [B].
            t: [B], non-decreasing, none before the latest event taken in.
            edge_features: floating [B, d_e]; may be None if the model has edge_dim=0.
            allow_out_of_order: also take events before the latest one.

        Raises:
            InputError: an argument is not as described; the memory is as it was.
        """
        batch = self._events(src, dst, t, edge_features, self.num_nodes, allow_out_of_order)
        if self.memory is None or len(batch.t) == 0:
            return
        batch = batch.to(self.time_encoder.weight.device)
        state = self.state()
        self.memory.persist(state, torch.cat([batch.src, batch.dst]).unique())
        self.memory.store(state, *batch, self.time_encoder, self.settings.last_by)
        state.latest = max(state.latest, float(batch.t.max()))

    def observe(
        self,
        src: Any,
        dst: Any,
        t: Any,
        edge_features: Tensor | None = None,
        *,
        allow_out_of_order: bool = False,
    ) -> None:
        """Takes new events of a live stream into the memory and into the bound graph.

        Arguments and errors are those of `update`; nodes may be new where the model was made
        without num_nodes. A snapshot of the memory does not hold the graph: after going back to
        one, events that the graph has are taken in again by `update`.
        """
        graph = self.graph
        graph.check_whole()
        limit = self.settings.num_nodes or 2**62
        self._events(src, dst, t, edge_features, limit, allow_out_of_order)
        graph.append(src, dst, t, edge_features, allow_out_of_order=allow_out_of_order)
        self.update(src, dst, t, edge_features, allow_out_of_order=allow_out_of_order)

    def _events(
        self,
        src: Any,
        dst: Any,
        t: Any,
        edge_features: Tensor | None,
        num_nodes: int,
        allow_out_of_order: bool,
    ) -> EventBatch:
        free = allow_out_of_order or self.memory is None
        latest = -float("inf") if self._state is None else self._state.latest
        return event_batch(
            src,
            dst,
            t,
            edge_features,
            num_nodes=num_nodes,
            edge_dim=self.settings.edge_dim,
            latest=None if free else latest,
            dtype=self.time_encoder.weight.dtype,
        )

    def reset_memory(self) -> None:
        """Forgets the stream: the memory is zero and nothing is pending."""
        self._state = None

    def memory_state(self) -> dict[str, Tensor]:
        """Returns a copy of what is remembered of the stream, pending messages included.

        Empty for a model without memory. `load_memory_state` takes it back.
        """
        return {} if self.memory is None else self.state().tensors()

    def load_memory_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `memory_state` returned.

        Raises:
            InputError: it is not such a state, or is of another number of nodes; nothing changed.
        """
        if self.memory is None:
            if state:
                raise InputError("the model has no memory, and the state is not empty.")
            return
        with torch.inference_mode(False):
            found = MemoryState.of_tensors(dict(state), self.memory.width, self.memory.raw_width)
        limit = self.settings.num_nodes
        if limit is not None and found.num_nodes not in (limit, self.state().num_nodes):
            raise InputError(
                f"the state is of {found.num_nodes} nodes; the model was made with "
                f"num_nodes={limit}."
            )
        self._state = found.like(self.memory.cell.weight_hh)

    # Training

    def param_groups(
        self, lr: float, alpha: float = 0.1, weight_decay: float | None = None
    ) -> list[dict[str, Any]]:
        """Returns the groups of an optimizer: expansion modules learn at alpha x lr.

        Args:
            lr: of the backbone.
            alpha: the paper's is 0.1.
            weight_decay: of all parameters but the expansion modules' last biases, whose neutral
                value is 1 and which have none; None is the optimizer's own.

        Raises:
            ConfigError: a value is negative or not finite.
        """
        return param_groups(self, self.expansions, lr, alpha, weight_decay)

    def rate_stats(self) -> dict[str, float]:
        """Returns means over all rates given in training since `reset_rate_stats`.

        Empty for samplers but "tns"; else mean_rate, closed_share (of the queries with more than
        k events, those whose x was below 1), bounded_share (above the upper bound) and
        active_share (of all queries, those with more than k events).
        """
        if not self.expansions:
            return {}
        total = RateStats()
        for module in self.expansions:
            total = total + module.stats()
        return total.shares()

    def reset_rate_stats(self) -> None:
        """Starts the statistics of `rate_stats` anew."""
        for module in self.expansions:
            module.reset_stats()

    def hold_rate(self, rate: float | None) -> None:
        """Holds TNS's rates at a constant, truncated as in Eq. 8; None lets it predict again.

        It is a control for experiments, and no part of what is saved.

        Raises:
            ConfigError: the rate is below 1, or the sampler is not "tns".
        """
        if rate is not None:
            try:
                check_number(rate, "rate", 1)
            except InputError as error:
                raise ConfigError(str(error)) from None
        if self.sampler != "tns":
            raise ConfigError(f"the sampler is {self.sampler!r}; only 'tns' has rates to hold.")
        for module in self.expansions:
            module.held = None if rate is None else float(rate)

    def seed_dropout(self, seed: int) -> None:
        """Gives dropout of the backbone, of the expansion modules, and uniform sampling generators
        of their own, so that two models that sample differently draw the same otherwise."""
        self._take(Streams(self, self.time_encoder.weight.device)).seed(seed)

    def _take(self, streams: Streams) -> Streams:
        self._streams = streams
        self.sampling_generator = streams.sampling
        return streams

    def random_state(self) -> dict[str, Tensor]:
        """Returns the states of the generators that `seed_dropout` made; empty without."""
        return {} if self._streams is None else self._streams.state()

    def load_random_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `random_state` returned.

        Raises:
            InputError: it is not such a state.
        """
        if state:
            self._take(Streams(self, self.time_encoder.weight.device, state))
