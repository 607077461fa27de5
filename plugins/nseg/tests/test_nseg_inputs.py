"""Bad input: one clear error before any step of the search, and the model as it was."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.explain import Explainer
from torch_geometric.nn import GCNConv, GINConv, Sequential, SGConv, global_add_pool

from zoo_core.errors import InputError, ZooError, ZooWarning
from zoo_nseg.explainer import NSEGExplainer

EDGES = torch.tensor([[0, 1, 2, 3, 4, 1, 2, 0], [1, 2, 3, 4, 0, 0, 1, 0]])
NODES = 6  # the last one is isolated


def features(dtype=torch.float32) -> torch.Tensor:
    return torch.randn(NODES, 3, generator=torch.Generator().manual_seed(0)).to(dtype)


def data(**changes) -> Data:
    return Data(**{"x": features(), "edge_index": EDGES, "w": torch.ones(8), **changes})


class Net(nn.Module):
    def __init__(self, classes: int = 3, **arguments) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = GCNConv(3, 4, **arguments)
        self.two = GCNConv(4, classes, **arguments)

    def forward(self, x, edge_index, edge_weight=None):
        return self.two(self.one(x, edge_index, edge_weight).tanh(), edge_index, edge_weight)


class GraphNet(Net):
    def forward(self, x, edge_index, batch=None):
        return global_add_pool(super().forward(x, edge_index), batch)


@pytest.fixture
def no_step(monkeypatch):
    """Fails a test that makes a step of the optimisation."""

    def step(*_args, **_kwargs):
        raise AssertionError("a step was made")

    monkeypatch.setattr(torch.optim.Adam, "step", step)


def nodes_of(given, nodes=0, model=None, settings=None, **rest):
    explainer = NSEGExplainer(epochs=3, **(settings or {}))
    return explainer.explain_nodes(Net() if model is None else model, given, nodes, **rest)


def graphs_of(given, model=None, settings=None, **rest):
    explainer = NSEGExplainer(epochs=3, **(settings or {}))
    return explainer.explain_graphs(GraphNet() if model is None else model, given, **rest)


def refused(call, match: str, error=InputError) -> None:
    with pytest.raises(error, match=match) as caught:
        call()
    assert isinstance(caught.value, ZooError)
    assert "\n" not in str(caught.value)


def spoilt(value: float) -> torch.Tensor:
    x = features()
    x[2, 1] = value
    return x


BAD_DATA = {
    "nan": (lambda: data(x=spoilt(math.nan)), "NaN or infinite"),
    "inf": (lambda: data(x=spoilt(-math.inf)), "NaN or infinite"),
    "no-nodes": (
        lambda: data(x=torch.empty(0, 3), edge_index=EDGES[:, :0]),
        "no nodes",
    ),
    "no-edges": (lambda: data(edge_index=EDGES[:, :0]), "no edges"),
    "no-x": (lambda: Data(edge_index=EDGES), "x of .* is None"),
    "numpy-x": (lambda: data(x=features().numpy()), "expected a tensor"),
    "scalar-x": (lambda: data(x=torch.tensor(1.0)), "expected a tensor"),
    "no-edge-index": (lambda: Data(x=features()), "NoneType"),
    "int32-edges": (lambda: data(edge_index=EDGES.int()), r"int32; expected \[2, E\] int64"),
    "float-edges": (lambda: data(edge_index=EDGES.float()), r"expected \[2, E\] int64"),
    "three-rows": (lambda: data(edge_index=EDGES.repeat(2, 1)[:3]), r"\[3, 8\]"),
    "flat-edges": (lambda: data(edge_index=EDGES[0]), r"\[8\]"),
    "coo-edges": (
        lambda: data(
            edge_index=torch.sparse_coo_tensor(
                EDGES, torch.ones(8), (NODES, NODES), check_invariants=True
            )
        ),
        "dense tensor",
    ),
    "meta": (lambda: data(x=features().to("meta"), edge_index=EDGES.to("meta")), "meta"),
    "meta-x": (lambda: data(x=features().to("meta")), "meta"),
    "meta-edges": (lambda: data(edge_index=EDGES.to("meta")), "x of .* cpu .*on meta"),
}


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize("case", BAD_DATA)
def test_a_graph_that_cannot_be_explained_is_refused(case):
    make, match = BAD_DATA[case]
    model = Net().train()
    refused(lambda: nodes_of(make(), model=model), match)
    refused(lambda: graphs_of([data(), make()], model=GraphNet()), match)
    assert model.training
    assert all(each.requires_grad for each in model.parameters())


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize("wrong", [-1, NODES])
def test_an_edge_of_a_node_that_is_not_there_is_refused(wrong):
    edges = EDGES.clone()
    edges[1, 3] = wrong
    refused(lambda: nodes_of(data(edge_index=edges)), f"names node {wrong}; .* 0 to 5", IndexError)


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize("kind", ["feature", "joint"])
@pytest.mark.parametrize(
    "x", [features().long(), features()[:, 0], features()[:, :, None], torch.empty(NODES, 0)]
)
def test_features_that_cannot_be_masked_are_refused(kind, x):
    refused(lambda: nodes_of(data(x=x), kind=kind), "must be floating-point")


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize(
    ("nodes", "match", "error"),
    [
        ([], "nodes is empty", InputError),
        (torch.zeros(NODES, dtype=torch.bool), "nodes is empty", InputError),
        (torch.ones(5, dtype=torch.bool), r"mask \[5\]; expected \[6\]", InputError),
        ([0.5], "expected whole numbers", InputError),
        (torch.tensor([1 + 2j]), "expected whole numbers", InputError),
        (None, "nodes is None", InputError),
        ("three", "expected ids", InputError),
        ([0, "b"], "expected ids", InputError),
        ({3}, "expected ids", InputError),
        (2**70, "expected ids", InputError),
        ([0, NODES], "nodes holds 6; expected ids from 0 to 5", IndexError),
        (-1, "nodes holds -1", IndexError),
        (np.array([2, 77]), "nodes holds 77", IndexError),
    ],
)
def test_nodes_that_are_not_there_are_refused(nodes, match, error):
    refused(lambda: nodes_of(data(), nodes), match, error)


@pytest.mark.parametrize(
    "nodes",
    [[2, 4], (2, 4), np.array([2, 4]), torch.tensor([2, 4]), torch.tensor([2, 4]).int()],
)
def test_nodes_may_be_given_in_many_forms(nodes):
    mask = torch.zeros(NODES, dtype=torch.bool)
    mask[[2, 4]] = True
    expected = [nodes_of(data(), 2)[0], nodes_of(data(), np.int64(4))[0]]
    for found in (nodes_of(data(), nodes), nodes_of(data(), mask)):
        assert [each.index.tolist() for each in found] == [[2], [4]]
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.edge_mask, other.edge_mask)


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize(
    ("target", "match"),
    [
        ([0, 1], "target has 2 labels; .* 6 rows"),
        ([0] * 5 + [3], "label 3; the model has 3 classes"),
        ([0] * 5 + [-1], "label -1"),
        ([0.5] * 6, "expected labels"),
        ([math.nan] * 6, "expected labels"),
        (["a"] * 6, "expected labels"),
    ],
)
def test_labels_that_are_not_there_are_refused(target, match):
    refused(lambda: nodes_of(data(), target=target), match)


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize(
    ("x_cf", "match"),
    [
        (features()[:5], r"\(5, 3\).* \(6, 3\)"),
        (features()[:, :2], r"\(6, 2\).* \(6, 3\)"),
        (spoilt(math.nan), "nan|NaN"),
        ("zeros", "expected"),
    ],
)
def test_counterfactual_features_of_another_graph_are_refused(x_cf, match):
    refused(lambda: nodes_of(data(), kind="joint", x_cf=x_cf), match)
    refused(lambda: graphs_of([data()], kind="joint", x_cf=[x_cf]), match)


@pytest.mark.usefixtures("no_step")
def test_counterfactual_features_come_one_part_a_graph():
    refused(
        lambda: graphs_of([data(), data()], kind="joint", x_cf=[features()]),
        "x_cf has 1 parts; .* 2 graphs",
    )
    refused(
        lambda: graphs_of([data(), data()], kind="joint", x_cf=[features(), None]),
        "x_cf holds None",
    )


@pytest.mark.usefixtures("no_step")
def test_features_that_all_agree_have_no_counterfactual():
    refused(lambda: nodes_of(data(x=torch.ones(NODES, 3)), kind="joint"), "no different row")


BAD_SETTINGS = [
    *({"epochs": value} for value in (0, -1, 1.5, "9", True, math.nan, None)),
    *({"lr": value} for value in (0, -0.1, math.nan, math.inf, "fast", None, True)),
    *(
        {name: value}
        for name in ("alpha_e", "beta_e", "alpha_f", "beta_f", "noise")
        for value in (-1e-9, math.nan, math.inf, "0", None)
    ),
    *(
        {"n_samples": value}
        for value in (2, (2, 2), (2, 2, 2, 2), (0, 2, 2), (2, -1, 2), (2, 2, 1.5), "222", None)
    ),
    *({"temperature": value} for value in (0, -1, math.nan, math.inf, "hot")),
    *({"max_edges_per_chunk": value} for value in (0, -5, 1e5)),
    *({"seed": value} for value in (-1, 0.5, "0", None, 2**63)),
    {"objective": "psn"},
    {"objective": None},
    {"kind": "edges"},
    {"kind": 1},
    {"regulariser_scope": "whole"},
    {"outside": "one"},
    {"symmetric": 1},
    {"return_last": "yes"},
]


@pytest.mark.parametrize("changes", BAD_SETTINGS, ids=str)
def test_settings_out_of_range_are_refused_by_name(changes):
    [name] = changes
    refused(lambda: NSEGExplainer(**changes), f"^{name}")


@pytest.mark.parametrize(
    ("name", "near"), [("objective", "pns"), ("kind", "edge"), ("outside", "evolve")]
)
def test_a_misspelt_choice_gets_a_suggestion(name, near):
    refused(lambda: NSEGExplainer(**{name: f"{near}s"}), f"Did you mean {near}")


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nodes_of(HeteroData()), "HeteroData; expected one homogeneous"),
        (lambda: nodes_of([data()]), "data is a list"),
        (lambda: nodes_of(None), "data is a NoneType"),
        (lambda: graphs_of([]), "graphs is empty"),
        (lambda: graphs_of(None), "graphs is None"),
        (lambda: graphs_of(HeteroData()), "Hetero"),
        (lambda: graphs_of([HeteroData()]), r"graphs\[0\] is a HeteroData"),
        (lambda: graphs_of([data(), "g"]), r"graphs\[1\] is a str"),
        (lambda: nodes_of(data(), kind="node"), "kind is 'node'"),
        (lambda: nodes_of(data(), mode="regression"), "mode is 'regression'"),
        (lambda: nodes_of(data(), mode="multi"), "mode 'multi'"),
        (lambda: nodes_of(data(), return_type="logits"), "return_type 'logits'"),
        (lambda: nodes_of(data(), mode="binary_classification"), r"\[6, 3\]; expected"),
        (lambda: nodes_of(data(), return_type="probs"), r"outside \[0, 1\]"),
        (lambda: nodes_of(data(), return_type="log_probs"), "above 0"),
        (lambda: nodes_of(data(), arguments=["edge_attr"]), "no attribute 'edge_attr'"),
        (lambda: nodes_of(data(), arguments=["x"]), "names 'x'"),
        (lambda: graphs_of([data()], arguments=["edge_index"]), "names 'edge_index'"),
        (lambda: nodes_of(data(), model=GraphNet()), "has 1 rows for 6 nodes"),
        (lambda: graphs_of([data()], model=Net()), "has 6 rows; expected one"),
        (lambda: nodes_of(data(), model=Net().to("meta")), "x is on cpu and the model on meta"),
        (lambda: nodes_of(data(), kind="joint", settings={"matcher": 3}), "matcher is 3"),
    ],
)
def test_what_else_cannot_be_explained_is_refused(call, match):
    refused(call, match)


class Returns(Net):
    """Its output is changed before it is returned."""

    def __init__(self, how) -> None:
        super().__init__()
        self.how = how

    def forward(self, x, edge_index):
        return self.how(super().forward(x, edge_index))


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize(
    ("how", "match"),
    [
        (lambda out: (out, out), "returns tuple"),
        (lambda out: {"logits": out}, "returns dict"),
        (lambda out: out.argmax(-1), "returns torch.int64"),
        (lambda out: out[:, :, None], r"\[6, 3, 1\]"),
        (lambda out: out[:, 0], r"\[6\]; expected"),
        (lambda out: out[:, :0], r"\[6, 0\]"),
        (lambda out: out * math.nan, "not finite"),
        (lambda out: out / 0, "not finite"),
    ],
)
def test_an_output_that_cannot_be_read_is_refused(how, match):
    model = Returns(how).train()
    refused(lambda: nodes_of(data(), model=model), match)
    assert model.training


class NoGrad(Net):
    @torch.no_grad()
    def forward(self, x, edge_index):
        return super().forward(x, edge_index)


class DetachesInput(Net):
    def forward(self, x, edge_index):
        return super().forward(x.detach(), edge_index)


class ReadsEdges(nn.Module):
    """Its layer passes messages, but none reaches the output; that reads the degrees."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.head = GCNConv(3, 3), nn.Linear(1, 3)

    def forward(self, x, edge_index):
        degree = torch.zeros(len(x), 1).index_add(
            0, edge_index[1], torch.ones(len(edge_index[1]), 1)
        )
        return self.head(degree) + 0 * self.one(x, edge_index)


