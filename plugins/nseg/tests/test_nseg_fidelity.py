"""Fidelity: against worlds run one by one through torch_geometric, and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.explain import (
    Explainer,
    Explanation,
    GNNExplainer,
    HeteroExplanation,
    ModelConfig,
)
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.explain.metric import characterization_score, fidelity
from torch_geometric.nn import GATConv, GCNConv, GINEConv, MessagePassing, global_add_pool

from zoo_core.errors import InputError
from zoo_nseg.errors import IndexOutOfRangeError
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.fidelity import Fidelity, charact, empty_graph_rate, fidelity_pm

KINDS = ("edge", "feature", "joint")
FIELDS = tuple(Fidelity.__dataclass_fields__)


class Sums(MessagePassing):
    """Sums the weights of a node's incoming messages."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x)

    def message(self, x_j: Tensor) -> Tensor:
        return x_j


class Logic(nn.Module):
    """P(label 1 at node 0) is sigmoid(10 (w0 + w1 - bias)) for edges from nodes of feature 1."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.sums = Sums()
        self.bias = bias

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return 10 * (self.sums(x, edge_index) - self.bias)


class Nodes(nn.Module):
    """Two layers that make a mask matter in different ways, self-loops and attention among them."""

    def __init__(self, returns: str = "raw") -> None:
        super().__init__()
        self.first, self.second = GCNConv(3, 8), GATConv(8, 3)
        self.returns = returns

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        logits = 3 * self.second(self.first(x, edge_index).relu(), edge_index)
        if self.returns == "raw":
            return logits
        return logits.softmax(-1) if self.returns == "probs" else logits.log_softmax(-1)


class Graphs(nn.Module):
    """Takes edge features, and needs a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GINEConv(nn.Linear(3, 6), edge_dim=2)
        self.out = nn.Linear(6, 3)

    def forward(
        self, x: Tensor, edge_index: Tensor, batch: Tensor, edge_attr: Tensor | None = None
    ) -> Tensor:
        h = self.conv(x, edge_index, edge_attr)
        return self.out(global_add_pool(h.tanh(), batch))


def config(level: str = "node", mode: str = "multiclass_classification", returns: str = "raw"):
    return ModelConfig(mode, level, returns)


def graph(seed: int = 0, nodes: int = 12, edges: int = 40) -> Data:
    """Random edges, both loops and repeated ones among them."""
    generator = torch.Generator().manual_seed(seed)
    return Data(
        x=torch.randn(nodes, 3, generator=generator, dtype=torch.float64),
        edge_index=torch.randint(nodes, (2, edges), generator=generator),
        edge_attr=torch.randn(edges, 2, generator=generator, dtype=torch.float64),
    )


def explanation(
    data: Data,
    model: nn.Module,
    kind: str,
    index: Any = None,
    seed: int = 0,
    settings: ModelConfig | None = None,
    **arguments: Any,
) -> Explanation:
    """A random mask, in the form that an Explainer gives it."""
    generator = torch.Generator().manual_seed(seed + 100)
    masks = {}
    if kind != "feature":
        edges = data.edge_index.shape[1]
        masks["edge_mask"] = torch.rand(edges, generator=generator, dtype=torch.float64)
    if kind != "edge":
        masks["node_mask"] = torch.rand(len(data.x), 1, generator=generator, dtype=torch.float64)
        masks["x_cf"] = torch.randn(data.x.shape, generator=generator, dtype=torch.float64)
    found = Explanation(x=data.x, edge_index=data.edge_index, **masks)
    with torch.no_grad():
        output = model(data.x, data.edge_index, **arguments)
    if settings is not None and settings.mode.value == "binary_classification":
        found.target = (output.reshape(-1) > 0).long()
    else:
        found.target = output.argmax(-1)
    found.index = None if index is None else torch.as_tensor(index).reshape(-1)
    found._model_config = settings or config()
    found._model_args = list(arguments)
    for name, value in arguments.items():
        found[name] = value
    return found


def run(model: nn.Module, e: Explanation, edges: Tensor | None, nodes: Tensor | None) -> Tensor:
    """The output under weights and blended features, by torch_geometric's own masks."""
    x = e.x
    if nodes is not None:
        rows = [m * own + (1 - m) * other for m, own, other in zip(nodes, e.x, e.x_cf, strict=True)]
        x = torch.stack(rows)
    if edges is not None:
        set_masks(model, edges, e.edge_index, apply_sigmoid=False)
    with torch.no_grad():
        output = model(x, e.edge_index, **{name: e[name] for name in e._model_args})
    clear_masks(model)
    return output


