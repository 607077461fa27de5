"""Samplers that must agree do, to the bit; what TNS's modules read and how they start and learn."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tns_small import bound, events, graph, model, node_features, queries

from zoo_tns.model import TemporalGNN

AGGREGATORS = ("attention", "tgat", "mean", "sum")


def _pair(**config: Any) -> tuple[TemporalGNN, TemporalGNN]:
    """A TNS model, and one of most-recent sampling with the same backbone."""
    past, features = events(), node_features()
    tns = bound(past, features, sampler="tns", **config)
    recent = model(sampler="recent", **config).bind(graph(past, features))
    state = {name: it for name, it in tns.state_dict().items() if "expansions" not in name}
    recent.load_state_dict(state)
    return tns, recent


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("aggr", AGGREGATORS)
def test_a_rate_of_one_is_most_recent_sampling_to_the_bit(aggr: str, layers: int) -> None:
    tns, recent = _pair(aggr=aggr, layers=layers)
    tns.hold_rate(1)
    nodes, times = queries(events())
    weights = torch.randn(len(nodes), 4, dtype=torch.float64)
    for built in (tns, recent):
        built.train()
        built.seed_dropout(5)
        built.zero_grad()
        (built.embed(nodes, times) * weights).sum().backward()
        built.eval()
    assert torch.equal(tns.embed(nodes, times), recent.embed(nodes, times))
    for name, parameter in recent.named_parameters():
        found = tns.get_parameter(name).grad
        assert (found is None) == (parameter.grad is None), name
        assert found is None or torch.equal(found, parameter.grad), name
    tns.hold_rate(None)
    assert not torch.equal(tns.embed(nodes, times), recent.embed(nodes, times))


def test_a_closed_gate_gives_most_recent_sampling_to_the_bit() -> None:
    tns, recent = _pair(aggr="attention")
    for module in tns.expansions:
        torch.nn.init.zeros_(module.aggregator.last.weight)
        torch.nn.init.constant_(module.aggregator.last.bias, 0.5)
    nodes, times = queries(events())
    assert torch.equal(tns.embed(nodes, times), recent.embed(nodes, times))


@pytest.mark.parametrize("aggr", AGGREGATORS)
def test_so_does_a_rate_that_is_predicted_to_be_one(aggr: str) -> None:
    tns, recent = _pair(aggr=aggr)
    last = tns.expansions[0].aggregator.last
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.ones_(last.bias)
    nodes, times = queries(events())
    found = tns.embed(nodes, times)
    assert torch.equal(found, recent.embed(nodes, times))
    found.square().sum().backward()
    assert float(last.bias.grad) != 0


@pytest.mark.parametrize("rate", [2, 3, 2.4])
@pytest.mark.parametrize("aggr", AGGREGATORS)
def test_a_fixed_expansion_is_a_constant_rate_in_long_histories(aggr: str, rate: float) -> None:
    past, features = events(60), node_features()
    tns = bound(past, features, aggr=aggr, sampler="tns")
    fixed = model(aggr=aggr, sampler="expanded", rate=rate).bind(graph(past, features))
    state = {name: it for name, it in tns.state_dict().items() if "expansions" not in name}
    fixed.load_state_dict(state)
    tns.hold_rate(rate)
    nodes, times = queries(past)
    long = tns.graph.index.count(nodes, times) >= 1 + (tns.k - 1) * rate
    assert 5 < int(long.sum()) < len(nodes)
    found, expected = (built.embed(nodes, times) for built in (tns, fixed))
    assert torch.equal(found[long], expected[long])
    assert not torch.equal(found, expected)


def test_the_expansion_module_reads_the_most_recent_messages_and_no_others() -> None:
    past, features = events(60), node_features()
    built = bound(past, features, sampler="tns")
    nodes, times = torch.tensor([1]), torch.tensor([past[-1].time + 1]).double()
    found = built.graph.index.gather(nodes, times, torch.arange(1, 9)[None])
    rate, embedding = built.rates(nodes, times), built.embed(nodes, times)
    floor = int(1 + 2 * rate)
    assert floor > built.k
    for place in range(1, 9):
        event = int(found.edge_id[0, place - 1])
        changed = [*past]
        changed[event] = past[event]._replace(features=past[event].features + 0.5)
        built.bind(graph(changed, features))
        assert bool(built.rates(nodes, times) == rate) == (place > built.k), place
        if place in (floor, floor + 1):
            assert not torch.equal(built.embed(nodes, times), embedding)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("sampler", ["tns", "recent", "uniform", "expanded"])
@pytest.mark.parametrize("aggr", AGGREGATORS)
def test_nodes_without_a_history(aggr: str, sampler: str, layers: int) -> None:
    past, features = events(), node_features()
    built = model(aggr=aggr, sampler=sampler, layers=layers).bind(graph(past, features)).train()
    nodes, times = torch.arange(7), torch.full((7,), past[0].time).double()
    found = built.embed(nodes, times)
    found.square().sum().backward()
    assert bool(found.isfinite().all())
    for name, parameter in built.named_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name
    assert len(found.unique(dim=0)) == 7


@pytest.mark.parametrize("aggr", AGGREGATORS)
def test_events_at_or_after_the_query_are_never_read(aggr: str) -> None:
    past, features = events(40), node_features()
    now = past[25].time
    built = bound(past, features, aggr=aggr, sampler="tns", layers=2)
    nodes, times = torch.arange(7), torch.full((7,), now).double()
    found = built.embed(nodes, times)
    changed = [
        each if each.time < now else each._replace(source=6, features=each.features + 9)
        for each in past
    ]
    assert torch.equal(built.bind(graph(changed, features)).embed(nodes, times), found)
    assert torch.equal(built.bind(graph(changed[:20], features)).embed(nodes, times), found) == (
        past[20].time >= now
    )


def test_the_start_of_the_expansion_modules() -> None:
    for aggr in AGGREGATORS:
        torch.manual_seed(0)
        built = TemporalGNN(4, 2, 16, 16, 64, layers=2, aggr=aggr, memory=False)
        for module in built.expansions:
            last = module.aggregator.last
            assert last.bias.tolist() == [1.0]
            assert 0.6e-5 < float(last.weight.detach().std()) < 1.5e-5
    other = TemporalGNN(4, 2, 4, 4, 8, memory=False, sigma=0.5, init_rate=3.0)
    assert other.expansions[0].aggregator.last.bias.tolist() == [3.0]
    assert float(other.expansions[0].aggregator.last.weight.detach().std()) > 0.1


def test_the_start_is_restored_by_reset_and_left_alone_by_loading() -> None:
    built = model(sampler="tns")
    last = built.expansions[0].aggregator.last
    built.load_state_dict(copy.deepcopy(built.state_dict()))
    assert last.bias.tolist() != [1.0]
    before = last.weight.detach().clone()
    built.reset_parameters()
    assert last.bias.tolist() == [1.0]
    assert float(last.weight.detach().abs().max()) < 1e-4 < float(before.abs().max())
    assert not torch.equal(built.predictor.fc1.bias, torch.zeros_like(built.predictor.fc1.bias))


def test_the_time_as_of_which_neighbours_are_embedded_by_default() -> None:
    past, features = events(), node_features()
    nodes, times = queries(past)
    for aggr, expected in (("attention", "query"), ("mean", "query"), ("tgat", "event")):
        built = model(aggr=aggr, layers=2, sampler="recent").bind(graph(past, features))
        found = built.embed(nodes, times)
        for neighbor_time in ("query", "event"):
            other = model(aggr=aggr, layers=2, sampler="recent", neighbor_time=neighbor_time)
            same = torch.equal(other.bind(graph(past, features)).embed(nodes, times), found)
            assert same == (neighbor_time == expected)


def test_the_backbone_does_not_depend_on_the_sampler() -> None:
    drawn = []
    for sampler in ("tns", "recent", "uniform"):
        torch.manual_seed(3)
        drawn.append(TemporalGNN(4, 2, 4, 4, 4, layers=2, sampler=sampler).state_dict())
    for state in drawn[1:]:
        assert all(torch.equal(tensor, drawn[0][name]) for name, tensor in state.items())


def test_the_optimizer_groups_give_the_expansion_modules_their_own_rate() -> None:
    built = model(sampler="tns", layers=2)
    groups = built.param_groups(1e-3, alpha=0.2, weight_decay=0.01)
    optimizer = torch.optim.Adam(groups)
    seen: dict[int, tuple[float, float]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert id(parameter) not in seen
            seen[id(parameter)] = group["lr"], group["weight_decay"]
    for name, parameter in built.named_parameters():
        lr, decay = seen.pop(id(parameter))
        expansion = name.startswith("expansions.")
        assert lr == pytest.approx(2e-4 if expansion else 1e-3), name
        assert decay == (0.0 if expansion and name.endswith("merger.fc2.bias") else 0.01), name
    assert not seen
    [group] = model(sampler="recent").param_groups(1e-3)
    assert group["lr"] == 1e-3
