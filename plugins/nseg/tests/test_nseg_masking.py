"""A model under edge weights: what the weights do, and that the model is left as it was found."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import (
    APPNP,
    ChebConv,
    GATConv,
    GATv2Conv,
    GCNConv,
    GINConv,
    GINEConv,
    GraphConv,
    MessagePassing,
    SAGEConv,
    SGConv,
    TAGConv,
    TransformerConv,
)

from zoo_core.errors import InputError
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.masking import Frozen, Masked

NODES, WIDTH, EDGE_WIDTH = 9, 4, 3

LAYERS = {
    "gcn": lambda: GCNConv(WIDTH, WIDTH),
    "gcn-without-loops": lambda: GCNConv(WIDTH, WIDTH, add_self_loops=False),
    "gcn-improved": lambda: GCNConv(WIDTH, WIDTH, improved=True),
    "gcn+edge_weight": lambda: GCNConv(WIDTH, WIDTH),
    "gat": lambda: GATConv(WIDTH, 2, heads=2),
    "gat-without-loops": lambda: GATConv(WIDTH, 2, heads=2, add_self_loops=False),
    "gat+edge_attr": lambda: GATConv(WIDTH, 2, heads=2, edge_dim=EDGE_WIDTH),
    "gatv2": lambda: GATv2Conv(WIDTH, 2, heads=2),
    "gatv2+edge_attr": lambda: GATv2Conv(WIDTH, 2, heads=2, edge_dim=EDGE_WIDTH),
    "transformer": lambda: TransformerConv(WIDTH, 2, heads=2),
    "transformer+edge_attr": lambda: TransformerConv(WIDTH, 2, heads=2, edge_dim=EDGE_WIDTH),
    "gin": lambda: GINConv(nn.Linear(WIDTH, WIDTH)),
    "gine+edge_attr": lambda: GINEConv(nn.Linear(WIDTH, WIDTH), edge_dim=EDGE_WIDTH),
    "sage-mean": lambda: SAGEConv(WIDTH, WIDTH),
    "sage-max": lambda: SAGEConv(WIDTH, WIDTH, aggr="max"),
    "sage-mean-projected": lambda: SAGEConv(WIDTH, WIDTH, project=True),
    "graph-mean+edge_weight": lambda: GraphConv(WIDTH, WIDTH, aggr="mean"),
    "gcn-max": lambda: GCNConv(WIDTH, WIDTH, aggr="max"),
    "graph+edge_weight": lambda: GraphConv(WIDTH, WIDTH),
    "tag": lambda: TAGConv(WIDTH, WIDTH, K=2),
    "sg": lambda: SGConv(WIDTH, WIDTH, K=2),
    "cheb": lambda: ChebConv(WIDTH, WIDTH, K=3),
    "appnp": lambda: APPNP(K=3, alpha=0.2),
}


@pytest.fixture(params=["by-message", "summed"])
def way(request, monkeypatch):
    """Both ways to compute sums of neighbours, whatever their size."""
    monkeypatch.setattr("zoo_nseg.masking._WORTH", 0 if request.param == "summed" else 10**12)


class Stack(nn.Module):
    """Two layers, which may take one argument more."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.argument = layer.partition("+")[2]
        self.first, self.second = LAYERS[layer](), LAYERS[layer]()
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x, edge_index, **given):
        extra = (given[self.argument],) if self.argument else ()
        x = self.first(x, edge_index, *extra).tanh()
        return self.head(self.second(x, edge_index, *extra).tanh())


@pytest.fixture
def data():
    """A directed graph with a parallel edge, two self-loops and a node without edges."""
    generator = torch.Generator().manual_seed(1)
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (1, 0), (3, 2), (6, 0), (2, 5)]
    pairs += [(2, 3), (4, 4), (1, 1), (7, 1), (5, 4)]
    return Data(
        x=torch.randn(NODES, WIDTH, generator=generator, dtype=torch.float64),
        edge_index=torch.tensor(pairs).T.contiguous(),
        edge_attr=torch.randn(len(pairs), EDGE_WIDTH, generator=generator, dtype=torch.float64),
        edge_weight=torch.rand(len(pairs), generator=generator, dtype=torch.float64),
    )


def given(model: Stack, data: Data) -> dict:
    return {model.argument: data[model.argument]} if model.argument else {}