def expected(
    model: nn.Module, explanations: list[Explanation], threshold: float | None
) -> dict[str, float]:
    """The definitions, instance by instance and row by row."""
    table = []
    for e in explanations:
        edges = e.edge_mask if "edge_mask" in e else None
        nodes = e.node_mask[:, 0] if "node_mask" in e else None
        if threshold is not None:
            edges = None if edges is None else (edges >= threshold).double()
            nodes = None if nodes is None else (nodes >= threshold).double()
        not_edges = None if edges is None else 1 - edges
        not_nodes = None if nodes is None else 1 - nodes
        if edges is None or nodes is None:
            absent = [(not_edges, not_nodes)]
        else:
            absent = [(not_edges, not_nodes), (not_edges, nodes), (edges, not_nodes)]
        nothing = [None if each is None else each * 0 for each in (edges, nodes)]
        rows = range(len(e.target)) if e.get("index") is None else e.index.tolist()

        def seen(masks: Any, e: Explanation = e, rows: Any = rows) -> tuple[float, float]:
            output = run(model, e, *masks)
            kept = [float(output[row].argmax() == e.target[row]) for row in rows]
            p = [float(output[row].softmax(-1)[e.target[row]]) for row in rows]
            return sum(kept) / len(kept), sum(p) / len(p)

        kept, p_suff = seen((edges, nodes))
        others = [seen(each) for each in absent]
        p_not = sum(p for _, p in others) / len(others)
        table.append(
            {
                "plus": 1 - others[0][0],
                "minus": 1 - kept,
                "p_suff": p_suff,
                "p_nec": 1 - p_not,
                "pns_lower": p_suff - p_not,
                "pns_upper": min(p_suff, 1 - p_not),
                "plus_cases": sum(1 - each for each, _ in others) / len(others),
                "empty": seen(nothing)[0],
            }
        )
    mean = {name: sum(row[name] for row in table) / len(table) for name in table[0]}
    plus, minus = mean["plus"], mean["minus"]
    mean["charact"] = 2 * plus * (1 - minus) / (plus + 1 - minus) if plus else 0.0
    return {**mean, "n": len(table)}


def agree(found: Fidelity, wanted: dict[str, float]) -> None:
    assert {name: getattr(found, name) for name in FIELDS} == pytest.approx(wanted, abs=1e-9)


@pytest.fixture
def nodes() -> Nodes:
    torch.manual_seed(0)
    return Nodes().double().eval()


@pytest.fixture
def graphs() -> Graphs:
    torch.manual_seed(0)
    return Graphs().double().eval()


def logic(bias: float, kept: set[int]) -> tuple[Logic, Explanation]:
    """Six edges into node 0, the first two from nodes of feature 1; a hard mask of some."""
    edge_index = torch.tensor([[1, 2, 3, 4, 5, 6], [0] * 6])
    x = torch.tensor([0.0, 1, 1, 0, 0, 0, 0]).double().unsqueeze(-1)
    mask = torch.tensor([0.9 if each in kept else 0.1 for each in range(6)]).double()
    found = Explanation(x=x, edge_index=edge_index, edge_mask=mask)
    found.target = torch.tensor([1] + [0] * 6)
    found.index = torch.tensor([0])
    found._model_config = config(mode="binary_classification")
    found._model_args = []
    return Logic(bias), found


@pytest.mark.parametrize(
    ("world", "kept", "plus", "minus"),
    [
        ("and", {0, 1}, 1, 0),
        ("and", {0}, 1, 1),
        ("and", set(), 0, 1),
        ("and", {2, 3}, 0, 1),
        ("or", {0, 1}, 1, 0),
        ("or", {0}, 0, 0),
        ("or", set(), 0, 1),
        ("or", {0, 1, 2, 3, 4, 5}, 1, 0),
    ],
)
def test_only_the_whole_cause_is_necessary_and_sufficient(
    world: str, kept: set[int], plus: int, minus: int
) -> None:
    model, found = logic({"and": 1.5, "or": 0.5}[world], kept)
    result = fidelity_pm(model, found)
    assert (result.plus, result.minus) == (plus, minus)
    assert result.charact == (1 if (plus, minus) == (1, 0) else result.charact)
    present = sum(each in kept for each in (0, 1))

    def p(weights: int) -> Tensor:
        return torch.sigmoid(torch.tensor(10.0 * (weights - model.bias)).double())

    assert result.p_suff == pytest.approx(float(p(present)))
    assert result.p_nec == pytest.approx(float(1 - p(2 - present)))
    assert result.pns_lower == pytest.approx(float(p(present) - p(2 - present)))
    assert result.empty == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threshold", [None, 0.5, 0.3, 0.8])
