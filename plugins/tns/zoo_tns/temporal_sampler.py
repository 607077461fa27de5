"""What samplers of temporal neighbours share: bound to events, asked, and run in loaders."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
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
from zoo_tns.positions import check_size

if TYPE_CHECKING:
    from zoo_tns.graph import TemporalGraph


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
        check_choice(neighbor_time, NeighborTime, "neighbor_time")
        check_choice(negatives, Negatives, "negatives")
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


def check_choice(value: object, choices: Any, name: str) -> None:
    """Checks that a value is one of those that a `Literal` lists."""
    if value not in get_args(choices):
        expected = " or ".join(map(repr, get_args(choices)))
        raise InputError(f"{name} is {value!r}; expected {expected}.")


def _check_homogeneous(input_type: object) -> None:
    if input_type is not None:
        raise InputError(
            f"the seeds are of the type {input_type!r}; expected a graph with one type of nodes."
        )
