"""A temporal graph: events, their features, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import TemporalData

from zoo_core.errors import InputError
from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN


def _index(**changes):
    given = {"src": [0, 1, 0], "dst": [2, 2, 1], "t": [1, 2, 3]} | changes
    return TemporalIndex(given["src"], given["dst"], given["t"], num_nodes=4)


def test_takes_torch_geometrics_events_with_their_features():
    msg = torch.arange(6.0).view(3, 2)
    data = TemporalData(
        src=torch.tensor([0, 1, 0]), dst=torch.tensor([2, 2, 1]), t=torch.tensor([3, 1, 2]), msg=msg
    )
    graph = TemporalGraph.from_data(data, num_nodes=5)
    assert (graph.num_nodes, graph.num_events, graph.edge_dim) == (5, 3, 2)
    found = graph.index.gather([0], [9], torch.tensor([[1, 2]]))
    # Features go by an event's place in the input, whatever its time.
    assert graph.edge_features[found.edge_id].tolist() == [[[0, 1], [4, 5]]]


def test_events_without_features_have_a_width_of_0():
    data = TemporalData(src=torch.tensor([0]), dst=torch.tensor([1]), t=torch.tensor([1]))
    assert TemporalGraph.from_data(data).edge_features.shape == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"edge_features": torch.zeros(2, 1)},
            "edge_features has 2 rows; expected one for each id",
        ),
        ({"edge_features": torch.zeros(3)}, "edge_features is not a floating-point tensor of two"),
        ({"edge_features": torch.zeros(3, 1).long()}, "edge_features is not a floating-point"),
        ({"edge_features": [[1.0]] * 3}, "edge_features is not a floating-point tensor"),
        ({"edge_features": torch.full((3, 1), float("nan"))}, "not finite"),
        ({"node_features": torch.zeros(3, 1)}, r"node_features has 3 rows; .* each of 4 nodes"),
        ({"node_features": torch.full((4, 1), float("inf"))}, "node_features has values that"),
    ],
)
def test_features_that_do_not_fit_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        TemporalGraph(_index(), **arguments)


def test_an_index_is_needed():
    with pytest.raises(InputError, match="index is a list; expected a TemporalIndex"):
        TemporalGraph([1, 2])


def test_appended_events_keep_their_features():
    graph = TemporalGraph(_index(), torch.tensor([[1.0], [2.0], [3.0]]))
    for step in range(5):
        graph.append([0, 3], [1, 2], [10 + step, 10 + step], torch.full((2, 1), 10.0 + step))
    assert graph.num_events == 13
    found = graph.index.gather([3], [14], torch.tensor([[1, 2, 3, 4, 5]]))
    assert graph.edge_features[found.edge_id.clamp(min=0)][0, :4, 0].tolist() == [13, 12, 11, 10]
    assert found.mask[0].tolist() == [True] * 4 + [False]
    assert graph.edge_features[:3, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0], [1], [9], None), "edge_features is None; the graph's events have 1 features"),
        (([0], [1], [9], torch.zeros(1, 2)), r"edge_features is \[1, 2\]; expected \[1, 1\]"),
        (([0], [1], [9], torch.zeros(2, 1)), r"edge_features is \[2, 1\]"),
        (([0], [1], [0], torch.zeros(1, 1)), "before|older|earlier"),
        (([0], [-1], [9], torch.zeros(1, 1)), "negative"),
        (([0], [7], [9], torch.zeros(1, 1)), "node 7 has no features: node_features has 4 rows"),
    ],
)
def test_a_refused_event_leaves_the_graph_as_it_was(arguments, said):
    graph = TemporalGraph(_index(), torch.ones(3, 1), torch.ones(4, 2))
    with pytest.raises(InputError, match=said):
        graph.append(*arguments)
    assert (graph.num_events, graph.num_nodes, len(graph.edge_features)) == (3, 4, 3)
    assert graph.index.count([0, 1, 2], [99, 99, 99]).tolist() == [2, 2, 2]


def test_an_index_of_some_events_may_have_the_features_of_all():
    index = TemporalIndex([0, 1], [1, 2], [1, 2], edge_id=[1, 3])
    graph = TemporalGraph(index, torch.arange(5.0).unsqueeze(1))
    found = graph.index.gather([1], [9], torch.tensor([[1, 2]]))
    assert graph.edge_features[found.edge_id].flatten().tolist() == [3, 1]
    graph.append([0], [1], [5], torch.tensor([[50.0]]))
    found = graph.index.gather([0], [9], torch.tensor([[1]]))
    assert found.edge_id.item() == 5
    assert graph.edge_features[5].item() == 50
    with pytest.raises(InputError, match=r"edge_features has 3 rows; .* the largest is 3"):
        TemporalGraph(TemporalIndex([0, 1], [1, 2], [1, 2], edge_id=[1, 3]), torch.zeros(3, 1))


def test_events_come_through_one_graph():
    graph = TemporalGraph(_index(), torch.zeros(3, 1))
    moved = graph.to("cpu")
    moved.append([0], [1], [10], torch.ones(1, 1))
    for stale in (graph.append, lambda *events: graph.check_whole()):
        with pytest.raises(InputError, match="knows 3 events and its index has 4"):
            stale([0], [1], [11], torch.ones(1, 1))
    moved.append([0], [1], [11], torch.ones(1, 1))


def test_nodes_still_to_come_bring_their_features():
    plain = TemporalGraph(_index())
    plain.grow(7)
    assert plain.num_nodes == 7
    assert plain.index.count([6], [9]).tolist() == [0]
    graph = TemporalGraph(_index(), None, torch.zeros(4, 2))
    with pytest.raises(InputError, match=r"node_features is \[0, 2\]; expected \[1, 2\]"):
        graph.grow(5)
    assert graph.num_nodes == 4
    graph.grow(5, torch.ones(1, 2))
    assert graph.node_features.sum(dim=1).tolist() == [0, 0, 0, 0, 2]
    graph.append([4], [0], [9])


def test_features_of_nodes_can_be_learned():
    features = torch.nn.Parameter(torch.randn(4, 8))
    graph = TemporalGraph(_index(), None, features)
    model = TemporalGNN(edge_dim=0, node_dim=8, time_dim=8, hidden=8, k=2).bind(graph)
    model.embed([2], [9]).sum().backward()
    assert float(features.grad.abs().sum()) > 0


def test_moved_to_a_dtype_or_device_it_shares_its_index():
    graph = TemporalGraph(_index(), torch.ones(3, 1), torch.ones(4, 2))
    moved = graph.to("meta")
    assert moved.index is graph.index
    assert moved.edge_features.is_meta
    assert moved.node_features.is_meta
    assert not graph.edge_features.is_meta
