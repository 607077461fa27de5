"""The ways in which an implementation of NSEG goes wrong quietly, one test or more for each."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.explain.config import ModelConfig
from torch_geometric.nn import GCNConv, GINConv, MessagePassing, global_add_pool

from zoo_core.errors import InputError, ZooWarning
from zoo_nseg.counterfactual import NearestNeighborMatcher
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.outcome import Outcome

# A path 0 - 1 - 2 - 3 - 4 both ways, a parallel edge and an edge far away.
EDGES = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 4, 0, 5], [1, 2, 3, 4, 0, 1, 2, 3, 1, 6]])
N, E, F = 7, 10, 3
BARE = {"alpha_e": 0.0, "beta_e": 0.0, "alpha_f": 0.0, "beta_f": 0.0}


def features(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, F, generator=generator, dtype=torch.float64)


@pytest.fixture
def data():
    return Data(x=features(), edge_index=EDGES)


class Net(nn.Module):
    """Graph convolutions without self-loops, as the explained networks of the paper."""

    def __init__(self, layers: int = 2, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(
            [GCNConv(F, F, add_self_loops=False) for _ in range(layers)]
        ).double()
        self.scale = scale

    def forward(self, x, edge_index):
        for layer in self.layers:
            x = layer(x.tanh(), edge_index)
        return self.scale * x


class Sum(MessagePassing):
    """Adds up the neighbours' features; remembers the weights and features of every call."""

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x, edge_index):
        return self.propagate(edge_index, x=x)

    def message(self, x_j):
        return x_j

    def explain_message(self, inputs, dim_size):
        self.weights = self._edge_mask.detach().clone()
        return super().explain_message(inputs, dim_size)


