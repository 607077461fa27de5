"""Subgraphs of several hops against loops; their format, order and disjointness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tns_sampling import DETERMINISTIC, subgraph
from tns_streams import Stream, queries, streams
from torch_geometric.sampler import NodeSamplerInput, SamplerOutput

from zoo_core.errors import InputError
from zoo_tns.index import TemporalIndex
from zoo_tns.samplers import RecentSampler, TNSSampler, UniformSampler
from zoo_tns.temporal_sampler import TemporalSampler


def sampled(
    sampler: TemporalSampler, stream: Stream, nodes: list[int], times: Any
) -> SamplerOutput:
    seeds = NodeSamplerInput(
        torch.arange(len(nodes)) + 100,
        torch.tensor(nodes, dtype=torch.int64),
        times if isinstance(times, torch.Tensor) else torch.from_numpy(_exactly(times)),
    )
    return sampler.bind(stream.index()).sample_from_nodes(seeds)


def _exactly(times: list[Any]) -> Any:
    whole = all(isinstance(each, int) for each in times)
    return np.array(times, np.int64 if whole else np.float64)


@pytest.mark.parametrize("name", DETERMINISTIC)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_nodes_and_edges_are_those_of_a_loop_in_its_order(name, data) -> None:
    sampler = DETERMINISTIC[name]
    stream = data.draw(streams(largest=20))
    nodes, times = data.draw(queries(stream, largest=4))
    found = sampled(sampler, stream, nodes, times)
    expected = subgraph(sampler, stream, nodes, times)
    extra = found.metadata[2]
    described = list(
        zip(found.batch.tolist(), found.node.tolist(), extra.node_time.tolist(), strict=True)
    )
    assert described == expected["nodes"]
    edges = (found.row, found.col, found.edge, extra.edge_time)
    assert list(zip(*(each.tolist() for each in edges), strict=True)) == [
        each[:4] for each in expected["edges"]
    ]
    weights = [each[4] for each in expected["edges"]]
    if extra.edge_weight is None:
        assert set(weights) <= {None}
    else:
        assert extra.edge_weight.tolist() == pytest.approx(weights)
    assert found.num_sampled_nodes == expected["num_nodes"]
    assert found.num_sampled_edges == expected["num_edges"]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_seed_has_the_same_subgraph_alone_as_in_a_batch(data) -> None:
    sampler = RecentSampler([2, 2], neighbor_time=data.draw(st.sampled_from(["query", "event"])))
    stream = data.draw(streams())
    nodes, times = data.draw(queries(stream, largest=5))
    together = sampled(sampler, stream, nodes, times)
    for seed in range(len(nodes)):
        alone = sampled(sampler, stream, nodes[seed : seed + 1], times[seed : seed + 1])
        mine = together.batch == seed
        assert together.node[mine].tolist() == alone.node.tolist()
        edges = mine[together.col]
        assert bool(mine[together.row[edges]].all())
        assert together.edge[edges].tolist() == alone.edge.tolist()
        assert together.node[together.row[edges]].tolist() == alone.node[alone.row].tolist()


def test_edges_point_from_the_neighbour_to_whom_it_is_sampled_for() -> None:
    stream = Stream([0, 1, 2], [1, 2, 3], [1, 2, 3])
    found = sampled(RecentSampler([1, 1, 1]), stream, [3], [9])
    # 3 hears of 2, which hears of its own most recent event: with 3 again.
    assert found.node.tolist() == [3, 2]
    assert (found.row.tolist(), found.col.tolist(), found.edge.tolist()) == ([1, 0], [0, 1], [2, 2])
    assert found.num_sampled_nodes == [1, 1, 0, 0]
    assert found.num_sampled_edges == [1, 1, 0]
    event = sampled(RecentSampler([1, 1, 1], neighbor_time="event"), stream, [3], [9])
    assert event.node.tolist() == [3, 2, 1, 0]
    assert event.edge.tolist() == [2, 1, 0]
    assert event.metadata[2].node_time.tolist() == [9, 3, 2, 1]


def test_a_node_is_there_once_for_each_time_it_is_asked_about() -> None:
    stream = Stream([0, 0, 0], [1, 1, 1], [1, 2, 3])
    query = sampled(RecentSampler(3), stream, [0], [9])
    assert (query.node.tolist(), query.row.tolist()) == ([0, 1], [1, 1, 1])
    event = sampled(RecentSampler(3, neighbor_time="event"), stream, [0], [9])
    assert (event.node.tolist(), event.row.tolist()) == ([0, 1, 1, 1], [1, 2, 3])


def test_equal_seeds_stay_apart() -> None:
    stream = Stream([0], [1], [1])
    found = sampled(RecentSampler(1), stream, [0, 0, 1], [9, 9, 9])
    assert found.node.tolist() == [0, 0, 1, 1, 1, 0]
    assert found.batch.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.node[found.batch].tolist() == [0, 0, 1, 0, 0, 1]


def test_draws_of_one_event_are_edges_of_their_own_without_weights_and_one_with() -> None:
    stream = Stream([0, 0], [1, 2], [1, 2])
    uniform = sampled(UniformSampler(40, seed=0), stream, [0], [9])
    assert uniform.row.numel() == 40
    assert uniform.node.numel() == 3
    assert uniform.metadata[2].edge_weight is None
    recent = Stream([0] * 5, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    tns = sampled(TNSSampler(4, rate=1.25), recent, [0], [9])
    # Positions 1, 2.25, 3.5 and 4.75 lie around the events 4, 3 and 2, 2 and 1, 1 and 0.
    assert tns.edge.tolist() == [4, 3, 2, 1, 0]
    assert tns.metadata[2].edge_weight.tolist() == [1.0, 0.75, 0.75, 0.75, 0.75]


def test_weights_that_carry_a_gradient_become_numbers() -> None:
    rate = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    sampler = TNSSampler(2, rate=lambda nodes, times: rate.expand(len(nodes)))
    found = sampled(sampler, Stream([0] * 4, [1, 2, 3, 4], [1, 2, 3, 4]), [0], [9])
    assert found.metadata[2].edge_weight.tolist() == [1.0, 0.5, 0.5]
    assert not found.metadata[2].edge_weight.requires_grad


@pytest.mark.parametrize("neighbor_time", ["query", "event"])
def test_integer_events_asked_about_in_fractions(neighbor_time) -> None:
    """As of 1.6e18 + 1 nanoseconds a float64 cannot tell an event from the one before."""
    start = 1_600_000_000_000_000_000
    stream = Stream([0, 1, 2], [1, 2, 3], [start, start + 1, start + 2])
    sampler = RecentSampler([1, 1], neighbor_time=neighbor_time)
    found = sampled(sampler, stream, [3], torch.tensor([2e18], dtype=torch.float64))
    assert found.edge.tolist() == [2, 2 if neighbor_time == "query" else 1]
    assert found.metadata[2].edge_time.tolist()[0] == start + 2
    assert found.metadata[2].node_time.dtype == torch.float64


def test_no_seeds_give_an_empty_subgraph() -> None:
    found = sampled(TNSSampler([2, 2]), Stream([0], [1], [1]), [], [])
    assert found.node.shape == found.row.shape == found.edge.shape == (0,)
    assert found.num_sampled_nodes == [0, 0, 0]


def test_metadata_are_what_loaders_read() -> None:
    found = sampled(RecentSampler(1), Stream([0], [1], [1]), [0, 1], [5, 6])
    assert found.metadata[0].tolist() == [100, 101]
    assert found.metadata[1].tolist() == [5, 6]


def test_events_of_one_id_and_time_differ_in_their_neighbours() -> None:
    index = TemporalIndex([0] * 5, [1, 2, 3, 4, 4], [1, 1, 1, 4, 4], edge_id=[5] * 5)
    seeds = NodeSamplerInput(None, torch.tensor([0]), torch.tensor([9]))
    found = TNSSampler(3, rate=1.75).bind(index).sample_from_nodes(seeds)
    # Positions 1, 2.75 and 4.5; those of node 4 are one, since nothing tells them apart.
    assert found.node[found.row].tolist() == [4, 3, 2, 1]
    assert found.edge.tolist() == [5, 5, 5, 5]
    assert found.metadata[2].edge_time.tolist() == [4, 1, 1, 1]
    assert found.metadata[2].edge_weight.tolist() == [1.25, 0.75, 0.5, 0.5]


def test_events_of_one_id_and_neighbour_differ_in_their_times() -> None:
    index = TemporalIndex([0, 0], [1, 1], [1, 2], edge_id=[5, 5])
    seeds = NodeSamplerInput(None, torch.tensor([0]), torch.tensor([9]))
    found = TNSSampler(2).bind(index).sample_from_nodes(seeds)
    assert found.metadata[2].edge_time.tolist() == [2, 1]
    assert found.metadata[2].edge_weight.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("nodes", "times", "message"),
    [
        (torch.zeros(1, dtype=torch.int64), torch.ones(2), "times has length 2; expected 1"),
        (torch.zeros(1), torch.ones(1), "seeds are of type float32"),
    ],
)
def test_seeds_that_are_none(nodes, times, message) -> None:
    sampler = RecentSampler(1).bind(Stream([0], [1], [1]).index())
    with pytest.raises(InputError, match=message):
        sampler.sample_from_nodes(NodeSamplerInput(None, nodes, times))
