"""Which events of its history a node hears of: samplers of temporal neighbours.

All of them read only events strictly before the time asked about. They run in torch_geometric's
loaders (`zoo_tns.loaders`), and `sample` gives the neighbours themselves.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import TemporalData
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)

from zoo_core.errors import InputError
from zoo_tns.checks import as_nodes, as_times, check_width, window_start
from zoo_tns.draws import Draws
from zoo_tns.hops import NeighborTime, sample_hops
from zoo_tns.index import TemporalIndex
from zoo_tns.links import Negatives, link_metadata, link_seeds
from zoo_tns.neighbors import Neighbors, WeightedNeighbors
from zoo_tns.positions import ShortHistory, check_size, expand_positions

if TYPE_CHECKING:
    from zoo_tns.graph import TemporalGraph

Rate = float | Callable[[Tensor, Tensor], Tensor]
"""An expansion rate of at least 1, or a function of (nodes [B], times [B]) to rates.

The function's rates are [B], or [B, L] with one column for each layer of a model: the last layer
embeds the seeds, so that hop h reads column L - 1 - h.
"""


class TemporalSampler(BaseSampler):
    """What the samplers share: how they are bound to events, asked, and run in loaders.

    A sampler is its configuration. `bind` gives a copy that samples from given events, which can be
    pickled for the workers of a loader.

    Args:
        k: how many neighbours of a node; a list has one number a hop, from the seeds outwards.
        window: only events in [t - window, t), in the unit of the times; None is all before t.
        neighbor_time: as of when the neighbours of neighbours are sampled: "query", the time of the
            seed (Eq. 2; the official TGN code), or "event", that of the event by which the
            neighbour was reached (the official TGAT code).
        negatives: what `sample_from_edges` draws negative edges from: "nodes", all nodes and, in
            mode "binary", for both endpoints, as torch_geometric does; or "destinations", the nodes
            that are a destination of any event, a later one included, while the source stays (the
            official TGN code).
            The weights of a `NegativeSampling` take precedence.
        seed: of all draws, each worker of a loader having its own stream. The draws are then the
            same in every run, and in every epoch whose workers start anew. None draws from torch's
            own generator, which a loader seeds anew for every worker and epoch.

    Raises:
        InputError: a value that is out of its range.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 10,
        *,
        window: float | None = None,
        neighbor_time: NeighborTime = "query",
        negatives: Negatives = "nodes",
        seed: int | None = None,
    ) -> None:
        super().__init__()
        given = list(k) if isinstance(k, list | tuple) else [k]
        if not given:
            raise InputError("k is empty; expected an integer, or one for each hop.")
        for size in given:
            check_size(size, "k")
        # Plain integers, also where NumPy's were given: a configuration is saved as JSON.
        sizes = [int(size) for size in given]
        if window is not None:
            check_width(window, "window")
        _check_choice(neighbor_time, NeighborTime, "neighbor_time")
        _check_choice(negatives, Negatives, "negatives")
        self.k = sizes if isinstance(k, list | tuple) else sizes[0]
        self.window = window.item() if isinstance(window, np.generic) else window
        self.neighbor_time = neighbor_time
        self.negatives = negatives
        self._sizes = sizes
        self._draws = Draws(seed)
        self.seed = self._draws.seed
        self._index: TemporalIndex | None = None

    def bind(self, events: TemporalIndex | TemporalGraph | TemporalData) -> Self:
        """Returns a copy that samples from these events; of an index, from those appended, too.

        Raises:
            InputError: it is neither an index, nor has one, nor is a `TemporalData`.
        """
        if isinstance(events, TemporalData):
            events = TemporalIndex.from_data(events)
        index = events if isinstance(events, TemporalIndex) else getattr(events, "index", None)
        if not isinstance(index, TemporalIndex):
            raise InputError(
                f"a sampler cannot be bound to {type(events).__name__}; expected a TemporalIndex, "
                "a TemporalGraph or a torch_geometric.data.TemporalData."
            )
        bound = copy.copy(self)
        bound._draws = Draws(self.seed)
        bound._index = index
        return bound

    @property
    def index(self) -> TemporalIndex:
        """The events that it samples from.

        Raises:
            InputError: it is not bound to any.
        """
        if self._index is None:
            raise InputError(
                f"this {type(self).__name__} is bound to no events; use what bind(index) returns."
            )
        return self._index

    @property
    def num_hops(self) -> int:
        """How many hops a subgraph has."""
        return len(self._sizes)

    @property
    def edge_permutation(self) -> None:
        """None: the events keep their ids."""
        return None

    def sample(self, seeds: Tensor, seed_times: Tensor) -> Neighbors | WeightedNeighbors:
        """Returns the neighbours of the seeds strictly before their times, one hop.

        They have weights where a sampler interpolates.

        Args:
            seeds: node ids [B].
            seed_times: [B], integers or floats.

        Raises:
            InputError: it is not bound, or the arguments are not as described.
        """
        return self._sample(seeds, seed_times, 0)

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> SamplerOutput:
        """Returns the subgraph around seed nodes, as torch_geometric's `NodeLoader` takes it.

        Subgraphs of different seeds are disjoint; see `zoo_tns.hops.sample_hops`. The metadata are
        (input_id, time, `zoo_tns.hops.Sampled`).

        Raises:
            InputError: it is not bound, or the seeds have no times.
        """
        _check_homogeneous(index.input_type)
        if index.time is None:
            raise InputError("input_time is None; a temporal sampler needs the time of each seed.")
        output, sampled = self._hops(index.node, index.time)
        output.metadata = (index.input_id, index.time, sampled)
        return output

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput:
        """Returns the subgraph around the endpoints of seed edges and of negative ones.

        As torch_geometric's `LinkLoader` takes it. A negative edge has the time of its positive
        one. The metadata are those of torch_geometric, and `zoo_tns.hops.Sampled`.

        Raises:
            InputError: it is not bound, or the edges have no times.
        """
        _check_homogeneous(index.input_type)
        if index.time is None:
            raise InputError("edge_label_time is None; a temporal sampler needs each edge's time.")
        links = link_seeds(index, neg_sampling, self.index, self.negatives, self._draws)
        output, sampled = self._hops(
            torch.cat((links.src, links.dst)), torch.cat((links.src_time, links.dst_time))
        )
        if len(index.row):
            output.batch = output.batch % len(index.row)
        output.metadata = (*link_metadata(index, links, neg_sampling), sampled)
        return output

    def _hops(self, seeds: Tensor, times: Tensor) -> tuple[SamplerOutput, Any]:
        return sample_hops(self._sample, seeds, times, self.num_hops, self.neighbor_time)

    def _sample(self, seeds: Tensor, seed_times: Tensor, hop: int) -> Neighbors | WeightedNeighbors:
        index = self.index
        ids = as_nodes(seeds, index.num_nodes, "seeds")
        asked = as_times(seed_times, "seed_times", len(ids))
        nodes, times = torch.as_tensor(ids), torch.as_tensor(asked)
        counts = available = index.count(ids, asked)
        if self.window is not None:
            available = counts - index.count(ids, window_start(asked, self.window))
        positions, weight = self._columns(nodes, times, available, hop)
        positions = torch.where(positions <= available.unsqueeze(1), positions, 0)
        found = index.lookup(nodes, counts, positions)
        return found if weight is None else WeightedNeighbors(*found, weight * found.mask)

    @abstractmethod
    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, Tensor | None]:
        """Returns positions int64 [B, K] in histories, 0 for none, and weights, if it has any.

        Args:
            nodes: ids [B].
            times: [B].
            available: int64 [B], how many events there are to choose from, the most recent ones.
            hop: 0 for the neighbours of seeds.
        """