def weights_of(data: Data, seed: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(data.num_edges, generator=generator, dtype=torch.float64)


def condition(model: nn.Module) -> dict:
    """All that an explanation could leave behind."""
    layers = {n: each for n, each in model.named_modules() if isinstance(each, MessagePassing)}
    return {
        "training": {name: each.training for name, each in model.named_modules()},
        "requires_grad": {name: each.requires_grad for name, each in model.named_parameters()},
        "grad": {name: each.grad for name, each in model.named_parameters()},
        "keys": list(model.state_dict()),
        "tensors": {name: id(each) for name, each in model.named_parameters()},
        "values": {name: each.tolist() for name, each in model.state_dict().items()},
        "explain": {name: each.explain for name, each in layers.items()},
        "propagate": {name: each.propagate for name, each in layers.items()},
        "masks": {
            (name, what): id(getattr(each, what, None))
            for name, each in layers.items()
            for what in ("_edge_mask", "_loop_mask", "_apply_sigmoid")
        },
        "registered": {name: list(each._parameters) for name, each in layers.items()},
        "user_args": {name: sorted(each._user_args) for name, each in layers.items()},
        "attributes": {name: sorted(vars(each)) for name, each in layers.items()},
        "hooks": {
            (name, hooks): len(getattr(each, hooks))
            for name, each in layers.items()
            for hooks in vars(each)
            if hooks.endswith("_hooks")
        },
    }


class Fails(nn.Module):
    """Raises from the k-th call on."""

    def __init__(self, error: type[BaseException], at: int) -> None:
        super().__init__()
        self.inner = Stack("gcn")
        self.error, self.left = error, at

    def forward(self, x, edge_index):
        self.left -= 1
        if self.left < 0:
            raise self.error("stop")
        return self.inner(x, edge_index)


def mixed(model: nn.Module) -> nn.Module:
    """Some modules in training mode and some parameters frozen, as in fine-tuning."""
    model.train()
    for place, module in enumerate(model.modules()):
        module.training = place % 2 == 0
    for place, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(place % 3 != 1)
    return model


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("layer", ["gcn", "gat+edge_attr", "sage-mean"])
@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
def test_a_model_is_left_as_it_was_found(data, layer, kind):
    model = mixed(Stack(layer).double())
    before = condition(model)
    explainer = NSEGExplainer(epochs=3, kind=kind)
    explainer.explain_nodes(model, data, [0, 3], arguments=list(given(model, data)))
    assert condition(model) == before


@pytest.mark.filterwarnings("ignore::zoo_core.errors.ZooWarning")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("at", range(6))
def test_a_model_is_left_as_it_was_found_when_it_fails_at_a_call(data, error, at):
    model = mixed(Fails(error, at).double())
    before = condition(model)
    first = error is RuntimeError and at == 0  # the model as it is, unmasked
    with pytest.raises(InputError if first else error, match="stop"):
        NSEGExplainer(epochs=4).explain_nodes(model, data, [0, 3])
    assert condition(model) == before


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("registered", [False, True])
def test_masks_that_were_left_in_a_model_change_nothing_and_stay(data, registered):
    model = Stack("gcn").double()
    clean = NSEGExplainer(epochs=5).explain_nodes(model, data, [0, 3])
    mask = weights_of(data)
    mask = nn.Parameter(mask) if registered else mask
    set_masks(model, mask, data.edge_index, apply_sigmoid=True)
    before = condition(model)
    assert any("_edge_mask" in key for key in before["keys"]) == registered
    found = NSEGExplainer(epochs=5).explain_nodes(model, data, [0, 3])
    assert condition(model) == before
    assert mask.grad is None
    for one, other in zip(clean, found, strict=True):
        assert one.p_full == other.p_full
        assert torch.equal(one.edge_mask, other.edge_mask)


def test_a_model_can_be_copied_trained_and_explained_again_afterwards(data):
    model = Stack("gcn").double()
    first = NSEGExplainer(epochs=3).explain_nodes(model, data, [0])[0]
    clone = copy.deepcopy(model)
    again = NSEGExplainer(epochs=3).explain_nodes(clone, data, [0])[0]
    assert torch.equal(first.edge_mask, again.edge_mask)
    model(data.x, data.edge_index).sum().backward()
    assert all(each.grad is not None for each in model.parameters())
    assert torch.equal(model(data.x, data.edge_index), clone(data.x, data.edge_index))


def test_the_callers_tensors_gather_no_gradients(data):
    model = Stack("gine+edge_attr").double()
    expected = NSEGExplainer(epochs=4, kind="joint").explain_nodes(
        model, data, [0], arguments=["edge_attr"]
    )[0]
    data.x.requires_grad_()
    data.edge_attr = (2 * data.edge_attr.requires_grad_()) / 2
    found = NSEGExplainer(epochs=4, kind="joint").explain_nodes(
        model, data, [0], arguments=["edge_attr"]
    )[0]
    assert data.x.grad is None
    assert torch.equal(found.edge_mask, expected.edge_mask)
    assert not found.edge_mask.requires_grad


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("layer", LAYERS)
def test_weights_multiply_messages_as_masks_of_torch_geometric_do(data, layer):
    model = Stack(layer).double()
    extra = given(model, data)
    weights = weights_of(data).requires_grad_()
    set_masks(model, weights, data.edge_index, apply_sigmoid=False)
    expected = model(data.x, data.edge_index, **extra)
    clear_masks(model)
    [slope] = torch.autograd.grad(expected.square().sum(), weights)
    with Frozen(model) as frozen, Masked(frozen, data.edge_index, NODES) as masked:
        found = masked(weights, data.x, **extra)
        [found_slope] = torch.autograd.grad(found.square().sum(), weights)
        whole = masked(torch.ones_like(weights), data.x, **extra)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found_slope, slope, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(whole, model(data.x, data.edge_index, **extra))
    assert not torch.allclose(found, whole)


def distances(edge_index: torch.Tensor, target: int) -> list[float]:
    """Hops from each node to the target, by relaxing every edge over and over."""
    found = [float("inf")] * NODES
    found[target] = 0
    for _ in range(NODES):
        for source, end in edge_index.T.tolist():
            found[source] = min(found[source], found[end] + 1)
    return found


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("target", [2, 8])
def test_messages_that_cannot_reach_the_target_need_not_be_computed(data, layer, target):
    model = Stack(layer).double()
    extra = given(model, data)
    weights = weights_of(data)
    with Frozen(model) as frozen:
        _, hops = frozen.calls(data.x, data.edge_index, **extra)
        hops_to = distances(data.edge_index, target)
        reach = [hops_to[end] < hops for end in data.edge_index[1].tolist()]
        messages = torch.tensor(reach).nonzero().squeeze(-1)
        with Masked(frozen, data.edge_index, NODES) as masked:
            expected = masked(weights, data.x, **extra)[target]
        with Masked(frozen, data.edge_index, NODES, messages) as masked:
            found = masked(weights[messages], data.x, **extra)[target]
    if hops == 2:
        assert 0 < len(messages) < data.num_edges or target == 8
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("way")
def test_a_weight_changes_no_degree(data):
    layer = GCNConv(WIDTH, WIDTH, add_self_loops=False, bias=False).double()
    weights = weights_of(data)
    source, target = data.edge_index
    degree = torch.bincount(target, minlength=NODES).double()
    scale = degree.clamp_min(1).rsqrt() * (degree > 0)
    expected = torch.zeros(NODES, WIDTH, dtype=torch.float64)
    projected = data.x @ layer.lin.weight.T
    for place in range(data.num_edges):
        factor = weights[place] * scale[source[place]] * scale[target[place]]
        expected[target[place]] += factor * projected[source[place]]
    with Frozen(layer) as frozen, Masked(frozen, data.edge_index, NODES) as masked:
        found = masked(weights, data.x)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, layer(data.x, data.edge_index, weights))


