"""Which events the samplers without randomness read, against loops; binding and configuration."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tns_sampling import DETERMINISTIC, columns
from tns_streams import NOTHING, Stream, queries, rows, streams
from torch_geometric.data import TemporalData
from torch_geometric.sampler import BaseSampler, NodeSamplerInput

import zoo
from zoo_core.errors import InputError
from zoo_core.interfaces import Sampler
from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN
from zoo_tns.neighbors import Neighbors, WeightedNeighbors
from zoo_tns.samplers import (
    ExpandedSampler,
    RecentSampler,
    TNSSampler,
    UniformSampler,
)
from zoo_tns.temporal_sampler import TemporalSampler

LINE = Stream([0] * 12, list(range(1, 6)) * 2 + [1, 2], list(range(12)))


@pytest.mark.parametrize("name", DETERMINISTIC)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_first_hop_reads_what_a_loop_reads(name, data) -> None:
    sampler = DETERMINISTIC[name]
    stream = data.draw(streams())
    nodes, times = data.draw(queries(stream))
    found = sampler.bind(stream.index()).sample(nodes, times)
    for query, entries in enumerate(rows(found)):
        expected = columns(sampler, stream, nodes[query], times[query], 0)
        size = len(expected)
        assert entries == [entry for entry, _ in expected] + [NOTHING] * (len(entries) - size)
        weights = [weight for _, weight in expected]
        if isinstance(found, Neighbors):
            assert weights == [None] * size
        else:
            assert found.weight[query, :size].tolist() == pytest.approx(weights, abs=1e-12)
            assert not found.weight[query, size:].any()


@pytest.mark.parametrize("short", ["truncate", "clip"])
def test_a_rate_of_1_is_most_recent(short) -> None:
    index = LINE.index()
    nodes, times = [0, 0, 1, 5], [12, 3, 12, 12]
    recent = RecentSampler(4).bind(index).sample(nodes, times)
    expanded = ExpandedSampler(4, rate=1).bind(index).sample(nodes, times)
    assert rows(expanded) == rows(recent)
    tns = TNSSampler(4, short=short).bind(index).sample(nodes, times)
    assert tns.edge_id[:, ::2].equal(recent.edge_id)
    assert tns.weight[:, ::2].equal(recent.mask.double())
    assert not tns.weight[:, 1::2].any()


def test_weighted_columns_sum_to_interpolated_messages() -> None:
    """Messages here are times, whose interpolation is plain to see: event n happened at 12 - n."""
    found = TNSSampler(4, rate=2.5).bind(LINE.index()).sample([0], [12])
    per_position = (found.weight * found.time).view(4, 2).sum(1)
    assert per_position.tolist() == [11.0, 8.5, 6.0, 3.5]
    clipped = TNSSampler(4, rate=99.0).bind(LINE.index()).sample([0], [12])
    assert (clipped.weight * clipped.time).view(4, 2).sum(1)[-1].item() == 0.0


def test_the_rate_may_be_a_function_whose_gradient_the_weights_carry() -> None:
    rate = torch.tensor([1.5, 2.25], dtype=torch.float64, requires_grad=True)
    asked = []

    def of(nodes: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        asked.append((nodes.tolist(), times.tolist()))
        return rate

    found = TNSSampler(3, rate=of).bind(LINE.index()).sample([0, 0], [12, 7])
    assert asked == [([0, 0], [12, 7])]
    (found.weight * found.time).sum().backward()
    # Times fall by 1 a position, and position s moves by s - 1 times the rate.
    assert rate.grad.tolist() == [-3.0, -3.0]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.ones(3), r"rate returned no tensor of shape \[1\] or \[1, L\]"),
        (torch.ones(2, 1), r"rate returned no tensor of shape \[1\] or \[1, L\]"),
        (torch.ones(1, 1, 1), r"rate returned no tensor of shape \[1\] or \[1, L\]"),
        (torch.ones(1, 0), "rate returned the rates of 0 layers, but k has 1 hops"),
        (1.0, r"rate returned no tensor of shape \[1\]"),
        (torch.tensor([0.5]), "rate has values below 1"),
        (torch.tensor([float("nan")]), "rate has values below 1 or not finite"),
    ],
)
def test_a_function_that_returns_no_rates_is_refused(returned, message) -> None:
    sampler = TNSSampler(3, rate=lambda nodes, times: returned).bind(LINE.index())
    with pytest.raises(InputError, match=message):
        sampler.sample([0], [5])


def subgraph(sampler: TemporalSampler, nodes: list[int], times: list[int]) -> list[list]:
    found = sampler.sample_from_nodes(
        NodeSamplerInput(None, torch.tensor(nodes), torch.tensor(times))
    )
    weight = found.metadata[2].edge_weight
    return [each.tolist() for each in (found.node, found.row, found.col, found.edge, weight)]


def test_the_last_layer_of_rates_is_that_of_the_seeds() -> None:
    index = LINE.index()
    layers = torch.tensor([[9.0, 1.25, 2.5]])
    each = TNSSampler([3, 3], rate=lambda nodes, times: layers.expand(len(nodes), -1))
    given = TNSSampler([3, 3], rate=[2.5, 1.25])
    reversed_ = TNSSampler([3, 3], rate=[1.25, 2.5])
    asked = ([0, 3], [12, 9])
    assert subgraph(each.bind(index), *asked) == subgraph(given.bind(index), *asked)
    assert subgraph(each.bind(index), *asked) != subgraph(reversed_.bind(index), *asked)


def test_a_model_gives_the_rates_of_all_hops() -> None:
    torch.manual_seed(0)
    index = LINE.index()
    model = TemporalGNN(edge_dim=0, node_dim=4, time_dim=4, hidden=4, layers=2, k=3, memory=False)
    model.bind(TemporalGraph(index))
    model.hold_rate(1.75)
    sampler = TNSSampler([3, 3], rate=model.rates).bind(index)
    held = TNSSampler([3, 3], rate=1.75).bind(index)
    assert subgraph(sampler, [0, 3], [12, 9]) == subgraph(held, [0, 3], [12, 9])
    deeper = TNSSampler([3, 3, 3], rate=model.rates).bind(index)
    with pytest.raises(InputError, match="rates of 2 layers, but k has 3 hops"):
        deeper.sample([0], [12])


def test_only_interpolating_samplers_give_weights() -> None:
    index = LINE.index()
    node, edge_id, time, mask = RecentSampler(2).bind(index).sample([0], [12])
    assert (node.tolist(), edge_id.tolist(), time.tolist()) == ([[2, 1]], [[11, 10]], [[11, 10]])
    assert mask.all()
    assert isinstance(ExpandedSampler(2).bind(index).sample([0], [12]), Neighbors)
    for sampler in (ExpandedSampler(2, rate=1.5), ExpandedSampler(2, short="clip"), TNSSampler(2)):
        found = sampler.bind(index).sample([0], [12])
        assert isinstance(found, WeightedNeighbors)
        *_, weight = found
        assert weight.sum().item() == pytest.approx(2)


@pytest.mark.parametrize(
    ("name", "given", "config"),
    [
        ("recent", {"k": np.int64(2), "window": np.float32(4)}, {"k": 2, "window": 4.0}),
        ("recent", {"k": [np.int32(2), 3], "window": np.int64(4)}, {"k": [2, 3], "window": 4}),
        ("uniform", {"k": np.uint8(2), "seed": np.int64(5)}, {"k": 2, "seed": 5}),
        ("tns", {"k": np.int16(2), "rate": np.float32(1.5)}, {"k": 2, "rate": 1.5}),
        ("expanded", {"k": (2, 3), "rate": np.int64(3)}, {"k": [2, 3], "rate": 3}),
    ],
)
def test_numbers_of_numpy_become_plain_ones(name, given, config, tmp_path) -> None:
    sampler = zoo.load(name, **given)
    kept = {each: getattr(sampler, each) for each in config}
    assert json.loads(json.dumps(kept)) == kept == config
    assert list(map(type, kept.values())) == list(map(type, config.values()))
    zoo.save(sampler, tmp_path / "saved")
    again = zoo.load(str(tmp_path / "saved"))
    assert {each: getattr(again, each) for each in config} == config
    assert again.bind(LINE.index()).sample([0], [12]).mask.any()


def test_seeds_may_be_views_and_read_only() -> None:
    index = LINE.index()
    nodes, times = np.arange(6)[::-1], np.arange(24)[::-4]
    frozen = nodes.copy()
    frozen.flags.writeable = False
    plain = RecentSampler(2).bind(index).sample(nodes.tolist(), times.tolist())
    for seeds in (nodes, frozen, torch.from_numpy(nodes.copy())):
        assert rows(RecentSampler(2).bind(index).sample(seeds, times)) == rows(plain)


def test_enormous_rates_reach_nothing_but_the_most_recent() -> None:
    found = ExpandedSampler(3, rate=2**62).bind(LINE.index()).sample([0], [12])
    assert found.mask.tolist() == [[True, False, False]]


def test_binding_gives_a_copy_that_follows_the_index() -> None:
    sampler = RecentSampler(2)
    index = LINE.index()
    bound = sampler.bind(index)
    index.append([0], [3], [50])
    assert bound.sample([0], [99]).time.tolist() == [[50, 11]]
    with pytest.raises(InputError, match=r"this RecentSampler is bound to no events; .*bind"):
        sampler.sample([0], [1])
    with pytest.raises(InputError, match="bound to no events"):
        sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor([0]), torch.tensor([1])))


def test_binding_takes_whatever_holds_events() -> None:
    data = TemporalData(src=torch.tensor([0]), dst=torch.tensor([1]), t=torch.tensor([5]))
    index = TemporalIndex.from_data(data)
    for events in (data, index, type("Graph", (), {"index": index})()):
        assert RecentSampler(1).bind(events).sample([0], [9]).node.tolist() == [[1]]
    with pytest.raises(InputError, match="a sampler cannot be bound to list"):
        RecentSampler(1).bind([1, 2])


@pytest.mark.parametrize(
    ("seeds", "times", "message"),
    [
        ([9], [1], "seeds has the id 9, but there are 6 nodes"),
        ([-1], [1], "seeds has the negative id"),
        ([0.5], [1], "seeds are of type float64"),
        ([0], [1, 2], "seed_times has length 2; expected 1"),
        ([0], [float("nan")], "seed_times has NaN"),
        (torch.zeros(1, dtype=torch.int64, device="meta"), [1], "seeds is on the meta device"),
        ([0], torch.zeros(1, device="meta"), "seed_times is on the meta device"),
        ([[0], [0, 1]], [1], "seeds is no array of numbers"),
        ("ab", [1], r"seeds has shape \[\]"),
        (["a"], [1], "seeds are of type <U1"),
    ],
)
def test_seeds_that_are_none(seeds, times, message) -> None:
    with pytest.raises(InputError, match=message):
        RecentSampler(2).bind(LINE.index()).sample(seeds, times)


def test_no_seeds_give_no_rows() -> None:
    for sampler in (RecentSampler(3), UniformSampler(3), UniformSampler(3, replace=False)):
        assert sampler.bind(LINE.index()).sample([], []).mask.shape == (0, 3)
    assert TNSSampler(3).bind(LINE.index()).sample([], []).weight.shape == (0, 6)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RecentSampler, {"k": 0}, "k is 0; expected an integer of at least 1"),
        (RecentSampler, {"k": [3, 2.5]}, "k is 2.5"),
        (RecentSampler, {"k": True}, "k is True"),
        (RecentSampler, {"k": []}, "k is empty"),
        (RecentSampler, {"k": "10"}, "k is "),
        (RecentSampler, {"window": -1}, "window is -1"),
        (RecentSampler, {"neighbor_time": "now"}, "neighbor_time is 'now'; expected 'query' or"),
        (RecentSampler, {"negatives": "all"}, "negatives is 'all'; expected 'nodes' or"),
        (UniformSampler, {"seed": -1}, "seed is -1"),
        (UniformSampler, {"seed": 1.0}, "seed is 1.0"),
        (ExpandedSampler, {"rate": 0.5}, "rate is 0.5; expected a finite number of at least 1"),
        (ExpandedSampler, {"rate": float("inf")}, "rate is inf"),
        (ExpandedSampler, {"rate": "2"}, "rate is '2'"),
        (ExpandedSampler, {"short": "wrap"}, "short is 'wrap'; expected 'truncate' or 'clip'"),
        (TNSSampler, {"rate": [1.0, 2.0]}, "rate has 2 entries, but k has 1 hops"),
        (TNSSampler, {"k": [2, 2], "rate": [1.0, 0.0]}, "rate is 0.0"),
    ],
)
def test_configurations_that_are_none(kind, options, message) -> None:
    with pytest.raises(InputError, match=message):
        kind(**options)


@pytest.mark.parametrize(
    ("name", "kind", "config"),
    [
        ("recent", RecentSampler, {"k": [4, 2], "neighbor_time": "event"}),
        ("uniform", UniformSampler, {"k": 4, "replace": False, "seed": 3}),
        ("expanded", ExpandedSampler, {"k": 4, "rate": 2.5, "short": "clip"}),
        ("tns", TNSSampler, {"k": [4, 2], "rate": [1.0, 2.5], "window": 7}),
    ],
)
def test_cards_load_and_save_the_configuration(name, kind, config, tmp_path) -> None:
    sampler = zoo.load(name, **config)
    assert type(sampler) is kind
    assert isinstance(sampler, Sampler)
    assert isinstance(sampler, BaseSampler)
    zoo.save(sampler.bind(LINE.index()), tmp_path / "saved")
    again = zoo.load(str(tmp_path / "saved"))
    assert {each: getattr(again, each) for each in config} == config
    one, other = (each.bind(LINE.index()).sample([0, 1], [12, 9]) for each in (sampler, again))
    assert rows(one) == rows(other)


def test_samplers_survive_copies_and_pickles_with_their_events() -> None:
    sampler: TemporalSampler = TNSSampler(3, rate=1.5, seed=1).bind(LINE.index())
    for again in (copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):  # noqa: S301
        assert again.sample([0], [12]).weight.equal(sampler.sample([0], [12]).weight)
