"""Many at once: the same explanations as one at a time, and as on the whole graph."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import (
    GATConv,
    GCNConv,
    GINConv,
    GINEConv,
    GraphConv,
    LayerNorm,
    PairNorm,
    SAGEConv,
    SAGPooling,
    TopKPooling,
    global_add_pool,
    global_max_pool,
    global_mean_pool,
)
from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE
from torch_geometric.utils import add_self_loops, remove_self_loops

from zoo_core.errors import InputError, ZooWarning
from zoo_nseg.explainer import NSEGExplainer

KINDS = ("edge", "feature", "joint")
SLOW = pytest.warns(ZooWarning, match="explained one at a time")
CLOSE = {"rtol": 1e-6, "atol": 1e-7}


def graph(nodes: int, degree: float, seed: int) -> Data:
    """A directed graph with a self-loop, parallel edges and an isolated last node."""
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(nodes - 1, (2, int(nodes * degree)), generator=generator)
    edges = torch.cat([edges, edges[:, :2], torch.tensor([[1], [1]])], 1)
    number = edges.shape[1]
    return Data(
        x=torch.randn(nodes, 4, generator=generator, dtype=torch.float64),
        edge_index=edges,
        edge_attr=torch.randn(number, 3, generator=generator, dtype=torch.float64),
        edge_weight=0.5 + torch.rand(number, generator=generator, dtype=torch.float64),
    )


@pytest.fixture(scope="module")
def web():
    """A graph in which no node depends on all others."""
    return graph(24, 1.3, 0)


@pytest.fixture(scope="module")
def molecules():
    return [graph(nodes, 1.5, nodes) for nodes in (6, 9, 5, 9, 7)]


def explainer(**changes) -> NSEGExplainer:
    return NSEGExplainer(**{"epochs": 4, "lr": 0.1, "noise": 0.3, **changes})


def settled(model: nn.Module) -> nn.Module:
    """In float64, with BatchNorm statistics that are not those of a fresh layer."""
    generator = torch.Generator().manual_seed(3)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.double()


def same(found, expected, **close) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert ("edge_mask" in one, "node_mask" in one) == (
            "edge_mask" in other,
            "node_mask" in other,
        )
        for name in ("edge_mask", "node_mask", "p_full", "p_suff", "p_nec"):
            if name in one:
                torch.testing.assert_close(one[name], other[name], **{**CLOSE, **close}, msg=name)
        assert torch.equal(one.label, other.label)


NODE_MODELS = {
    "gcn": lambda: GCN(4, 6, 2, 3),
    "gcn-norm": lambda: GCN(4, 6, 2, 3, norm="batch_norm", jk="cat"),
    "gin": lambda: GIN(4, 6, 2, 3),
    "gat": lambda: GAT(4, 6, 2, 3, heads=2),
    "sage": lambda: GraphSAGE(4, 6, 2, 3),
    "sage-max": lambda: GraphSAGE(4, 6, 2, 3, aggr="max"),
}


def node_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return settled(NODE_MODELS[name]())


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "joint") for name in NODE_MODELS), ("gat", "edge"), ("gcn", "feature")],
)
def test_nodes_together_are_as_one_at_a_time_and_as_on_the_whole_graph(web, name, kind):
    model = node_model(name)
    nodes = [3, 0, 23]
    together = explainer().explain_nodes(model, web, nodes, kind=kind)
    alone = [explainer().explain_nodes(model, web, node, kind=kind)[0] for node in nodes]
    same(together, alone)
    same(together, explainer().explain_nodes(model, web, nodes, kind=kind, restrict=False))
    assert not bool(together[0].influencing_edge_mask.all())
    if kind != "feature":
        moved = together[0].edge_mask[together[0].influencing_edge_mask]
        assert float((moved - 0.5).abs().max()) > 0.05


@pytest.mark.parametrize(("kind", "budget"), [("edge", 1), ("feature", 120), ("joint", 300)])
def test_chunks_change_no_explanation(web, molecules, kind, budget):
    model, nodes = node_model("gcn"), [5, 0, 11, 3, 2]
    one = explainer().explain_nodes(model, web, nodes, kind=kind)
    same(explainer(max_edges_per_chunk=budget).explain_nodes(model, web, nodes, kind=kind), one)
    model = graph_model("gcn", global_add_pool)
    one = explainer().explain_graphs(model, molecules, kind=kind)
    same(explainer(max_edges_per_chunk=budget).explain_graphs(model, molecules, kind=kind), one)


@pytest.mark.parametrize("conv", ["gcn", "gat", "sage"])
def test_self_loops_that_are_already_there_count_the_same_in_any_chunk(molecules, conv):
    looped = []
    for each in molecules[:2]:
        edges, _ = remove_self_loops(each.edge_index)
        looped.append(Data(x=each.x, edge_index=add_self_loops(edges)[0]))
    model = graph_model(conv, global_add_pool)
    expected = explainer().explain_graphs(model, looped)
    same(explainer(max_edges_per_chunk=1).explain_graphs(model, looped), expected)
    with SLOW:
        same(explainer().explain_graphs(Plain(model), looped), expected)
    model = node_model(conv)
    expected = explainer().explain_nodes(model, looped[0], [0, 3])
    alone = explainer().explain_nodes(model, looped[0], [0, 3], restrict=False)
    same(alone, expected)
    same(explainer(max_edges_per_chunk=1).explain_nodes(model, looped[0], [0, 3]), expected)


def test_order_and_company_change_no_explanation(web, molecules):
    model, nodes = node_model("gat"), [7, 2, 2, 19, 4]
    found = explainer().explain_nodes(model, web, nodes, kind="joint")
    same(found[1:2], found[2:3])
    order = [4, 1, 3, 0]
    again = explainer().explain_nodes(model, web, [nodes[each] for each in order], kind="joint")
    same(again, [found[each] for each in order])
    model = graph_model("gin", global_mean_pool)
    found = explainer().explain_graphs(model, molecules, kind="joint")
    again = explainer().explain_graphs(model, [molecules[each] for each in order], kind="joint")
    same(again, [found[each] for each in order])
    batched = explainer().explain_graphs(model, Batch.from_data_list(molecules), kind="joint")
    same(batched, found)


def test_all_settings_hold_in_batches(web):
    model, nodes = node_model("gin"), [5, 0, 11]
    for changes in (
        {"symmetric": True},
        {"objective": "ps"},
        {"objective": "pn", "return_last": True},
        {"n_samples": (1, 3, 2)},
        {"temperature": 2.0, "noise": 0.0},
    ):
        found = explainer(**changes).explain_nodes(model, web, nodes, kind="joint")
        slow = explainer(**changes).explain_nodes(model, web, nodes, kind="joint", restrict=False)
        same(found, slow)


def test_further_arguments_go_with_their_nodes_and_edges(web):
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = GINEConv(nn.Linear(4, 4), edge_dim=3), GraphConv(4, 3)

        def forward(self, x, edge_index, edge_attr, edge_weight, extra, scale):
            x = self.one(x, edge_index, edge_attr).relu() + extra
            return scale * self.two(x, edge_index, edge_weight)

    torch.manual_seed(0)
    model, data = Weighted().double(), web.clone()
    data.extra, data.scale = torch.randn(24, 4, dtype=torch.float64), 0.7
    names = ["edge_attr", "edge_weight", "extra", "scale"]
    for kind in KINDS:
        found = explainer().explain_nodes(model, data, [3, 11], kind=kind, arguments=iter(names))
        slow = explainer().explain_nodes(
            model, data, [3, 11], kind=kind, arguments=names, restrict=False
        )
        same(found, slow)
        assert set(found[0]._model_args) == set(names)


def test_one_graph_of_many_graphs_is_explained_as_one_graph(molecules):
    joined = Batch.from_data_list(molecules)
    model = node_model("sage")
    found = explainer().explain_nodes(model, joined, [0, 8], kind="edge")
    flat = Data(x=joined.x, edge_index=joined.edge_index)
    same(found, explainer().explain_nodes(model, flat, [0, 8], kind="edge"))


CONVS = {
    "gcn": lambda: GCNConv(4, 4),
    "gin": lambda: GINConv(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())),
    "gat": lambda: GATConv(4, 4),
    "sage": lambda: SAGEConv(4, 4),
    "gine": lambda: GINEConv(nn.Linear(4, 4), edge_dim=3),
    "graph": lambda: GraphConv(4, 4),
}


class Classifier(nn.Module):
    """Two layers and a readout."""

    def __init__(self, conv: str, pool) -> None:
        super().__init__()
        self.one, self.two, self.head = CONVS[conv](), CONVS[conv](), nn.Linear(4, 3)
        self.pool = pool

    def forward(self, x, edge_index, batch=None, edge_attr=None, edge_weight=None):
        extra = [each for each in (edge_attr, edge_weight) if each is not None]
        x = self.one(x, edge_index, *extra).tanh()
        return self.head(self.pool(self.two(x, edge_index, *extra), batch))


class Plain(nn.Module):
    """The same without `batch`: can only be run on one graph at a time."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x, edge_index, edge_attr=None, edge_weight=None):
        extra = {"edge_attr": edge_attr, "edge_weight": edge_weight}
        extra = {name: each for name, each in extra.items() if each is not None}
        return self.inner(x, edge_index, batch=torch.zeros(len(x), dtype=torch.long), **extra)