def test_nodes_against_worlds_run_one_by_one(
    nodes: Nodes, kind: str, threshold: float | None
) -> None:
    found = [
        explanation(data, nodes, kind, index, seed=3 * number + index)
        for number, data in enumerate([graph(0), graph(1)])
        for index in range(8)
    ]
    found = found[::2] + found[1::2]
    hard = threshold is not None
    result = fidelity_pm(nodes, found, hard=hard, threshold=threshold or 0.5)
    wanted = expected(nodes, found, threshold)
    agree(result, wanted)
    assert 0 < wanted["plus"] < 1, "the test would not tell cases apart"
    assert 0 < wanted["empty"] < 1, "the test would not tell cases apart"
    if kind == "joint":
        assert result.plus_cases != result.plus
    else:
        assert result.plus_cases == result.plus


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_with_arguments_against_worlds_run_one_by_one(graphs: Graphs, kind: str) -> None:
    found = []
    for seed in range(10):
        data = graph(seed)
        arguments = {"batch": torch.zeros(12, dtype=torch.long), "edge_attr": data.edge_attr}
        found.append(
            explanation(data, graphs, kind, seed=seed, settings=config("graph"), **arguments)
        )
    for threshold in (None, 0.5):
        wanted = expected(graphs, found, threshold)
        agree(fidelity_pm(graphs, found, hard=threshold is not None), wanted)
    assert 0 < wanted["plus"] < 1, "the test would not tell cases apart"


def test_kinds_mix_on_one_graph(nodes: Nodes) -> None:
    data = graph(3)
    found = [
        explanation(data, nodes, kind, index, seed=index)
        for index, kind in enumerate(3 * ["joint", "edge", "feature", "joint"])
    ]
    agree(fidelity_pm(nodes, found), expected(nodes, found, 0.5))
    assert empty_graph_rate(nodes, found) == expected(nodes, found, 0.5)["empty"]


def test_several_rows_of_one_mask_count_as_their_mean(nodes: Nodes) -> None:
    data = graph(4)
    found = [explanation(data, nodes, "edge", [0, 3, 4, 7]), explanation(data, nodes, "edge")]
    for threshold in (None, 0.5):
        wanted = expected(nodes, found, threshold)
        agree(fidelity_pm(nodes, found, hard=threshold is not None), wanted)
    assert 0 < wanted["plus"] < 1, "the test would not tell cases apart"


def test_a_graph_of_several_explained_in_a_batch(graphs: Graphs) -> None:
    one, other = graph(1), graph(2)
    both = Data(
        x=torch.cat([one.x, other.x]),
        edge_index=torch.cat([one.edge_index, other.edge_index + 12], 1),
    )
    arguments = {
        "batch": torch.arange(2).repeat_interleave(12),
        "edge_attr": torch.cat([one.edge_attr, other.edge_attr]),
    }
    found = explanation(both, graphs, "joint", 1, settings=config("graph"), **arguments)
    agree(fidelity_pm(graphs, found), expected(graphs, [found], 0.5))


def test_the_threshold_itself_is_kept(nodes: Nodes) -> None:
    found = explanation(graph(5), nodes, "edge", 2)
    found.edge_mask = torch.full_like(found.edge_mask, 0.5)
    assert fidelity_pm(nodes, found).minus == 0
    full = found.clone()
    full._model_config, full._model_args = found._model_config, []
    full.edge_mask = torch.ones_like(found.edge_mask)
    assert fidelity_pm(nodes, found) == fidelity_pm(nodes, full)
    assert fidelity_pm(nodes, found, threshold=0.5 + 1e-9).p_suff != fidelity_pm(nodes, full).p_suff


