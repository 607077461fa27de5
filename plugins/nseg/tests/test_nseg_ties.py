"""Both directions of an edge, tied: which edge is opposite, and that they get one mask."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nseg_small import TwoLayers, drawn, explainer
from torch import Tensor
from torch_geometric.utils import to_undirected

from zoo_nseg.ties import opposite, ties

edge_lists = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=25)


@given(edge_lists)
@settings(max_examples=60, deadline=None)
def test_opposite_edges_are_found_as_by_walking_the_list(
    reference: ModuleType, edges: list[tuple[int, int]]
) -> None:
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
    found = opposite(edge_index)
    assert found.tolist() == reference.opposite(edge_index)
    assert torch.equal(found[found], torch.arange(len(edges)))


def test_opposite_edges_by_hand() -> None:
    #        0        1        2        3        4        5        6        7
    pairs = [(1, 2), (2, 1), (0, 0), (1, 2), (3, 1), (2, 1), (1, 2), (0, 0)]
    found = opposite(torch.tensor(pairs).T)
    assert found.tolist() == [1, 0, 2, 5, 4, 3, 6, 7]


@given(edge_lists.filter(len), st.data())
@settings(max_examples=60, deadline=None)
def test_ties_of_chosen_edges(
    reference: ModuleType, edges: list[tuple[int, int]], data: st.DataObject
) -> None:
    edge_index = torch.tensor(edges).T
    chosen = sorted(data.draw(st.sets(st.integers(0, len(edges) - 1), min_size=1)))
    start, tied, copies = ties(edge_index, torch.tensor(chosen), symmetric=True)
    partner = reference.opposite(edge_index)
    for place, edge in enumerate(chosen):
        other = partner[edge]
        assert int(start[place]) == min(edge, other)
        assert chosen[int(tied[place])] == (min(edge, other) if other in chosen else edge)
        assert float(copies[place]) == (1 if other in chosen else 2)
    start, tied, copies = ties(edge_index, torch.tensor(chosen), symmetric=False)
    assert start.tolist() == chosen
    assert tied.tolist() == list(range(len(chosen)))
    assert copies.tolist() == [1] * len(chosen)


def other_directions(edge_index: Tensor) -> Tensor:
    """Of each edge of a graph without parallel ones, where the other direction is."""
    ends = [tuple(each) for each in edge_index.T.tolist()]
    return torch.tensor([ends.index((target, source)) for source, target in ends])


@pytest.mark.parametrize("restrict", [True, False])
@pytest.mark.parametrize("kind", ["edge", "joint"])
@pytest.mark.parametrize("outside", ["zero", "evolve"])
@pytest.mark.parametrize("scope", ["graph", "computation"])
def test_both_directions_of_an_edge_get_one_mask(outside, scope, kind, restrict):
    data = drawn(16, 12)
    data.edge_index = to_undirected(data.edge_index)
    other = other_directions(data.edge_index)
    ours = explainer(symmetric=True, outside=outside, regulariser_scope=scope, kind=kind)
    found = ours.explain_nodes(TwoLayers(), data, [0, 5, 9], restrict=restrict)
    for each in found:
        reach = each.influencing_edge_mask
        assert bool((reach & ~reach[other]).any())  # some matter one way only
        torch.testing.assert_close(each.edge_mask, each.edge_mask[other], rtol=0, atol=1e-12)
        assert torch.equal(each.hard_edge_mask, each.hard_edge_mask[other])
        assert bool((each.edge_mask[reach] > 0).all())
    assert any(bool(each.hard_edge_mask.any()) for each in found)