def graph_model(conv: str, pool) -> nn.Module:
    torch.manual_seed(0)
    return settled(Classifier(conv, pool))


@pytest.mark.parametrize(
    ("conv", "pool", "names", "kind"),
    [
        ("gcn", global_add_pool, [], "joint"),
        ("gin", global_mean_pool, [], "joint"),
        ("gat", global_max_pool, [], "joint"),
        ("sage", global_add_pool, [], "edge"),
        ("sage", global_mean_pool, [], "feature"),
        ("gine", global_mean_pool, ["edge_attr"], "joint"),
        ("graph", global_max_pool, ["edge_weight"], "joint"),
    ],
)
def test_graphs_together_are_as_one_at_a_time(molecules, kind, pool, conv, names):
    model = graph_model(conv, pool)
    together = explainer().explain_graphs(model, molecules, kind=kind, arguments=names)
    with SLOW:
        alone = explainer().explain_graphs(Plain(model), molecules, kind=kind, arguments=names)
    same(together, alone)


def test_one_graph_is_as_among_many(molecules):
    model = graph_model("gin", global_max_pool)
    together = explainer().explain_graphs(model, molecules, kind="joint")
    alone = [explainer().explain_graphs(model, each, kind="joint")[0] for each in molecules]
    same(together, alone)