class RecentSampler(TemporalSampler):
    """Samples the k most recent events (Eq. 3), newest first; see `TemporalSampler`."""

    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, None]:
        return torch.arange(1, self._sizes[hop] + 1).expand(len(available), -1), None


class UniformSampler(TemporalSampler):
    """Samples k events uniformly, as TGAT does; columns are newest first.

    Args:
        k: see `TemporalSampler`.
        replace: whether an event can be drawn several times; it then is several edges. Without
            replacement a history of at most k events is returned whole.
        window: see `TemporalSampler`, as for the rest.
        neighbor_time: see there.
        negatives: see there.
        seed: see there.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 10,
        *,
        replace: bool = True,
        window: float | None = None,
        neighbor_time: NeighborTime = "query",
        negatives: Negatives = "nodes",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            k,
            window=window,
            neighbor_time=neighbor_time,
            negatives=negatives,
            seed=seed,
        )
        self.replace = bool(replace)

    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, None]:
        draw = self._draws.with_replacement if self.replace else self._draws.without_replacement
        return draw(available, self._sizes[hop]), None


class TNSSampler(TemporalSampler):
    """Samples the fractional positions 1, 1 + r, ..., 1 + (k - 1) r of a history (Eq. 9).

    Columns come in pairs, the two events around each position: column 2 s is the more recent one
    and column 2 s + 1 the older one. Their weights are 1 - w and w, so that the sum of weight times
    message over all columns is the sum of the interpolated messages (Eq. 10); a mean divides it by
    the sum of the weights. In a subgraph, edges of weight 0 are left out and equal ones merged.

    The rates are given. `zoo_tns.model.TemporalGNN` learns them, which no loader can do, since they
    depend on embeddings.

    Args:
        k: see `TemporalSampler`.
        rate: at least 1; or a function of (nodes [B], times [B]) to rates [B] or [B, L], as
            `TemporalGNN.rates` is, see `Rate`; or a list with one of these for each hop. The
            weights of `sample` carry the gradient to the rates.
        short: what becomes of positions beyond the oldest event: "clip" lowers the rate (Eq. 8),
            "truncate" leaves them out.
        window: see `TemporalSampler`, as for the rest.
        neighbor_time: see there.
        negatives: see there.
        seed: see there.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 10,
        *,
        rate: Rate | Sequence[Rate] = 1.0,
        short: ShortHistory = "clip",
        window: float | None = None,
        neighbor_time: NeighborTime = "query",
        negatives: Negatives = "nodes",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            k,
            window=window,
            neighbor_time=neighbor_time,
            negatives=negatives,
            seed=seed,
        )
        several = isinstance(rate, list | tuple)
        given = list(rate) if several else [rate] * self.num_hops
        if len(given) != self.num_hops:
            raise InputError(f"rate has {len(given)} entries, but k has {self.num_hops} hops.")
        rates = [each if callable(each) else _as_rate(each) for each in given]
        _check_choice(short, ShortHistory, "short")
        self.rate = rates if several else rates[0]
        self.short = short
        self._rates = rates

    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, Tensor | None]:
        rate = self._rates[hop]
        if callable(rate):
            rates = self._of_hop(rate(nodes, times), len(available), hop).to(available.device)
        else:
            rates = torch.full_like(available, rate, dtype=torch.float64)
        found = expand_positions(rates, available, self._sizes[hop], self.short)
        pairs = torch.stack((found.floor, found.upper), dim=2) * found.mask.unsqueeze(2)
        weights = torch.stack((1 - found.weight, found.weight), dim=2)
        return pairs.flatten(1), weights.flatten(1)

    def _of_hop(self, rates: object, size: int, hop: int) -> Tensor:
        """Returns a hop's rates [B] of those that a function returned."""
        if not isinstance(rates, Tensor) or rates.ndim not in (1, 2) or len(rates) != size:
            raise InputError(f"rate returned no tensor of shape [{size}] or [{size}, L].")
        if rates.ndim == 1:
            return rates
        layers = rates.shape[1]
        if layers < self.num_hops:
            raise InputError(
                f"rate returned the rates of {layers} layers, but k has {self.num_hops} hops; "
                f"expected a layer for each."
            )
        return rates[:, layers - 1 - hop]


