"""What an output node depends on, against plain loops over the edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.nn import GCNConv, GINConv

from zoo_nseg.computation_graph import Neighbourhoods

FLOWS = ("source_to_target", "target_to_source")


@st.composite
def cases(draw):
    """A multigraph with self-loops, isolated nodes and one-way edges; seeds, hops, a flow."""
    number = draw(st.integers(1, 8))
    node = st.integers(0, number - 1)
    pairs = draw(st.lists(st.tuples(node, node), max_size=18))
    edge_index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T.contiguous()
    seeds = torch.tensor(draw(st.lists(node, min_size=1, max_size=3)))
    return number, edge_index, seeds, draw(st.integers(1, 4)), draw(st.sampled_from(FLOWS))


def directed(edge_index, flow):
    """(from, to) of every message."""
    pairs = edge_index.T.tolist()
    return pairs if flow == FLOWS[0] else [pair[::-1] for pair in pairs]


def distances(number, edge_index, seeds, flow):
    """Hops along messages to the nearest seed, by relaxing every edge over and over."""
    found = [math.inf] * number
    for seed in seeds.tolist():
        found[seed] = 0
    for _ in range(number):
        for source, target in directed(edge_index, flow):
            found[source] = min(found[source], found[target] + 1)
    return found


@settings(max_examples=150, deadline=None)
@given(cases())
def test_nodes_and_edges_are_those_of_a_slow_search(case):
    number, edge_index, seeds, hops, flow = case
    found = Neighbourhoods(edge_index, number, flow).around(seeds, hops)
    far = distances(number, edge_index, seeds, flow)
    nodes = [node for node in range(number) if far[node] <= hops]
    pairs = edge_index.T.tolist()
    touching = [place for place, pair in enumerate(pairs) if set(pair) & set(nodes)]
    inner = [place for place in touching if set(pairs[place]) <= set(nodes)]
    assert found.nodes.tolist() == nodes
    assert found.distance.tolist() == [far[node] for node in nodes]
    assert found.edges.tolist() == touching
    assert found.inner.tolist() == inner
    place = {node: position for position, node in enumerate(nodes)}
    local = [[place.get(end, len(nodes)) for end in pairs[edge]] for edge in touching]
    assert found.edge_index.shape == (2, len(touching))
    assert found.edge_index.T.tolist() == local
    reaching = [
        edge for edge, (_, target) in enumerate(directed(edge_index, flow)) if far[target] < hops
    ]
    assert found.edges[found.messages].tolist() == reaching
    beyond = {end for edge in touching for end in pairs[edge]} - set(nodes)
    assert (found.outside in beyond) if beyond else (found.outside is None)
    assert all(each.dtype == torch.long for each in (found.nodes, found.edges, found.messages))


def gin(flow, hops):
    """Layers of h + sum of the neighbours' h, with positive numbers everywhere."""
    torch.manual_seed(0)
    layers = nn.ModuleList([GINConv(nn.Linear(2, 2, bias=False), flow=flow) for _ in range(hops)])
    layers.double()
    for parameter in layers.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return layers


@settings(max_examples=60, deadline=None)
@given(cases())
def test_influencing_edges_are_those_with_a_gradient(case):
    number, edge_index, seeds, hops, flow = case
    pairs = directed(edge_index, flow)
    weights = torch.ones(len(pairs), dtype=torch.float64, requires_grad=True)
    x = torch.ones(number, dtype=torch.float64, requires_grad=True)
    # One number a node and positive terms alone: no gradient that is not 0 can cancel.
    state = x
    for _ in range(hops):
        received = [torch.zeros((), dtype=torch.float64)] * number
        for edge, (source, target) in enumerate(pairs):
            received[target] = received[target] + weights[edge] * state[source]
        state = state + torch.stack(received)
    slopes = torch.autograd.grad(
        state[seeds].sum() + 0 * weights.sum(), [weights, x], materialize_grads=True
    )
    found = Neighbourhoods(edge_index, number, flow).around(seeds, hops)
    assert found.edges[found.messages].tolist() == slopes[0].nonzero().flatten().tolist()
    assert found.nodes.tolist() == slopes[1].nonzero().flatten().tolist()


@settings(max_examples=60, deadline=None)
@given(cases())
def test_features_and_messages_beyond_do_not_matter(case):
    number, edge_index, seeds, hops, flow = case
    layers = gin(flow, hops)
    found = Neighbourhoods(edge_index, number, flow).around(seeds, hops)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(number, 2, generator=generator, dtype=torch.float64)
    changed = x + 100
    changed[found.nodes] = x[found.nodes]
    kept = edge_index[:, found.edges[found.messages]]
    whole, cut = x, changed
    for layer in layers:
        whole, cut = layer(whole, edge_index), layer(cut, kept)
    torch.testing.assert_close(cut[seeds], whole[seeds])


@settings(max_examples=60, deadline=None)
@given(cases(), st.booleans())
def test_degrees_at_the_border_are_those_of_the_whole_graph(case, loops):
    number, edge_index, seeds, hops, flow = case
    torch.manual_seed(0)
    layers = [GCNConv(2, 2, add_self_loops=loops, flow=flow).double() for _ in range(hops)]
    x = torch.rand(number, 2, dtype=torch.float64)
    found = Neighbourhoods(edge_index, number, flow).around(seeds, hops)
    nodes = found.nodes.tolist() + ([] if found.outside is None else [found.outside])
    local = torch.tensor([nodes.index(each) for each in seeds.tolist()])
    whole, cut = x, x[nodes]
    for layer in layers:
        whole, cut = layer(whole, edge_index), layer(cut, found.edge_index)
    torch.testing.assert_close(cut[local], whole[seeds])


@pytest.mark.parametrize("flow", FLOWS)
def test_a_path_by_hand(flow):
    #  0 -> 1 -> 2 -> 3, and 2 -> 4
    edge_index = torch.tensor([[0, 1, 2, 2], [1, 2, 3, 4]])
    found = Neighbourhoods(edge_index, 5, flow).around(torch.tensor([2]), 1)
    if flow == FLOWS[0]:
        assert found.nodes.tolist() == [1, 2]
        assert found.edges[found.messages].tolist() == [1]
        assert found.inner.tolist() == [1]
        assert found.edge_index.tolist() == [[2, 0, 1, 1], [0, 1, 2, 2]]
    else:
        assert found.nodes.tolist() == [2, 3, 4]
        assert found.edges[found.messages].tolist() == [2, 3]
        assert found.inner.tolist() == [2, 3]
        assert found.outside == 1


def test_an_isolated_node_depends_on_itself_alone():
    found = Neighbourhoods(torch.tensor([[0, 1], [1, 0]]), 3).around(torch.tensor([2]), 3)
    assert found.nodes.tolist() == [2]
    assert found.outside is None
    assert found.edges.numel() == found.messages.numel() == found.inner.numel() == 0
    assert found.edge_index.shape == (2, 0)


def test_a_graph_without_edges_has_computation_graphs_of_one_node():
    empty = torch.empty(2, 0, dtype=torch.long)
    found = Neighbourhoods(empty, 4).around(torch.tensor([3, 1]), 2)
    assert found.nodes.tolist() == [1, 3]
    assert found.distance.tolist() == [0, 0]
    assert found.edges.numel() == 0