class Unused(nn.Module):
    """Has a layer, but never runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.head = GCNConv(3, 3), nn.Linear(3, 3)

    def forward(self, x, edge_index):
        return self.head(x)


def layer_off() -> nn.Module:
    model = Net()
    model.two.explain = False
    return model


def decomposed() -> nn.Module:
    model = Net()
    model.one.decomposed_layers = 2
    return model


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (NoGrad, "edge", "no gradient .* masks of the edges"),
        (NoGrad, "joint", "no gradient"),
        (DetachesInput, "feature", "no gradient .* masks of the features"),
        (DetachesInput, "joint", "no gradient .* masks of the features"),
        (ReadsEdges, "edge", "not on the weights of their messages"),
        (Unused, "edge", "no torch_geometric MessagePassing layer of Unused runs"),
        (lambda: nn.Linear(3, 3), "edge", "Linear has no torch_geometric MessagePassing"),
        (lambda: Net(cached=True), "edge", r"one \(GCNConv\) has cached=True"),
        (lambda: SGConv(3, 3, cached=True), "joint", "cached=True"),
        (layer_off, "edge", r"two \(GCNConv\) has explain=False"),
        (decomposed, "edge", "decomposed"),
        (lambda: Net().forward, "edge", "model is a method; expected a torch.nn.Module"),
    ],
)
def test_a_model_that_cannot_be_masked_is_refused(make, kind, match):
    model = make()
    state = [each.requires_grad for each in model.parameters()] if kind != "edge" else None
    refused(lambda: nodes_of(data(), model=model, kind=kind), match)
    if state is not None:
        assert [each.requires_grad for each in model.parameters()] == state


def test_a_model_that_was_made_without_autograd_is_refused():
    with torch.inference_mode():
        model = Net()
    refused(lambda: nodes_of(data(), model=model), "made in inference mode")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_constant_model_in_half_precision_is_explained(dtype):
    model = Net().to(dtype)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    [found] = nodes_of(data(x=features(dtype)), model=model)
    assert float(found.pns_lower) == 0
    assert float(found.p_suff) == pytest.approx(1 / 3)


def configured(**changes):
    explainer = NSEGExplainer(epochs=3, **changes.pop("settings", {}))
    masks = {"edge_mask_type": "object", **changes.pop("masks", {})}
    model = {
        "mode": "multiclass_classification",
        "task_level": "node",
        "return_type": "raw",
        **changes,
    }
    return Explainer(Net(), explainer, explanation_type="model", **masks, model_config=model)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"mode": "regression"}, "mode is 'regression'"),
        ({"task_level": "edge"}, "task_level is 'edge'"),
        ({"masks": {"node_mask_type": "attributes"}}, "node_mask_type is 'attributes'"),
        (
            {"masks": {"node_mask_type": "common_attributes", "edge_mask_type": None}},
            "node_mask_type is 'common_attributes'",
        ),
        ({"settings": {"kind": "joint"}}, "kind 'joint', but .* 'edge'"),
    ],
)
def test_a_configuration_that_is_not_supported_is_refused_with_the_reason(changes, match):
    refused(lambda: configured(**changes), match)


@pytest.mark.usefixtures("no_step")
def test_the_explainer_of_torch_geometric_gives_the_same_errors():
    explainer = configured()
    refused(lambda: explainer(features(), EDGES, index=NODES), "index holds 6", IndexError)
    refused(lambda: explainer(spoilt(math.nan), EDGES), "NaN")
    explainer.model.one.explain = False
    refused(lambda: explainer(features(), EDGES), "explain=False")


@pytest.mark.usefixtures("no_step")
@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("edge_logits", torch.zeros(7), r"\[7\] torch.float32; expected floating-point \[8\]"),
        ("edge_logits", torch.zeros(8, dtype=torch.long), "int64"),
        ("node_logits", torch.full((NODES,), math.inf), "NaN or infinite"),
    ],
)
def test_initial_logits_that_do_not_fit_are_refused(name, value, match):
    explainer = NSEGExplainer(epochs=2)
    explainer.connect(
        {"explanation_type": "model", "edge_mask_type": "object", "node_mask_type": "object"},
        {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
    )
    target = torch.zeros(NODES, dtype=torch.long)
    refused(lambda: explainer(Net(), features(), EDGES, target=target, **{name: value}), match)


@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_gets_the_same(mode, kind):
    model, classifier = Net(), GraphNet()
    [expected] = nodes_of(data(), model=model, kind=kind)
    with mode():
        inside = data(x=features() + 0, edge_index=EDGES + 0, w=torch.ones(8))
        assert inside.x.is_inference() == (mode is torch.inference_mode)
        [found] = nodes_of(inside, model=model, kind=kind)
        [graph] = graphs_of([inside], model=classifier, kind=kind)
    [other] = graphs_of([data()], model=classifier, kind=kind)
    for name in ("edge_mask", "node_mask"):
        if name in expected:
            torch.testing.assert_close(found[name], expected[name])
            torch.testing.assert_close(graph[name], other[name])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
def test_other_precisions_are_explained_alike(dtype, kind):
    given = data(x=features(dtype))
    [expected] = nodes_of(data(x=features(dtype).float()), model=Net(), kind=kind)
    [found] = nodes_of(given, model=Net().to(dtype), kind=kind)
    masks = torch.float64 if dtype == torch.float64 else torch.float32
    close = 1e-5 if dtype == torch.float64 else 0.05
    for name in ("edge_mask", "node_mask"):
        if name in expected:
            assert found[name].dtype == masks
            torch.testing.assert_close(found[name].float(), expected[name], rtol=0, atol=close)
    assert found.loss_history.isfinite().all()
    torch.testing.assert_close(found.p_full.float(), expected.p_full, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
def test_an_isolated_node_has_an_empty_explanation(kind):
    [found] = nodes_of(data(), NODES - 1, kind=kind)
    if kind != "feature":
        assert found.edge_mask.tolist() == [0] * 8
        assert not found.hard_edge_mask.any()
    if kind == "edge":
        assert float(found.pns_lower) == pytest.approx(0, abs=1e-6)
        torch.testing.assert_close(found.p_suff, found.p_full)
        torch.testing.assert_close(found.p_nec, 1 - found.p_full)
    else:
        assert found.node_mask[:-1].tolist() == [[0.0]] * (NODES - 1)
        assert float(found.node_mask[-1]) > 0
    assert found.influencing_edge_mask.sum() == 0
    assert found.khop_edge_ids.numel() == 0


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
def test_graphs_of_one_node(loop, kind):
    edges = torch.zeros(2, int(loop), dtype=torch.long)
    one = Data(x=features()[:1], edge_index=edges)
    given = {} if kind == "edge" else {"x_cf": features()[1:2]}
    if kind == "edge" and not loop:
        refused(lambda: nodes_of(one, kind=kind), "no edges")
        return
    [found] = nodes_of(one, kind=kind, model=GINConv(nn.Linear(3, 3)), **given)
    if kind != "edge":
        assert found.node_mask.shape == (1, 1)
        given = {"x_cf": [features()[1:2], features()]}
    if kind != "feature":
        assert found.edge_mask.shape == (int(loop),)
    small, _ = graphs_of([one, data()], kind=kind, **given)
    [alone] = graphs_of([one], kind=kind, **({"x_cf": given["x_cf"][:1]} if given else {}))
    for name in ("edge_mask", "node_mask"):
        if name in alone:
            torch.testing.assert_close(small[name], alone[name])


def test_a_node_that_is_asked_for_twice_is_explained_twice():
    first, other, second = nodes_of(data(), [3, 1, 3])
    assert torch.equal(first.edge_mask, second.edge_mask)
    assert not torch.equal(first.edge_mask, other.edge_mask)
    first.edge_mask.zero_()
    assert float(second.edge_mask.max()) > 0


def test_a_seed_decides_and_nothing_else():
    def mask(**settings):
        return nodes_of(data(), 0, kind="joint", settings=settings)[0].edge_mask

    state = torch.random.get_rng_state()
    first = mask(seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(mask(seed=5), first)
    assert not torch.equal(mask(seed=6), first)
    torch.set_default_dtype(torch.float64)
    try:
        again = nodes_of(data(), 0, model=Net().float(), kind="joint", settings={"seed": 5})
    finally:
        torch.set_default_dtype(torch.float32)
    assert again[0].edge_mask.dtype == torch.float32


def test_the_same_numbers_are_drawn_whatever_the_default_dtype_is():
    model, given = Net(), data()
    [expected] = nodes_of(given, model=model)
    torch.set_default_dtype(torch.float64)
    try:
        [found] = nodes_of(given, model=model)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found.edge_mask, expected.edge_mask)


def test_arguments_may_come_from_a_generator():
    given = data(edge_weight=torch.rand(8, generator=torch.Generator().manual_seed(1)))
    [expected] = nodes_of(given, arguments=["edge_weight"])
    [found] = nodes_of(given, arguments=(name for name in ["edge_weight"]))
    [without] = nodes_of(given)
    assert torch.equal(found.edge_mask, expected.edge_mask)
    assert found.p_full != without.p_full


def test_a_sequential_of_torch_geometric_is_explained():
    torch.manual_seed(0)
    model = Sequential(
        "x, edge_index, batch",
        [
            (GCNConv(3, 4), "x, edge_index -> x"),
            nn.Tanh(),
            (global_add_pool, "x, batch -> x"),
            nn.Linear(4, 3),
        ],
    )
    together = graphs_of([data(), data(x=features() + 1)], model=model)
    [alone] = graphs_of(Batch.from_data_list([data(x=features() + 1)]), model=model)
    torch.testing.assert_close(together[1].edge_mask, alone.edge_mask)


def test_features_that_are_numbers_of_classes_have_edges_explained():
    class Embeds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.one = nn.Embedding(NODES, 4), GCNConv(4, 3)

        def forward(self, x, edge_index):
            return self.one(self.table(x.view(-1)), edge_index)

    for x in (torch.arange(NODES), torch.arange(NODES)[:, None]):
        [found] = nodes_of(data(x=x), model=Embeds())
        assert found.edge_mask[found.influencing_edge_mask].min() > 0
        assert found.edge_mask[~found.influencing_edge_mask].max() == 0


def test_a_saturated_model_is_reported_and_a_temperature_helps():
    model = Net()
    with torch.no_grad():
        model.two.lin.weight.mul_(400)
    settings = {"alpha_e": 0.0, "beta_e": 0.0, "noise": 0.0, "lr": 0.5}
    with pytest.warns(ZooWarning, match=r"certain of 1 of 1 outputs \(p > 1 - 1e-6\)"):
        [stuck] = nodes_of(data(), model=model, settings=settings)
    [moving] = nodes_of(data(), model=model, settings={**settings, "temperature": 50.0})
    assert moving.temperature == 50.0
    reached = stuck.influencing_edge_mask
    [start] = nodes_of(data(), model=model, settings={**settings, "temperature": 50.0, "lr": 1e-12})
    change = [(each.edge_mask - start.edge_mask)[reached].abs().max() for each in (stuck, moving)]
    assert float(change[0]) < 1e-3 < 0.1 < float(change[1])
