"""Answers that would be wrong without a word: models and inputs that leave what is assumed of them.

Each is either explained as it would be in the plainest way (one at a time, on the whole graph,
without the model's tricks), or refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Data
from torch_geometric.nn import (
    GCNConv,
    GraphConv,
    GraphSizeNorm,
    global_add_pool,
    global_mean_pool,
)
from torch_geometric.utils import add_remaining_self_loops, add_self_loops, to_undirected

from zoo_core.errors import InputError, ZooWarning
from zoo_nseg.counterfactual import NearestNeighborMatcher
from zoo_nseg.explainer import NSEGExplainer

KINDS = ("edge", "feature", "joint")
OBJECTIVES = ("pns", "ps", "pn")
SLOW = pytest.warns(ZooWarning, match="explained one at a time")
# A model that is refused may be found to be slow before.
REFUSED = pytest.mark.filterwarnings("ignore::zoo_core.errors.ZooWarning")
# torch warns of every checkpoint of a forward that needs no gradient.
CHECKPOINTED = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")


def drawn(nodes: int, edges: int, seed: int = 0) -> Data:
    """A directed graph without self-loops."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(nodes, (edges,), generator=generator)
    target = (source + torch.randint(1, nodes, (edges,), generator=generator)) % nodes
    return Data(
        x=torch.randn(nodes, 4, generator=generator, dtype=torch.float64),
        edge_index=torch.stack([source, target]),
        edge_attr=0.5 + torch.rand(edges, generator=generator, dtype=torch.float64),
    )


def explainer(**changes) -> NSEGExplainer:
    return NSEGExplainer(
        **{"epochs": 8, "lr": 0.1, "noise": 0.3, "alpha_e": 0.01, "beta_e": 0.1, **changes}
    )


def same(found, expected) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        masks = [name for name in ("edge_mask", "node_mask") if name in other]
        assert masks
        for name in (*masks, "p_full", "p_suff", "p_nec"):
            torch.testing.assert_close(one[name], other[name], rtol=1e-7, atol=1e-9, msg=name)


