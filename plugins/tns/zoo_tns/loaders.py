"""torch_geometric's loaders, with what its batches have no room for: weights and times of edges.

The samplers run in `torch_geometric.loader.NodeLoader` and `LinkLoader` themselves, too. Event ids
have to be the positions of edges in the data, which they are by default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.sampler import NegativeSampling, SamplerOutput

from zoo_core.errors import InputError
from zoo_tns.hops import Sampled
from zoo_tns.temporal_sampler import TemporalSampler

Transform = Callable[[Data], Data]


class TemporalNodeLoader(NodeLoader):
    """Loads the temporal neighbourhoods of nodes, as `NodeLoader` does.

    Batches have besides: `edge_weight` float32 [M], the weights of interpolation, or 1; `edge_time`
    [M], when an edge's event happened; `node_time` [N], as of when a node is asked about.

    Args:
        data: the graph.
        node_sampler: a sampler, bound to the events.
        input_nodes: ids [S] of the seeds; None takes all nodes.
        input_time: their times [S].
        transform: of a batch; it sees the additional attributes.
        **options: those of `NodeLoader` and of `torch.utils.data.DataLoader`.

    Raises:
        InputError: the sampler is none of ours or not bound, or the times do not fit the nodes.
    """

    def __init__(
        self,
        data: Data,
        node_sampler: TemporalSampler,
        input_nodes: Tensor | None = None,
        input_time: Tensor | None = None,
        transform: Transform | None = None,
        **options: Any,
    ) -> None:
        _check_sampler(node_sampler, "node_sampler")
        super().__init__(data, node_sampler, input_nodes, input_time, **options)
        _check_times(input_time, len(self.input_data.node), "input_time")
        self._finish = transform

    def filter_fn(self, out: SamplerOutput) -> Data:
        """Returns the batch of a sampler's output."""
        return _finished(super().filter_fn(out), out, self._finish)


class TemporalLinkLoader(LinkLoader):
    """Loads the temporal neighbourhoods of edges' endpoints, as `LinkLoader` does.

    Batches have besides what those of `TemporalNodeLoader` have.

    Args:
        data: the graph.
        link_sampler: a sampler, bound to the events.
        edge_label_index: the seed edges [2, S]; None takes those of the data.
        edge_label: their labels [S], if any.
        edge_label_time: their times [S].
        neg_sampling: how many negative edges, and of which kind.
        transform: of a batch; it sees the additional attributes.
        **options: those of `LinkLoader` and of `torch.utils.data.DataLoader`.

    Raises:
        InputError: the sampler is none of ours or not bound, or the times do not fit the edges.
    """

    def __init__(
        self,
        data: Data,
        link_sampler: TemporalSampler,
        edge_label_index: Tensor | None = None,
        edge_label: Tensor | None = None,
        edge_label_time: Tensor | None = None,
        neg_sampling: NegativeSampling | str | None = None,
        transform: Transform | None = None,
        **options: Any,
    ) -> None:
        _check_sampler(link_sampler, "link_sampler")
        super().__init__(
            data,
            link_sampler,
            edge_label_index,
            edge_label,
            edge_label_time,
            neg_sampling,
            **options,
        )
        _check_times(edge_label_time, len(self.input_data.row), "edge_label_time")
        self._finish = transform

    def filter_fn(self, out: SamplerOutput) -> Data:
        """Returns the batch of a sampler's output."""
        return _finished(super().filter_fn(out), out, self._finish)


def _finished(batch: Data, out: SamplerOutput, transform: Transform | None) -> Data:
    sampled: Sampled = out.metadata[-1]
    if batch.edge_index.shape[1] != len(sampled.edge_time):
        raise InputError(
            "transform_sampler_output changed the edges, so that their times and weights are not "
            "known; use transform, which sees both."
        )
    weight = sampled.edge_weight
    batch.edge_weight = (
        torch.ones(len(sampled.edge_time)) if weight is None else weight.to(torch.float32)
    )
    batch.edge_time = sampled.edge_time
    batch.node_time = sampled.node_time
    return batch if transform is None else transform(batch)


def _check_sampler(sampler: object, name: str) -> None:
    if not isinstance(sampler, TemporalSampler):
        raise InputError(f"{name} is a {type(sampler).__name__}; expected a TemporalSampler.")
    _ = sampler.index  # it is bound, or this raises


def _check_times(times: object, size: int, name: str) -> None:
    if not isinstance(times, Tensor) or times.shape != (size,):
        given = list(times.shape) if isinstance(times, Tensor) else type(times).__name__
        raise InputError(f"{name} is {given}; expected a tensor [{size}], the time of each seed.")