@pytest.mark.parametrize("pool", [TopKPooling, SAGPooling])
def test_a_pooling_that_drops_edges_is_refused(molecules, pool):
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.pool, self.two = GCNConv(4, 4), pool(4), GCNConv(4, 3)

        def forward(self, x, edge_index, batch):
            x, edge_index, _, batch, *_ = self.pool(
                self.one(x, edge_index), edge_index, None, batch
            )
            return global_add_pool(self.two(x, edge_index), batch)

    torch.manual_seed(0)
    with pytest.raises(InputError, match=r"GCNConv passes messages over .* edges that are not"):
        explainer().explain_graphs(Pooled().double(), molecules)


class Normed(nn.Module):
    """Node outputs that depend on all nodes, by a norm or a mean."""

    def __init__(self, how) -> None:
        super().__init__()
        self.one, self.two, self.how = GCNConv(4, 4), GCNConv(4, 3), how

    def forward(self, x, edge_index):
        return self.two(self.how(self.one(x, edge_index)).tanh(), edge_index)


class Centred(nn.Module):
    def forward(self, x):
        return x - 3 * x.mean(0)


GLOBAL = {"pair-norm": PairNorm, "layer-norm": lambda: LayerNorm(4), "mean": Centred}


@pytest.mark.parametrize(("how", "kind"), [("pair-norm", "joint"), ("mean", "edge")])
def test_a_node_that_depends_on_all_others_is_explained_on_the_whole_graph(web, kind, how):
    torch.manual_seed(0)
    model = Normed(GLOBAL[how]()).double()
    with SLOW:
        found = explainer().explain_nodes(model, web, [3, 17], kind=kind)
    same(found, explainer().explain_nodes(model, web, [3, 17], kind=kind, restrict=False))
    edges = web.num_edges
    for each in found:
        assert bool(each.influencing_edge_mask.all())
        assert each.khop_edge_ids.tolist() == list(range(edges))


def complete(nodes: int) -> Data:
    """Every node depends on the whole graph after one round."""
    pairs = [(one, other) for one in range(nodes) for other in range(nodes) if one != other]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(nodes, 4, generator=generator, dtype=torch.float64)
    return Data(x=x, edge_index=torch.tensor(pairs).T.contiguous())