class ExpandedSampler(TNSSampler):
    """Samples every r-th event, going back in time: positions 1, 1 + r, ... (Eq. 6).

    Args:
        k: see `TemporalSampler`.
        rate: r, at least 1. With a fraction, positions are interpolated and columns come in pairs
            with weights, as of `TNSSampler`.
        short: "truncate" leaves out the positions beyond the oldest event (Eq. 6); "clip" lowers
            the rate for short histories so that k positions fit (Eq. 8), which interpolates, too.
        window: see `TemporalSampler`, as for the rest.
        neighbor_time: see there.
        negatives: see there.
        seed: see there.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 10,
        *,
        rate: float = 2,
        short: ShortHistory = "truncate",
        window: float | None = None,
        neighbor_time: NeighborTime = "query",
        negatives: Negatives = "nodes",
        seed: int | None = None,
    ) -> None:
        rate = _as_rate(rate)
        super().__init__(
            k,
            rate=rate,
            short=short,
            window=window,
            neighbor_time=neighbor_time,
            negatives=negatives,
            seed=seed,
        )

    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, Tensor | None]:
        if self.short == "clip" or self.rate != int(self.rate):
            return super()._columns(nodes, times, available, hop)
        # Events that far back are in no history; it keeps the products within int64.
        rate = min(int(self.rate), 2**31)
        return (1 + rate * torch.arange(self._sizes[hop])).expand(len(available), -1), None


def _as_rate(rate: object) -> int | float:
    number = isinstance(rate, Real) and not isinstance(rate, bool)
    if not (number and 1 <= rate < float("inf")):
        raise InputError(f"rate is {rate!r}; expected a finite number of at least 1.")
    return int(rate) if isinstance(rate, Integral) else float(rate)


def _check_choice(value: object, choices: Any, name: str) -> None:
    if value not in get_args(choices):
        expected = " or ".join(map(repr, get_args(choices)))
        raise InputError(f"{name} is {value!r}; expected {expected}.")


def _check_homogeneous(input_type: object) -> None:
    if input_type is not None:
        raise InputError(
            f"the seeds are of the type {input_type!r}; expected a graph with one type of nodes."
        )