@pytest.mark.parametrize("kind", KINDS)
def test_the_complement_of_a_hard_mask_swaps_plus_and_minus(nodes: Nodes, kind: str) -> None:
    data = graph(1)
    found = [explanation(data, nodes, kind, index, seed=index) for index in range(12)]
    swapped = [explanation(data, nodes, kind, index, seed=index) for index in range(12)]
    for each in swapped:
        for name in ("edge_mask", "node_mask"):
            if name in each:
                each[name] = 1 - each[name]
    one, other = fidelity_pm(nodes, found), fidelity_pm(nodes, swapped)
    assert (one.plus, one.minus) == pytest.approx((other.minus, other.plus))
    assert one.plus != one.minus
    assert one.empty == other.empty == empty_graph_rate(nodes, found)
    if kind != "joint":
        assert one.pns_lower == pytest.approx(-other.pns_lower)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_numbers_are_those_of_the_explainer(
    nodes: Nodes, kind: str, temperature: float
) -> None:
    explainer = NSEGExplainer(epochs=20, lr=0.1, noise=0.0, temperature=temperature)
    found = explainer.explain_nodes(nodes, graph(7), [0, 1, 5, 6], kind=kind, progress=False)
    result = fidelity_pm(nodes, found, hard=False, temperature=temperature)
    for name in ("p_suff", "p_nec", "pns_upper"):
        assert getattr(result, name) == pytest.approx(
            sum(float(each[name]) for each in found) / 4, abs=1e-6
        ), name
    assert result.pns_lower == pytest.approx(
        sum(float(each.p_suff + each.p_nec - 1) for each in found) / 4, abs=1e-6
    )
    hard = fidelity_pm(nodes, found)
    assert hard.p_suff != pytest.approx(result.p_suff, abs=1e-4)
    agree(fidelity_pm(nodes, found), expected(nodes, _doubled(found), 0.5))


def _doubled(found: list[Explanation]) -> list[Explanation]:
    for each in found:
        for name in ("edge_mask", "node_mask"):
            if name in each:
                each[name] = each[name].double()
    return found


def test_explained_graphs_of_a_model_that_needs_a_batch(graphs: Graphs) -> None:
    data = [graph(seed) for seed in range(4)]
    explainer = NSEGExplainer(epochs=5, lr=0.1, noise=0.0)
    found = explainer.explain_graphs(graphs, data, arguments=["edge_attr"], progress=False)
    result = fidelity_pm(graphs, found, hard=False)
    assert result.p_suff == pytest.approx(sum(float(each.p_suff) for each in found) / 4, abs=1e-6)


def test_gnn_explainer_has_the_fidelity_of_torch_geometric(nodes: Nodes) -> None:
    torch.manual_seed(0)
    explainer = Explainer(
        nodes,
        GNNExplainer(epochs=30, lr=0.1),
        explanation_type="model",
        edge_mask_type="object",
        model_config=config(),
    )
    data = graph(8)
    found, theirs = [], []
    for index in range(12):
        each = explainer(data.x, data.edge_index, index=index)
        found.append(each)
        theirs.append(fidelity(explainer, each.threshold("hard", 0.5)))
    result = fidelity_pm(nodes, found)
    plus, minus = (sum(each) / 12 for each in zip(*theirs, strict=True))
    assert (result.plus, result.minus) == pytest.approx((plus, minus))
    assert result.n == 12
    assert 0 < plus < 1


def test_a_node_mask_of_another_algorithm_needs_counterfactual_features(nodes: Nodes) -> None:
    torch.manual_seed(0)
    data = graph(9)

    def explained(node_mask_type: str) -> Explanation:
        explainer = Explainer(
            nodes,
            GNNExplainer(epochs=2),
            explanation_type="model",
            node_mask_type=node_mask_type,
            edge_mask_type="object",
            model_config=config(),
        )
        return explainer(data.x, data.edge_index, index=2)

    found = explained("object")
    with pytest.raises(InputError, match="no x_cf"):
        fidelity_pm(nodes, found)
    found.x_cf = data.x.flip(0)
    agree(fidelity_pm(nodes, found), expected(nodes, [found], 0.5))
    found.x_cf = data.x[:5]
    with pytest.raises(InputError, match=r"x_cf of the explanation is \[5, 3\]"):
        fidelity_pm(nodes, found)
    found.x_cf = torch.full_like(data.x, torch.nan)
    with pytest.raises(InputError, match="finite"):
        fidelity_pm(nodes, found)
    for shape in ("attributes", "common_attributes"):
        with pytest.raises(InputError, match=r"node_mask is \[\d+, 3\]; expected \[12, 1\]"):
            fidelity_pm(nodes, explained(shape))


