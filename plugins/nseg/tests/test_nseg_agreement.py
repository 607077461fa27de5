"""Outputs that differ beside other graphs: explained one at a time, or refused."""

from __future__ import annotations

import pytest
import torch
from nseg_small import Net, Scaled, drawn, explainer, same
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GraphSizeNorm, global_add_pool, global_mean_pool

from zoo_core.errors import InputError, ZooWarning

KINDS = ("edge", "feature", "joint")
OBJECTIVES = ("pns", "ps", "pn")
SLOW = pytest.warns(ZooWarning, match="explained one at a time")
# A model that is refused may be found to be slow before.
REFUSED = pytest.mark.filterwarnings("ignore::zoo_core.errors.ZooWarning")


class ScaledBySize(Net):
    """Its output depends on how many nodes all graphs of a pass have, too."""

    def forward(self, x, edge_index, batch=None, scale=1.0):
        x = self.first(x, edge_index).relu() / len(x) ** 0.5
        return self.head(global_add_pool(x, batch) * scale)


def scaled_graphs(*scales: float | Tensor) -> list[Data]:
    graphs = [drawn(6, 10, seed) for seed in range(len(scales))]
    for each, scale in zip(graphs, scales, strict=True):
        each.scale = scale
    return graphs


def one_at_a_time(model: nn.Module, graphs: list[Data], **changes) -> list:
    return [
        explainer(**changes).explain_graphs(model, [each], arguments=["scale"])[0]
        for each in graphs
    ]


@pytest.mark.parametrize("budget", [200_000, 90, 60, 1])
@pytest.mark.parametrize(
    "scales",
    [(1.0, 5.0, 1.0, 5.0, 5.0, 5.0), (1.0, 1.0, 5.0, 5.0), (5.0, 1.0, 5.0, 1.0, 1.0)],
    ids=lambda scales: "".join(str(int(each)) for each in scales),
)
def test_each_graph_is_run_with_its_own_scalar(scales, budget):
    graphs = scaled_graphs(*scales)
    found = explainer(max_edges_per_chunk=budget).explain_graphs(
        Scaled(), graphs, arguments=["scale"]
    )
    same(found, one_at_a_time(Scaled(), graphs))


def test_scalars_differ_as_tensors_and_as_types_too():
    graphs = scaled_graphs(*(torch.tensor(each) for each in (5.0, 1.0, 1.0)), 5.0, 5)
    found = explainer().explain_graphs(Scaled(), graphs, arguments=["scale"])
    same(found, one_at_a_time(Scaled(), graphs))


def test_graphs_that_come_together_once_others_are_left_out_are_compared_again():
    # The first and the last agree each by itself, and would not in one union.
    graphs = scaled_graphs(1.0, 5.0, 5.0, 1.0)
    with SLOW:
        found = explainer(objective="ps").explain_graphs(
            ScaledBySize(), graphs, arguments=["scale"]
        )
    same(found, one_at_a_time(ScaledBySize(), graphs, objective="ps"))


class DividedBySize(Net):
    def forward(self, x, edge_index):
        return self.head(self.first(x, edge_index).relu() * 3 / len(x) ** 0.5)


class SizeNormed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = GraphSizeNorm()

    def forward(self, x, edge_index):
        return self.head(self.norm(self.first(x, edge_index).relu()) * 3)


def stars(number: int) -> Data:
    """As many nodes as `number` stars of four have, but one star only: others stand alone."""
    return Data(x=drawn(4 * number, 1).x, edge_index=torch.tensor([[1, 2, 3], [0, 0, 0]]))


@pytest.mark.parametrize("model", [DividedBySize, SizeNormed])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("kind", "copies"), [("edge", 2), ("edge", 3), ("joint", 6), ("joint", 7)])
def test_copies_that_add_up_to_the_size_of_the_graph_are_not_taken_for_it(
    model, objective, kind, copies
):
    data, ours = stars(copies), explainer(objective=objective, kind=kind)
    with SLOW:
        found = ours.explain_nodes(model(), data, [0])
    same(found, ours.explain_nodes(model(), data, [0], restrict=False))


@pytest.mark.parametrize("model", [DividedBySize, SizeNormed])
@pytest.mark.parametrize("objective", ["pns", "pn"])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_a_graph_that_is_all_there_is_are_not_taken_for_it(model, objective, kind):
    data, ours = stars(1), explainer(objective=objective, kind=kind)
    with SLOW:
        found = ours.explain_nodes(model(), data, [0])
    same(found, ours.explain_nodes(model(), data, [0], restrict=False))


def test_nodes_whose_graphs_add_up_to_the_whole_are_explained_as_on_it():
    data = stars(2)
    data.edge_index = torch.cat([data.edge_index, data.edge_index + 4], 1)
    ours = explainer(objective="ps")
    found = ours.explain_nodes(DividedBySize(), data, [0, 4])
    same(found, ours.explain_nodes(DividedBySize(), data, [0, 4], restrict=False))


class Random(Net):
    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(self, x, edge_index):
        x = self.head(self.first(x, edge_index))
        return x + self.width * torch.rand(x.shape, dtype=x.dtype)


class RandomOfGraphs(Random):
    def forward(self, x, edge_index, batch=None):
        return global_mean_pool(super().forward(x, edge_index), batch)


class RandomOfOneGraph(Random):
    def forward(self, x, edge_index):
        return super().forward(x, edge_index).mean(0, keepdim=True)


@REFUSED
@pytest.mark.parametrize("width", [1.0, 0.01])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("restrict", [True, False])
def test_a_model_that_is_random_is_refused(restrict, kind, width):
    with pytest.raises(InputError, match=r"Random does not give its own output .* random"):
        explainer(kind=kind).explain_nodes(Random(width), drawn(14, 30), [0], restrict=restrict)


@REFUSED
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [RandomOfGraphs, RandomOfOneGraph])
def test_a_classifier_of_graphs_that_is_random_is_refused(model, kind):
    graphs = [drawn(6, 10), drawn(7, 10)]
    with pytest.raises(InputError, match=f"{model.__name__} does not give its own output"):
        explainer(kind=kind).explain_graphs(model(1.0), graphs)