class Recorder(nn.Module):
    """A classifier of one graph whose inputs of each pass can be read afterwards."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.sum, self.head = Sum(), nn.Linear(F, 3).double()
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x, edge_index):
        out = self.head(self.sum(x, edge_index).sum(0, keepdim=True))
        if self.sum.explain:
            self.seen.append((self.sum.weights, x.detach().clone()))
        return out


def recorded(kind: str, **changes):
    """An explanation of a graph on its own; the model runs one world a pass."""
    model = Recorder()
    x_cf = features(5) + 3
    given = {} if kind == "edge" else {"x_cf": [x_cf]}
    settings = {"epochs": 1, **BARE, **changes}
    graph = Data(x=features(), edge_index=EDGES)
    with pytest.warns(ZooWarning, match="one at a time"):
        [found] = NSEGExplainer(**settings).explain_graphs(model, graph, kind=kind, **given)
    worlds = 1 + sum(settings.get("n_samples", (2, 2, 2))) if kind == "joint" else 3
    first, *seen = model.seen
    assert bool((first[0] == 1).all())  # is the model's own output what it gives unmasked?
    return found, seen[:worlds], x_cf


def kept(x: torch.Tensor, x_cf: torch.Tensor) -> torch.Tensor:
    """How much of its own features each node has: one number for all columns."""
    shares = (x - x_cf) / (features() - x_cf)
    torch.testing.assert_close(shares, shares[:, :1].expand(-1, F))
    return shares[:, 0]


def entropy(m: torch.Tensor) -> torch.Tensor:
    return -m * torch.log(m) - (1 - m) * torch.log(1 - m)


def test_trap_01_sum_and_mean_of_the_regulariser_run_over_the_whole_graph(data):
    settings = {"epochs": 1, "alpha_e": 0.3, "beta_e": 0.7, "noise": 0.0}
    losses, priced = {}, {}
    for scope in ("graph", "computation"):
        explainer = NSEGExplainer(**settings, regulariser_scope=scope)
        [found] = explainer.explain_nodes(Net(), data, 0)
        [free] = NSEGExplainer(**{**settings, **BARE}).explain_nodes(Net(), data, 0)
        mask = found.edge_mask[found.influencing_edge_mask]
        assert 0 < len(mask) < E
        entries = E if scope == "graph" else len(mask)
        losses[scope] = found.loss_history[0] - free.loss_history[0]
        priced[scope] = 0.3 * mask.sum() + 0.7 * entropy(mask).sum() / entries
        torch.testing.assert_close(losses[scope], priced[scope], rtol=1e-6, atol=0)
    assert abs(losses["graph"] - losses["computation"]) > 0.1
    masks = [
        NSEGExplainer(epochs=15, alpha_e=0.001, regulariser_scope=scope, lr=0.1)
        .explain_nodes(Net(), data, 0)[0]
        .edge_mask
        for scope in ("graph", "computation")
    ]
    assert float((masks[0] - masks[1]).abs().max()) > 1e-3


def test_trap_02_degrees_are_those_of_the_unmasked_graph(data):
    model = Net()
    [found] = NSEGExplainer(epochs=5).explain_nodes(model, data, 2)
    degree = torch.bincount(EDGES[1], minlength=N).double()
    scale = torch.where(degree > 0, degree.clamp_min(1).rsqrt(), 0)
    x = data.x
    for layer in model.layers:
        adjacency = torch.zeros(N, N, dtype=torch.float64)
        factors = found.edge_mask * scale[EDGES[0]] * scale[EDGES[1]]
        adjacency.index_put_((EDGES[1], EDGES[0]), factors, accumulate=True)
        x = adjacency @ (x.tanh() @ layer.lin.weight.T) + layer.bias
    expected = x.softmax(-1)[2, found.label[0]]
    torch.testing.assert_close(found.p_suff, expected)
    x = data.x
    for layer in model.layers:
        x = layer(x.tanh(), EDGES, found.edge_mask)
    assert abs(x.softmax(-1)[2, found.label[0]] - expected) > 1e-4


def test_trap_02_self_loops_are_not_added_to_a_network_that_has_none(data):
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = GCNConv(F, 3, add_self_loops=False, bias=False).double()

        def forward(self, x, edge_index):
            return self.layer(x, edge_index)

    lonely = Data(x=features(), edge_index=torch.tensor([[0], [1]]))
    [found] = NSEGExplainer(epochs=2).explain_nodes(Bare(), lonely, 0)
    torch.testing.assert_close(found.p_full, torch.tensor(1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["feature", "joint"])
def test_trap_03_complement_features_are_counterfactual_ones_never_zeros(kind):
    found, seen, x_cf = recorded(kind, noise=0.0)
    mask = found.node_mask[:, 0]
    mixes = [mask[:, None] * features() + (1 - mask)[:, None] * x_cf]
    mixes.append((1 - mask)[:, None] * features() + mask[:, None] * x_cf)
    for _, x in seen:
        assert any(torch.allclose(x, each) for each in mixes)
    assert any(torch.allclose(x, mixes[1]) for _, x in seen)
    torch.testing.assert_close(found.x_cf, x_cf)


def test_trap_04_one_entry_a_node_and_one_a_direction(data):
    explainer = NSEGExplainer(epochs=20, lr=0.1, **BARE)
    [found] = explainer.explain_nodes(Net(), data, 2, kind="joint")
    assert found.edge_mask.shape == (E,)
    assert found.node_mask.shape == (N, 1)
    there, back = found.edge_mask[[1, 5]]
    parallel, other = found.edge_mask[[0, 8]]
    assert there != back
    assert parallel != other
    tied = NSEGExplainer(epochs=20, lr=0.1, symmetric=True, **BARE)
    [found] = tied.explain_nodes(Net(), data, 2)
    assert found.edge_mask[1] == found.edge_mask[5] > 0


@pytest.mark.parametrize("eps", [0.025, 0.2])
def test_trap_05_samples_surround_the_complement(eps):
    found, seen, _ = recorded("edge", noise=eps)
    (present, _), *samples = seen
    assert torch.equal(present, found.edge_mask)
    assert len(samples) == 2
    shifts = [weights - (1 - found.edge_mask) for weights, _ in samples]
    for shift in shifts:
        assert float(shift.abs().max()) <= eps + 1e-9
        assert float(shift.abs().max()) > 0.5 * eps
        assert len(shift.unique()) == E
        assert float(shift.min()) < 0 < float(shift.max())
    assert not torch.equal(*shifts)


def test_trap_05_samples_are_not_clipped():
    model = Recorder()
    with pytest.warns(ZooWarning, match="one at a time"):
        NSEGExplainer(epochs=40, lr=5.0, beta_e=0.0, alpha_e=9.0).explain_graphs(
            model, Data(x=features(), edge_index=EDGES)
        )
    highest = max(float(weights.max()) for weights, _ in model.seen)
    assert 1 < highest <= 1.025


def test_trap_06_joint_explanations_sample_all_three_cases():
    found, seen, x_cf = recorded("joint", n_samples=(1, 3, 2))
    edges, nodes = found.edge_mask, found.node_mask[:, 0]

    def part(given: torch.Tensor, mask: torch.Tensor) -> str:
        if torch.allclose(given, mask, rtol=0, atol=1e-12):
            return "set"
        assert float((given - (1 - mask)).abs().max()) <= 0.025 + 1e-9
        return "complement"

    cases = [(part(weights, edges), part(kept(x, x_cf), nodes)) for weights, x in seen]
    assert cases == [
        ("set", "set"),
        ("complement", "complement"),
        *[("complement", "set")] * 3,
        *[("set", "complement")] * 2,
    ]
    probabilities = [
        Recorder().head(torch.zeros(1, N).double() @ x + (w[:, None] * x[EDGES[0]]).sum(0))
        for w, x in seen
    ]
    p = torch.stack([each.softmax(-1)[0, found.label[0]] for each in probabilities])
    torch.testing.assert_close(found.loss_history[0], -(p[0] - p[1:].mean()))
    # The noise of one case is not that of another.
    shifts = [weights - (1 - edges) for weights, _ in seen[1:5]]
    assert len({float(shift[0]) for shift in shifts}) == 4


def test_trap_07_the_objective_is_of_probabilities_of_the_predicted_label(data):
    model = Net(scale=3.0)
    predicted = model(data.x, EDGES).argmax(-1)
    data.y = (predicted + 1) % 3
    settings = {"epochs": 1, "noise": 0.0, **BARE}
    [found] = NSEGExplainer(**settings).explain_nodes(model, data, 2)
    assert found.label.tolist() == [int(predicted[2])]
    suff, absent = found.p_suff, 1 - found.p_nec
    torch.testing.assert_close(found.loss_history[0], -(suff - absent))
    assert abs(-(suff - absent) + (suff.log() - absent.log())) > 1e-3
    [given] = NSEGExplainer(**settings).explain_nodes(model, data, 2, target=data.y)
    assert given.label.tolist() == [int(data.y[2])]
    assert given.loss_history[0] != found.loss_history[0]


def test_trap_08_the_hard_mask_holds_entries_of_one_half(data):
    explainer = NSEGExplainer(epochs=1)
    explainer.connect(
        {
            "explanation_type": "model",
            "edge_mask_type": "object",
            "node_mask_type": "object",
        },
        ModelConfig("multiclass_classification", "node", "raw"),
    )
    logits = torch.tensor([0.0, -1e-9, 1e-9, 2, -2, 0, 0, 0, -1, 1], dtype=torch.float64)
    found = explainer(
        Net(3),
        data.x,
        EDGES,
        target=torch.zeros(N, dtype=torch.long),
        x_cf=data.x + 1,
        edge_logits=logits,
        node_logits=logits[:N],
    )
    assert found.edge_mask[0] == 0.5
    assert found.hard_edge_mask.tolist() == (logits >= 0).tolist()
    assert found.hard_node_mask.dtype == torch.bool
    assert found.hard_node_mask.tolist() == (logits[:N] >= 0).tolist()


def test_trap_09_an_empty_graph_keeps_the_label_of_biases_and_features():
    """Of a class that the network gives to nodes alone, nothing is necessary."""

    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.bias = GINConv(nn.Linear(F, 3)).double(), 50 * torch.eye(3)[1]

        def forward(self, x, edge_index, batch):
            return global_add_pool(self.layer(x, edge_index) + self.bias, batch)

    graph = Data(x=features(), edge_index=EDGES)
    with pytest.warns(ZooWarning, match="certain of 1 of 1"):
        [found] = NSEGExplainer(epochs=5).explain_graphs(Biased(), graph)
    assert found.label.tolist() == [1]
    assert float(found.p_suff) == pytest.approx(1)
    assert float(found.p_nec) == pytest.approx(0)
    assert float(found.pns_upper) == pytest.approx(0)


def test_trap_10_saturation_is_reported_and_a_temperature_brings_gradients_back(data):
    model = Net(scale=2000.0)
    settings = {"epochs": 20, "lr": 0.1, "noise": 0.0, **BARE}
    with pytest.warns(ZooWarning, match="a temperature above 1"):
        [stuck] = NSEGExplainer(**settings).explain_nodes(model, data, 2)
    [found] = NSEGExplainer(**settings, temperature=2000.0).explain_nodes(model, data, 2)
    [plain] = NSEGExplainer(**settings).explain_nodes(Net(), data, 2)
    torch.testing.assert_close(found.edge_mask, plain.edge_mask)
    assert float(stuck.p_full) > 1 - 1e-6 > float(found.p_full)
    assert found.temperature == 2000.0


def test_trap_11_nothing_is_left_in_the_model(data):
    model = Net().train()
    model.layers[0].bias.requires_grad_(False)
    keys = list(model.state_dict())
    NSEGExplainer(epochs=2).explain_nodes(model, data, [0, 1], kind="joint")
    assert list(model.state_dict()) == keys
    assert all(module.training for module in model.modules())
    assert [each.requires_grad for each in model.parameters()] == [False, True, True, True]
    assert all(layer.explain is None for layer in model.layers)
    assert all(layer._edge_mask is None for layer in model.layers)


def test_trap_12_models_that_fail_under_masks_say_why(data):
    cached, off = Net(), Net()
    cached.layers[0].cached = True
    off.layers[1].explain = False
    for model, match in (
        (cached, "cached=True"),
        (off, "explain=False"),
        (nn.Linear(F, 3).double(), "MessagePassing"),
    ):
        with pytest.raises(InputError, match=match):
            NSEGExplainer(epochs=2).explain_nodes(model, data, 0)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_trap_13_the_neighbourhood_is_as_deep_as_the_network(data, layers):
    [found] = NSEGExplainer(epochs=1).explain_nodes(Net(layers), data, 0)
    inside = set(range(layers + 1))
    expected = [
        place for place, (one, other) in enumerate(EDGES.T.tolist()) if {one, other} <= inside
    ]
    assert isinstance(found.khop_edge_ids, torch.Tensor)
    assert found.khop_edge_ids.tolist() == expected


def test_trap_13_nothing_is_printed(data, capsys):
    NSEGExplainer(epochs=2).explain_nodes(Net(), data, [0, 2])
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_trap_14_a_seed_decides_and_company_does_not(data):
    explainer = NSEGExplainer(epochs=6, lr=0.1, noise=0.5, seed=3)
    first = explainer.explain_nodes(Net(), data, [0, 2, 3], kind="joint")
    torch.manual_seed(1)
    again = explainer.explain_nodes(Net(), data, [0, 2, 3], kind="joint")
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.edge_mask, other.edge_mask)
        assert torch.equal(one.loss_history, other.loss_history)
    [alone] = explainer.explain_nodes(Net(), data, 2, kind="joint")
    torch.testing.assert_close(alone.edge_mask, first[1].edge_mask)
    [other] = NSEGExplainer(epochs=6, lr=0.1, noise=0.5, seed=4).explain_nodes(
        Net(), data, 2, kind="joint"
    )
    assert not torch.allclose(other.edge_mask, alone.edge_mask)


class Binary(Net):
    """One logit, of the label 1."""

    def forward(self, x, edge_index):
        out = super().forward(x, edge_index)
        return out[:, :1] - out[:, 1:2]


class TwoClasses(Net):
    def forward(self, x, edge_index):
        return super().forward(x, edge_index)[:, :2].flip(1)


@pytest.mark.parametrize("node", [0, 1, 2, 3])
def test_trap_15_one_logit_is_as_two_classes(data, node):
    binary = {"mode": "binary_classification"}
    [one] = NSEGExplainer(epochs=8, lr=0.1).explain_nodes(Binary(), data, node, **binary)
    [two] = NSEGExplainer(epochs=8, lr=0.1).explain_nodes(TwoClasses(), data, node)
    assert torch.equal(one.label, two.label)
    torch.testing.assert_close(one.p_full, two.p_full)
    torch.testing.assert_close(one.edge_mask, two.edge_mask)


def test_trap_15_both_labels_of_one_logit_occur(data):
    labels = Outcome(ModelConfig("binary_classification", "node", "raw")).labels(
        Binary()(data.x, EDGES)
    )
    assert set(labels[:4].tolist()) == {0, 1}


@pytest.mark.parametrize("kind", ["probs", "log_probs"])
def test_trap_15_probabilities_and_their_logarithms_are_as_logits(data, kind):
    class Ends(Net):
        def forward(self, x, edge_index):
            out = super().forward(x, edge_index)
            return out.softmax(-1) if kind == "probs" else out.log_softmax(-1)

    [expected] = NSEGExplainer(epochs=8, lr=0.1).explain_nodes(Net(), data, 2)
    [found] = NSEGExplainer(epochs=8, lr=0.1).explain_nodes(Ends(), data, 2, return_type=kind)
    torch.testing.assert_close(found.edge_mask, expected.edge_mask)
    torch.testing.assert_close(found.p_full, expected.p_full)


def test_trap_15_losses_of_half_precision_are_in_float32(data):
    half = Data(x=data.x.half(), edge_index=EDGES)
    [found] = NSEGExplainer(epochs=3).explain_nodes(Net().half(), half, 2, kind="joint")
    kinds = {found[name].dtype for name in ("edge_mask", "node_mask", "loss_history", "p_suff")}
    assert kinds == {torch.float32}


def test_trap_15_an_isolated_node_has_an_empty_mask_and_no_pns():
    lonely = Data(x=features(), edge_index=EDGES[:, :9])
    [found] = NSEGExplainer(epochs=3).explain_nodes(Net(), lonely, 6)
    assert found.edge_mask.tolist() == [0.0] * 9
    assert float(found.pns_lower) == pytest.approx(0, abs=1e-12)


def test_trap_16_ties_do_not_depend_on_the_order_of_nodes():
    x = torch.eye(4, dtype=torch.float64)[[0, 1, 1, 2, 2, 2, 3]]
    expected = NearestNeighborMatcher().fit(x).transform(x)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(2))
    found = NearestNeighborMatcher().fit(x[order]).transform(x[order])
    assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected)[order])


def test_trap_17_pn_is_necessity_and_ps_sufficiency(data):
    losses = {}
    for name in ("pns", "ps", "pn"):
        explainer = NSEGExplainer(epochs=1, objective=name, noise=0.0, **BARE)
        [found] = explainer.explain_nodes(Net(scale=3.0), data, 2)
        losses[name] = float(found.loss_history[0])
    suff, nec = float(found.p_suff), float(found.p_nec)
    assert math.isclose(losses["ps"], -suff, rel_tol=1e-9)
    assert math.isclose(losses["pn"], -nec, rel_tol=1e-9)
    assert math.isclose(losses["pns"], -(suff + nec - 1), rel_tol=1e-9)
    assert abs(suff - nec) > 1e-3


class NeedsEdges(Net):
    def forward(self, x, edge_index):
        if not edge_index.shape[1]:
            raise RuntimeError("no edges")
        return super().forward(x, edge_index) * 0 + torch.tensor([1.0, 0, 0], dtype=x.dtype)


def test_trap_12_a_constant_model_that_cannot_do_without_edges_is_no_failure(data):
    [found] = NSEGExplainer(epochs=3).explain_nodes(NeedsEdges(3), data, [0])
    assert float(found.pns_lower) == 0
