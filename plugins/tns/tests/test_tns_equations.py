"""Embeddings, rates and gradients of whole models are those of the slow reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tns_small import NODES, bound, events, graph, model, node_features, queries, reference
from torch import Tensor

EXACT = {"rtol": 1e-10, "atol": 1e-10}
AGGREGATORS = ("attention", "tgat", "mean", "sum")
DEPTHS = (
    {"layers": 1},
    {"layers": 2, "neighbor_time": "query"},
    {"layers": 2, "neighbor_time": "event"},
)
SAMPLERS: dict[str, dict[str, Any]] = {
    "recent": {"sampler": "recent"},
    "expanded": {"sampler": "expanded", "rate": 2.0},
    "fractional": {"sampler": "expanded", "rate": 2.3},
    "clipped": {"sampler": "expanded", "rate": 4.0, "short": "clip"},
    "tns": {"sampler": "tns"},
    "tns-strict": {"sampler": "tns", "gate": "strict"},
    "tns-mean": {"sampler": "tns", "expansion": "mean"},
    "tns-one": {"sampler": "tns", "k": 1},
    "tns-two": {"sampler": "tns", "k": 2},
}


def _embedded(expected: Any, nodes: Tensor, times: Tensor) -> Tensor:
    pairs = zip(nodes.tolist(), times.tolist(), strict=True)
    return torch.stack([expected.embed(*pair) for pair in pairs])


@pytest.mark.parametrize("aggr", AGGREGATORS)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("depth", DEPTHS, ids=["one", "query", "event"])
def test_embeddings_and_rates(aggr: str, sampler: str, depth: dict[str, Any]) -> None:
    past, features = events(), node_features()
    built = bound(past, features, aggr=aggr, **SAMPLERS[sampler], **depth)
    expected = reference(built, past, features)
    nodes, times = queries(past)
    torch.testing.assert_close(
        built.embed(nodes, times), _embedded(expected, nodes, times), **EXACT
    )
    with torch.no_grad():
        found = built.embed(nodes, times)
        torch.testing.assert_close(found, _embedded(expected, nodes, times), **EXACT)
    if built.sampler != "expanded":
        pairs = zip(nodes.tolist(), times.tolist(), strict=True)
        rates = torch.tensor([expected.rates(*pair) for pair in pairs], dtype=torch.float64)
        torch.testing.assert_close(built.rates(nodes, times), rates, **EXACT)


def test_the_rates_compared_lie_in_all_parts_of_the_range() -> None:
    past, features = events(), node_features()
    for aggr in AGGREGATORS:
        built = bound(past, features, aggr=aggr, sampler="tns")
        nodes, times = queries(past)
        rates = built.rates(nodes, times)[:, 0]
        count = built.graph.index.count(nodes, times)
        upper = ((count - 1) / 2).clamp(min=1)
        active = count > 3
        assert bool((active & (rates == 1)).any()), aggr
        assert bool((active & (rates == upper)).any()), aggr
        assert int((active & (rates > 1) & (rates < upper)).sum()) >= 3, aggr
        assert bool((count == 0).any())
        assert bool((count == 3).any())


@pytest.mark.parametrize("edge_dim", [0, 3])
@pytest.mark.parametrize("aggr", AGGREGATORS)
def test_without_features_of_nodes_and_with_other_widths(aggr: str, edge_dim: int) -> None:
    past = events(edge_dim=edge_dim, seed=4)
    widths = {"edge_dim": edge_dim, "node_dim": 2, "time_dim": 4 + edge_dim % 2, "hidden": 6}
    heads = 1 if edge_dim % 2 else 2
    built = bound(past, aggr=aggr, sampler="tns", layers=2, heads=heads, **widths)
    nodes, times = queries(past)
    expected = _embedded(reference(built, past), nodes, times)
    torch.testing.assert_close(built.embed(nodes, times), expected, **EXACT)


@pytest.mark.parametrize("k", [1, 2, 8, 20])
def test_other_numbers_of_positions(k: int) -> None:
    past, features = events(60), node_features()
    built = bound(past, features, aggr="attention", sampler="tns", k=k)
    nodes, times = queries(past)
    expected = _embedded(reference(built, past, features), nodes, times)
    torch.testing.assert_close(built.embed(nodes, times), expected, **EXACT)


@pytest.mark.parametrize("aggr", AGGREGATORS)
@pytest.mark.parametrize(
    ("depth", "gate"),
    [
        (DEPTHS[0], "strict"),
        (DEPTHS[1], "strict"),
        (DEPTHS[2], "strict"),
        # Where a query occurs in several places, which gradients "inward" lets pass depends on
        # whether they are summed first: of one layer, each query is there once.
        (DEPTHS[0], "inward"),
    ],
    ids=["one", "query", "event", "one-inward"],
)
def test_gradients_of_all_parameters(aggr: str, depth: dict[str, Any], gate: str) -> None:
    past, features = events(24), node_features()
    built = bound(past, features, aggr=aggr, sampler="tns", gate=gate, **depth)
    nodes, times = queries(past)
    weights = torch.randn(len(nodes), 4, dtype=torch.float64)
    names, parameters = zip(*built.named_parameters(), strict=True)
    expected = _embedded(reference(built, past, features), nodes, times)
    wanted = torch.autograd.grad((expected * weights).sum(), parameters, allow_unused=True)
    (built.embed(nodes, times) * weights).sum().backward()
    for name, parameter, gradient in zip(names, parameters, wanted, strict=True):
        if gradient is None:
            assert name.startswith("predictor."), name
            assert parameter.grad is None
        else:
            torch.testing.assert_close(
                parameter.grad, gradient, rtol=1e-8, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
            )
    last = built.expansions[0].aggregator.last
    assert bool((last.bias.grad != 0).all())


@pytest.mark.parametrize("aggr", ["attention", "mean"])
def test_scores_of_links_and_of_negatives(aggr: str) -> None:
    past, features = events(), node_features()
    built = bound(past, features, aggr=aggr, sampler="tns")
    expected = reference(built, past, features)
    src, dst = torch.tensor([0, 2, 5, 6]), torch.tensor([3, 2, 0, 1])
    t = torch.tensor([0.0, 7.0, 12.0, 40.0], dtype=torch.float64)
    negative = torch.tensor([[1, 6], [0, 0], [5, 4], [6, 3]])

    def scores(targets: Tensor) -> Tensor:
        triples = zip(src.tolist(), targets.tolist(), t.tolist(), strict=True)
        return torch.stack([expected.score(*triple) for triple in triples])

    positive, against = built(src, dst, t, negative)
    torch.testing.assert_close(positive, scores(dst), **EXACT)
    torch.testing.assert_close(built.score(src, dst, t), scores(dst), **EXACT)
    for column in range(2):
        torch.testing.assert_close(against[:, column], scores(negative[:, column]), **EXACT)
    single = built(src, dst, t, negative[:, 0])[1]
    torch.testing.assert_close(single, scores(negative[:, 0]), **EXACT)


def test_uniform_sampling_of_one_event_reads_it_in_every_position() -> None:
    past = [*events(2, seed=3)][:1]
    features = node_features()
    nodes = torch.tensor([past[0].source])
    t = torch.tensor([past[0].time + 1], dtype=torch.float64)
    for aggr in ("attention", "tgat", "mean"):
        built = bound(past, features, aggr=aggr, sampler="uniform")
        recent = bound(past, features, aggr=aggr, sampler="recent")
        torch.testing.assert_close(built.embed(nodes, t), recent.embed(nodes, t), **EXACT)


def test_node_zero_is_a_node_like_any_other() -> None:
    # The official code pads with id 0 and masks by it; ids are made to be counted from 1 there.
    past, features = events(), node_features()
    order = torch.tensor([3, 1, 2, 0, 4, 5, 6])
    swapped = [
        each._replace(source=int(order[each.source]), destination=int(order[each.destination]))
        for each in past
    ]
    built = model(sampler="tns")
    nodes, times = queries(past)
    found = built.bind(graph(past, features)).embed(nodes, times)
    others = built.bind(graph(swapped, features[order])).embed(order[nodes], times)
    torch.testing.assert_close(found, others, **EXACT)
    assert any(0 in (each.source, each.destination) for each in past)
    assert NODES - 1 not in {each.source for each in past}