@pytest.mark.filterwarnings("ignore::zoo_core.errors.ZooWarning")
@pytest.mark.parametrize(("kind", "budget"), [("edge", 1), ("joint", 200), ("edge", 200_000)])
@pytest.mark.parametrize("nodes", [[2], [0, 2, 3]])
@pytest.mark.parametrize("how", GLOBAL)
def test_worlds_of_a_graph_that_is_its_own_computation_graph_do_not_mix(how, nodes, budget, kind):
    torch.manual_seed(0)
    model, data = Normed(GLOBAL[how]()).double(), complete(5)
    found = explainer(max_edges_per_chunk=budget).explain_nodes(model, data, nodes, kind=kind)
    same(found, explainer().explain_nodes(model, data, nodes, kind=kind, restrict=False))


class NormedGraphs(nn.Module):
    """Normalises over all nodes it is given, whichever graph they are of."""

    def __init__(self, how) -> None:
        super().__init__()
        self.one, self.how, self.head = GCNConv(4, 4), how, nn.Linear(4, 3)

    def forward(self, x, edge_index, batch):
        return self.head(global_add_pool(self.how(self.one(x, edge_index)).tanh(), batch))


@pytest.mark.filterwarnings("ignore::zoo_core.errors.ZooWarning")
@pytest.mark.parametrize(("kind", "budget"), [("edge", 1), ("edge", 200_000)])
@pytest.mark.parametrize("number", ["one", "alike", "several"])
@pytest.mark.parametrize("how", GLOBAL)
def test_a_norm_over_all_graphs_is_right_for_each(molecules, how, number, budget, kind):
    torch.manual_seed(0)
    model = NormedGraphs(GLOBAL[how]()).double()
    graphs = {"one": molecules[:1], "alike": molecules[:1] * 3, "several": molecules[:3]}[number]
    found = explainer(max_edges_per_chunk=budget).explain_graphs(model, graphs, kind=kind)
    same(found, explainer().explain_graphs(Plain(model), graphs, kind=kind))


@pytest.mark.filterwarnings("ignore::zoo_core.errors.ZooWarning")
def test_a_mean_over_constant_features_is_not_taken_for_a_local_one(web):
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.head = GCNConv(4, 3), nn.Linear(4, 3)

        def forward(self, x, edge_index):
            return self.one(x, edge_index) + self.head(x.mean(0, keepdim=True))

    torch.manual_seed(0)
    model, data = Mean().double(), web.clone()
    data.x = torch.ones_like(web.x)
    for kind in ("feature", "joint"):
        given = {"kind": kind, "x_cf": torch.zeros_like(web.x)}
        found = explainer().explain_nodes(model, data, [3, 17], **given)
        same(found, explainer().explain_nodes(model, data, [3, 17], **given, restrict=False))


def test_a_model_that_cannot_run_graphs_side_by_side_is_run_one_at_a_time(molecules):
    class Fixed(nn.Module):
        """Flattens its nodes: made for graphs of nine."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.head = GCNConv(4, 4), nn.Linear(36, 3)

        def forward(self, x, edge_index, batch=None):
            return self.head(self.one(x, edge_index).tanh().reshape(1, 36))

    torch.manual_seed(0)
    model = Fixed().double()
    nines = [each for each in molecules if each.num_nodes == 9]
    assert len(nines) == 2
    with SLOW:
        found = explainer().explain_graphs(model, nines)
    for each, data in zip(found, nines, strict=True):
        with SLOW:
            [alone] = explainer().explain_graphs(model, data)
        same([each], [alone])
        assert float((each.edge_mask - 0.5).abs().max()) > 0.05


def test_masks_are_those_of_the_outputs_that_are_given_back(molecules):
    """p_suff and p_nec are what the model gives under the returned masks, without noise."""
    model = graph_model("gat", global_add_pool)
    for data, found in zip(
        molecules, explainer().explain_graphs(model, molecules, kind="edge"), strict=True
    ):
        batch = torch.zeros(data.num_nodes, dtype=torch.long)
        present = []
        for mask in (found.edge_mask, 1 - found.edge_mask):
            set_masks(model, mask, data.edge_index, apply_sigmoid=False)
            with torch.no_grad():
                present.append(model(data.x, data.edge_index, batch).softmax(-1)[0, found.label[0]])
            clear_masks(model)
        torch.testing.assert_close(found.p_suff, present[0])
        torch.testing.assert_close(found.p_nec, 1 - present[1])