@pytest.mark.parametrize("returns", ["probs", "log_probs"])
def test_whatever_the_model_returns(nodes: Nodes, returns: str) -> None:
    other = Nodes(returns).double().eval()
    other.load_state_dict(nodes.state_dict())
    data = graph(10)
    raw = [explanation(data, nodes, "joint", index, seed=index) for index in range(6)]
    same = [
        explanation(data, other, "joint", index, seed=index, settings=config(returns=returns))
        for index in range(6)
    ]
    one, two = fidelity_pm(nodes, raw, temperature=2), fidelity_pm(other, same, temperature=2)
    agree(one, {name: getattr(two, name) for name in FIELDS})


def test_a_constant_model_loses_no_label(nodes: Nodes) -> None:
    with torch.no_grad():
        for parameter in nodes.parameters():
            parameter.zero_()
        nodes.second.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    found = [explanation(graph(11), nodes, "joint", index, seed=index) for index in range(5)]
    result = fidelity_pm(nodes, found)
    assert (result.plus, result.minus, result.charact, result.plus_cases) == (0, 0, 0, 0)
    assert result.pns_lower == pytest.approx(0)
    assert result.empty == empty_graph_rate(nodes, found) == 1


def test_labels_that_were_given_count_and_not_those_predicted(nodes: Nodes) -> None:
    found = explanation(graph(12), nodes, "edge", 3)
    found.edge_mask = torch.ones_like(found.edge_mask)
    assert fidelity_pm(nodes, found).minus == 0
    found.target = (found.target + 1) % 3
    assert fidelity_pm(nodes, found).minus == 1
    assert fidelity_pm(nodes, found).p_suff < 0.5


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(nodes: Nodes, fails: bool) -> None:
    nodes.train()
    nodes.second.eval()
    nodes.first.bias.requires_grad_(False)
    kept = torch.rand(40, requires_grad=True)
    set_masks(nodes, kept, graph(13).edge_index, apply_sigmoid=False)
    before = {
        "training": [each.training for each in nodes.modules()],
        "gradients": [each.requires_grad for each in nodes.parameters()],
        "masks": [each._edge_mask for each in (nodes.first, nodes.second)],
        "state": list(nodes.state_dict()),
    }
    found = [explanation(graph(13), nodes, "joint", index) for index in range(2)]
    if fails:
        calls: list[int] = []

        def fail(*_: Any) -> None:
            calls.append(1)
            if len(calls) == 5:
                raise RuntimeError("in the middle")

        handle = nodes.first.register_forward_hook(fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            fidelity_pm(nodes, found)
        handle.remove()
    else:
        fidelity_pm(nodes, found)
    assert before == {
        "training": [each.training for each in nodes.modules()],
        "gradients": [each.requires_grad for each in nodes.parameters()],
        "masks": [each._edge_mask for each in (nodes.first, nodes.second)],
        "state": list(nodes.state_dict()),
    }
    assert torch.is_grad_enabled()
    assert not nodes.first._propagate_forward_pre_hooks


def test_in_inference_mode(nodes: Nodes) -> None:
    found = [explanation(graph(14), nodes, kind, 4) for kind in KINDS]
    wanted = fidelity_pm(nodes, found)
    with torch.inference_mode():
        assert fidelity_pm(nodes, found) == wanted


@pytest.mark.parametrize(
    ("plus", "minus", "score"),
    [(1.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.0), (0.5, 0.5, 0.5)],
)
def test_charact_at_its_corners(plus: float, minus: float, score: float) -> None:
    assert charact(plus, minus) == score
    assert isinstance(charact(plus, minus), float)


def test_charact_of_tensors_is_that_of_torch_geometric() -> None:
    plus, minus = torch.rand(2, 50, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(charact(plus, minus), characterization_score(plus, minus))
    plus[0] = 0
    minus[0] = 1
    assert charact(plus, minus)[0] == 0
    assert charact(plus, 0.25)[7] == pytest.approx(charact(float(plus[7]), 0.25))


def test_charact_is_that_of_the_averages() -> None:
    model, whole = logic(1.5, {0, 1})
    _, half = logic(1.5, {0})
    result = fidelity_pm(model, [whole, half])
    assert (result.plus, result.minus) == (1, 0.5)
    assert result.charact == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [-0.1, 1.1, torch.nan, "1", True, torch.tensor([0.5, 2.0])])
def test_charact_refuses_what_is_no_average(value: Any) -> None:
    with pytest.raises(InputError, match="fid_plus"):
        charact(value, 0.5)
    with pytest.raises(InputError, match="fid_minus"):
        charact(0.5, value)


def _without(name: str):
    def change(found: Explanation) -> None:
        del found[name]

    return change


def _with(name: str, value: Any):
    def change(found: Explanation) -> None:
        setattr(found, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_without("edge_mask"), InputError, "neither an edge_mask nor a node_mask"),
        (_without("x"), InputError, "no tensors x and edge_index"),
        (_without("edge_index"), InputError, "no tensors x and edge_index"),
        (_without("target"), InputError, "does not say"),
        (_with("_model_config", None), InputError, "does not say"),
        (_with("_model_config", config(mode="regression")), InputError, "regression"),
        (_with("edge_mask", torch.ones(39)), InputError, r"edge_mask is \[39\]; expected \[40\]"),
        (_with("edge_mask", torch.full((40,), torch.nan)), InputError, "NaN"),
        (_with("index", torch.tensor([12])), IndexOutOfRangeError, "index of the explanation"),
        (_with("target", torch.zeros(5).long()), InputError, "target has 5 labels"),
        (_with("target", torch.full((12,), 3)), InputError, "label 3"),
        (_with("target", torch.full((12,), 0.5)), InputError, "0.5"),
        (_with("x", torch.full((12, 3), torch.inf)), InputError, "NaN or infinite"),
        (_with("edge_index", torch.full((2, 40), 12)), IndexOutOfRangeError, "node 12"),
        (_with("edge_index", torch.zeros(2, 40)), InputError, "int64"),
    ],
)
def test_bad_explanations(nodes: Nodes, change: Any, error: type[Exception], message: str) -> None:
    found = explanation(graph(15), nodes, "edge", None if "labels" in message else 1)
    change(found)
    for function in (fidelity_pm, empty_graph_rate):
        with pytest.raises(error, match=message):
            function(nodes, found)


