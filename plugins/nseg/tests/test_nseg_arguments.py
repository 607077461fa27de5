"""What is given beside the graphs: names of arguments, a reference, counterfactual features."""

from __future__ import annotations

import pytest
import torch
from nseg_small import Scaled, drawn, explainer, same
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, global_mean_pool

from zoo_core.errors import InputError
from zoo_nseg.counterfactual import NearestNeighborMatcher


class Weighted(nn.Module):
    """Takes weights of edges, and the nodes' graphs or not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = GCNConv(4, 3).double()

    def forward(self, x, edge_index, edge_attr=None):
        return self.layer(x, edge_index, edge_attr) * 3


class WeightedOfGraphs(Weighted):
    def forward(self, x, edge_index, edge_attr=None, batch=None):
        return global_mean_pool(super().forward(x, edge_index, edge_attr), batch)


def explained(call: str, arguments, **changes) -> list:
    if call == "nodes":
        return explainer().explain_nodes(
            Weighted(), drawn(9, 14), [0, 3], arguments=arguments, **changes
        )
    graphs = [drawn(6, 10, seed) for seed in (1, 2)]
    return explainer().explain_graphs(WeightedOfGraphs(), graphs, arguments=arguments, **changes)


@pytest.mark.parametrize("call", ["nodes", "graphs"])
def test_one_name_of_an_argument_may_be_given_as_a_string(call):
    found, expected = explained(call, "edge_attr"), explained(call, ["edge_attr"])
    same(found, expected)
    assert not torch.allclose(found[0].edge_mask, explained(call, ())[0].edge_mask)


@pytest.mark.parametrize("call", ["nodes", "graphs"])
@pytest.mark.parametrize(
    "arguments", [None, 3, 2.5, [3], [None], ["edge_attr", 3], [["edge_attr"]], "edge_index", "x"]
)
def test_names_of_arguments_that_are_none_are_refused(call, arguments):
    with pytest.raises(InputError, match=r"^arguments "):
        explained(call, arguments)


@pytest.mark.parametrize("call", ["nodes", "graphs"])
def test_a_name_of_an_argument_that_the_graph_lacks_is_refused_as_a_whole(call):
    with pytest.raises(InputError, match="no attribute 'edge_atr'"):
        explained(call, "edge_atr")


def reference_graphs() -> list[Data]:
    return [drawn(9, 12, seed) for seed in (11, 12)]


@pytest.mark.parametrize("form", ["graphs", "rows"])
@pytest.mark.parametrize("kind", ["feature", "joint"])
def test_counterfactual_features_come_from_the_reference(kind, form):
    graphs = [drawn(6, 10, seed) for seed in (1, 2)]
    rows = torch.cat([each.x for each in reference_graphs()])
    reference = reference_graphs() if form == "graphs" else rows
    ours = explainer(kind=kind)
    found = ours.explain_graphs(Scaled(), graphs, reference=reference)
    without = ours.explain_graphs(Scaled(), graphs)
    matcher = NearestNeighborMatcher().fit(rows)
    for each, alone, graph in zip(found, without, graphs, strict=True):
        assert torch.equal(each.x_cf, matcher.transform(graph.x))
        assert not torch.equal(each.x_cf, alone.x_cf)
        assert not torch.allclose(each.node_mask, alone.node_mask)
    same(
        found,
        ours.explain_graphs(Scaled(), graphs, x_cf=[matcher.transform(each.x) for each in graphs]),
    )


def features() -> Tensor:
    return torch.zeros(6, 4, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["feature", "joint"])
@pytest.mark.parametrize(
    "x_cf",
    [
        5,
        "ab",
        (),
        features(),
        torch.zeros(2, 6, 4),
        {0: features(), 1: features()},
        [features()],
        [features()] * 3,
        [features(), "b"],
        [5, features()],
        [features(), features()[:5]],
        [features(), features() / 0],
    ],
    ids=lambda x_cf: type(x_cf).__name__,
)
def test_counterfactual_features_of_graphs_that_are_none_are_refused_by_name(kind, x_cf):
    with pytest.raises(InputError, match=r"^x_cf "):
        explained("graphs", (), x_cf=x_cf, kind=kind)