@pytest.mark.usefixtures("way")
def test_each_of_two_parallel_edges_has_its_own_weight(data):
    model = Stack("gin").double()
    pair = [place for place, each in enumerate(data.edge_index.T.tolist()) if each == [2, 3]]
    assert len(pair) == 2
    with Frozen(model) as frozen, Masked(frozen, data.edge_index, NODES) as masked:
        outputs = []
        for kept in pair:
            weights = torch.ones(data.num_edges, dtype=torch.float64)
            weights[kept] = 0
            outputs.append(masked(weights, data.x))
        both = torch.ones(data.num_edges, dtype=torch.float64)
        both[pair] = 0.5
        outputs.append(masked(both, data.x))
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layer", ["gcn", "gin", "gat"])
def test_without_edges_a_model_runs_on_its_nodes_alone(data, layer, dtype):
    model = Stack(layer).to(dtype)
    x = data.x.to(dtype)
    expected = model(x, data.edge_index[:, :0])
    with Frozen(model) as frozen, Masked(frozen, data.edge_index, NODES) as masked:
        found = masked.without_edges(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


def test_weights_take_the_dtype_of_the_features(data):
    model = Stack("gcn").half()
    with Frozen(model) as frozen, Masked(frozen, data.edge_index, NODES) as masked:
        assert masked(weights_of(data), data.x.half()).dtype == torch.float16


def test_a_compiled_model_is_explained_as_the_module_inside(data):
    model = Stack("gcn").double()
    expected = NSEGExplainer(epochs=4).explain_nodes(model, data, [3])[0]
    found = NSEGExplainer(epochs=4).explain_nodes(torch.compile(model), data, [3])[0]
    assert torch.equal(found.edge_mask, expected.edge_mask)


class Rewires(nn.Module):
    """Changes the edges before its layer sees them."""

    def __init__(self, how) -> None:
        super().__init__()
        self.how = how
        self.layer = GINConv(nn.Linear(WIDTH, 3))

    def forward(self, x, edge_index):
        return self.layer(x, self.how(edge_index))


@pytest.mark.usefixtures("way")
@pytest.mark.filterwarnings("ignore:Sparse invariant", "ignore:Converting sparse")
@pytest.mark.parametrize(
    "how",
    [
        lambda edges: edges.flip(0),
        lambda edges: edges[:, 1:],
        lambda edges: edges[:, torch.arange(edges.shape[1]).flip(0)],
        lambda edges: torch.cat([edges, edges], 1),
        lambda edges: edges[:, edges[0] != edges[1]],
        lambda edges: torch.sparse_coo_tensor(
            edges, torch.ones(edges.shape[1], dtype=torch.float64), (NODES, NODES)
        ),
    ],
    ids=["reversed", "one-less", "reordered", "doubled", "without-loops", "sparse"],
)
def test_a_layer_that_gets_other_edges_than_the_graphs_is_refused(data, how):
    model = Rewires(how).double()
    before = condition(model)
    with pytest.raises(InputError, match="passes messages over"):
        NSEGExplainer(epochs=2).explain_nodes(model, data, [0])
    assert condition(model) == before


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_self_loops_that_a_model_adds_itself_weigh_one(data, flow):
    def with_loops(edges):
        return torch.cat([edges, torch.arange(NODES).expand(2, -1)], 1)

    model = Rewires(with_loops).double()
    model.layer.flow = flow
    weights = weights_of(data)
    source, target = data.edge_index if flow == "source_to_target" else data.edge_index.flip(0)
    messages = data.x.clone()
    messages = messages.index_add(0, target, weights[:, None] * data.x[source])
    expected = model.layer.nn(data.x + messages)
    with Frozen(model) as frozen, Masked(frozen, data.edge_index, NODES) as masked:
        found = masked(weights, data.x)
    torch.testing.assert_close(found, expected)


class OfNumbers(nn.Module):
    """A classifier of nodes whose features are the numbers of an embedding."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(NODES, WIDTH)
        self.sum, self.head = GCNConv(WIDTH, WIDTH), nn.Linear(WIDTH, 2)
        self.to(dtype)

    def forward(self, x, edge_index):
        return self.head(self.sum(self.embed(x), edge_index))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("way")
def test_weights_take_the_dtype_of_the_messages_where_features_are_numbers(data, dtype):
    numbers = Data(x=torch.arange(NODES), edge_index=data.edge_index)
    model = OfNumbers(dtype)
    [found] = NSEGExplainer(epochs=20, lr=0.1).explain_nodes(model, numbers, [3])
    [plain] = NSEGExplainer(epochs=20, lr=0.1).explain_nodes(OfNumbers(torch.float64), numbers, [3])
    assert found.edge_mask.dtype == torch.float32
    torch.testing.assert_close(found.edge_mask, plain.edge_mask, rtol=0, atol=0.02)


@pytest.mark.usefixtures("way")
def test_a_layer_between_two_sets_of_nodes_is_weighed(data):
    targets = 4
    edge_index = data.edge_index[:, data.edge_index[1] < targets]

    class Onto(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = SAGEConv(WIDTH, 2).double()

        def forward(self, x, edge_index):
            return self.conv((x, x[:targets]), edge_index)

    model = Onto()
    weights = torch.rand(edge_index.shape[1], dtype=torch.float64)
    set_masks(model, weights, edge_index, apply_sigmoid=False)
    wanted = model(data.x, edge_index)
    clear_masks(model)
    with Frozen(model) as frozen, Masked(frozen, edge_index, NODES) as masked:
        found = masked(weights, data.x)
    assert found.shape == (targets, 2)
    torch.testing.assert_close(found, wanted)