class Net(nn.Module):
    """Layers by name, alike in every model of the same seed."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = GraphConv(4, width), GraphConv(width, width)
        self.head = nn.Linear(width, 3)
        self.double()


class Scaled(Net):
    """A classifier of graphs with an argument that is no tensor of nodes, edges or graphs."""

    def forward(self, x, edge_index, batch=None, scale=1.0):
        x = self.first(x, edge_index).relu()
        return self.head(global_mean_pool(x, batch) * scale)


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


class Shared(nn.Module):
    """Passes messages twice, each time over edges of its own making."""

    def __init__(self, makes: tuple[Callable, Callable], width: int, layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.start, layer = nn.Linear(4, width), GraphConv(width, width)
        self.layers = nn.ModuleList([layer, layer])
        if layers == 2:
            self.layers[1] = copy.deepcopy(layer)
        self.head = nn.Linear(width, 3)
        self.makes = makes
        self.double()

    def forward(self, x, edge_index):
        x = self.start(x) / len(self.start.weight) ** 0.5
        for layer, make in zip(self.layers, self.makes, strict=True):
            x = layer(x, make(edge_index, len(x))).tanh()
        return self.head(x)


def given(edge_index: Tensor, nodes: int) -> Tensor:
    return edge_index


def copied(edge_index: Tensor, nodes: int) -> Tensor:
    return edge_index.clone()


def looped(edge_index: Tensor, nodes: int) -> Tensor:
    return add_self_loops(edge_index, num_nodes=nodes)[0]


def remaining(edge_index: Tensor, nodes: int) -> Tensor:
    return add_remaining_self_loops(edge_index, num_nodes=nodes)[0]


def reverse(edge_index: Tensor, nodes: int) -> Tensor:
    return edge_index.flip(0)


def looped_reverse(edge_index: Tensor, nodes: int) -> Tensor:
    return looped(edge_index, nodes).flip(0)


def shuffled(edge_index: Tensor, nodes: int) -> Tensor:
    return looped(edge_index, nodes).roll(1, 1)


# Nodes, edges and states of a width: the last is summed by sparse products, the first is not.
SIZES = {"small": (14, 24, 8), "large": (300, 900, 64)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "makes",
    [(given, reverse), (copied, reverse), (looped, looped_reverse), (looped, shuffled)],
    ids=lambda makes: "-".join(each.__name__ for each in makes),
)
def test_a_layer_that_is_given_other_edges_the_second_time_is_refused(makes, size):
    nodes, edges, width = SIZES[size]
    with pytest.raises(InputError, match=r"GraphConv passes messages over .* not the graph's"):
        explainer(epochs=2).explain_nodes(Shared(makes, width), drawn(nodes, edges), [0])


def looped_within(nodes: int, edges: int) -> Data:
    """A graph with every self-loop, none of them at the end: with them added it is as long."""
    data = drawn(nodes, edges)
    loops = torch.arange(nodes).expand(2, -1)
    return Data(x=data.x, edge_index=torch.cat([loops, data.edge_index], 1))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "makes",
    [
        (given, given),
        (copied, copied),
        (looped, looped),
        (given, looped),
        (copied, remaining),
        (remaining, copied),
    ],
    ids=lambda makes: "-".join(each.__name__ for each in makes),
)
def test_a_layer_that_is_called_twice_is_as_two_layers(makes, size):
    nodes, edges, width = SIZES[size]
    data = looped_within(nodes, edges) if remaining in makes else drawn(nodes, edges)
    epochs = {"small": 8, "large": 4}[size]
    one, two = (
        explainer(epochs=epochs).explain_nodes(Shared(makes, width, layers), data, [0, 3])
        for layers in (1, 2)
    )
    same(one, two)
    assert float((one[0].edge_mask[one[0].influencing_edge_mask] - 0.5).abs().max()) > 0.05


class Checkpointed(Net):
    """Computes its layers again in the backward pass."""

    def __init__(self, which: tuple[str, ...], reentrant: bool = False, width: int = 8) -> None:
        super().__init__(width)
        self.which, self.reentrant = which, reentrant

    def forward(self, x, edge_index):
        for name in ("first", "second"):
            layer = getattr(self, name)

            def step(x, layer=layer):
                return layer(x, edge_index).tanh()

            again = name in self.which
            x = checkpoint(step, x, use_reentrant=self.reentrant) if again else step(x)
        return self.head(x)


@CHECKPOINTED
@pytest.mark.parametrize("way", ["stacked", "one by one", "summed"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("which", "reentrant"),
    [
        (("second",), True),
        (("first",), True),
        (("first", "second"), True),
        (("second",), False),
        (("first",), False),
        (("first", "second"), False),
    ],
)
def test_layers_that_are_computed_again_are_weighed_again(monkeypatch, which, reentrant, kind, way):
    monkeypatch.setattr("zoo_nseg.masking._WORTH", 0 if way == "summed" else 10**12)
    ours = explainer(kind=kind, max_edges_per_chunk=1 if way == "one by one" else 200_000)
    data = drawn(14, 30)
    found = ours.explain_nodes(Checkpointed(which, reentrant), data, [0, 7])
    expected = ours.explain_nodes(Checkpointed(()), data, [0, 7])
    same(found, expected)
    assert all(each.influencing_edge_mask.sum() > 4 for each in expected)


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


class TwoLayers(Net):
    def forward(self, x, edge_index):
        return self.head(self.second(self.first(x, edge_index).tanh(), edge_index))


def opposite(edge_index: Tensor) -> Tensor:
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
    other = opposite(data.edge_index)
    ours = explainer(symmetric=True, outside=outside, regulariser_scope=scope, kind=kind)
    found = ours.explain_nodes(TwoLayers(), data, [0, 5, 9], restrict=restrict)
    for each in found:
        reach = each.influencing_edge_mask
        assert bool((reach & ~reach[other]).any())  # some matter one way only
        torch.testing.assert_close(each.edge_mask, each.edge_mask[other], rtol=0, atol=1e-12)
        assert torch.equal(each.hard_edge_mask, each.hard_edge_mask[other])
        assert bool((each.edge_mask[reach] > 0).all())
    assert any(bool(each.hard_edge_mask.any()) for each in found)


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


class Fails(Net):
    """Fails where the unmasked input is run, with an error of several lines."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x, edge_index):
        raise self.error("cannot be\nread any further")


@pytest.mark.parametrize("error", [RuntimeError, IndexError, AssertionError, ZeroDivisionError])
@pytest.mark.parametrize("call", ["nodes", "graphs"])
def test_a_model_that_fails_by_itself_is_named_with_its_error(call, error):
    run = getattr(explainer(), f"explain_{call}")
    given = {"nodes": (drawn(6, 10), [0]), "graphs": ([drawn(6, 10)],)}[call]
    with pytest.raises(InputError, match=f"^Fails fails on .*{error.__name__}: ") as caught:
        run(Fails(error), *given)
    assert "cannot be" in str(caught.value)
    assert "read any further" not in str(caught.value)
    assert type(caught.value.__cause__) is error


def test_a_model_that_gets_too_few_features_is_named_with_its_error():
    data = drawn(6, 10)
    data.x = data.x[:, :3]
    with pytest.raises(InputError, match="TwoLayers fails on x, edge_index as given") as caught:
        explainer().explain_nodes(TwoLayers(), data, [0])
    assert "\n" not in str(caught.value)


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