def test_bad_arguments(nodes: Nodes) -> None:
    found = explanation(graph(16), nodes, "edge", 1)
    for given in ([], 3, None, [found, 3], HeteroExplanation(), Data(x=found.x)):
        with pytest.raises(InputError, match="explanation"):
            fidelity_pm(nodes, given)
    for threshold in (torch.nan, "0.5", None, True):
        with pytest.raises(InputError, match="threshold"):
            fidelity_pm(nodes, found, threshold=threshold)
    for temperature in (0, -1, torch.inf, "1"):
        with pytest.raises(InputError, match="temperature"):
            fidelity_pm(nodes, found, temperature=temperature)
    with pytest.raises(InputError, match="no torch_geometric MessagePassing layer"):
        fidelity_pm(nn.Linear(3, 3), found)
    with pytest.raises(InputError, match="on meta and explanations"):
        fidelity_pm(Nodes().double().to("meta"), [found])
    found._model_config = config(returns="probs")
    with pytest.raises(InputError, match="probs, but values lie outside"):
        fidelity_pm(nodes, found)


def test_soft_masks_must_be_masks(nodes: Nodes) -> None:
    found = explanation(graph(17), nodes, "edge", 1)
    found.edge_mask = found.edge_mask - 0.5
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        fidelity_pm(nodes, found, hard=False)
    agree(fidelity_pm(nodes, found, threshold=0.1), expected(nodes, [found], 0.1))


def test_a_model_that_breaks_under_a_mask_is_named(nodes: Nodes) -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sums = Sums()

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            degree = self.sums(torch.ones_like(x), edge_index)
            return self.sums(x, edge_index) / degree

    model = Breaks()
    ring = torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6])
    found = explanation(Data(x=graph(18).x[:6], edge_index=ring), model, "edge", 1)
    with pytest.raises(InputError, match=r"under the mask of explanations\[0\] is not finite"):
        fidelity_pm(model, [found])
