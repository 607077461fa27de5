"""The explained networks compute what the official code's equations say, under masks too."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.explain import Explainer
from torch_geometric.explain.algorithm import GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import GCNConv

from zoo_core import lean
from zoo_core.errors import ConfigError, InputError
from zoo_nseg.networks import GNN

SIZES = {"in_channels": 3, "hidden_channels": (4, 6, 5), "num_classes": 2}


def directed_graph(nodes: int = 9, edges: int = 25, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features and directed edges, self-loops and repeated edges among them."""
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(nodes - 2, (2, edges), generator=generator)  # two isolated nodes
    edge_index[:, -1] = edge_index[:, -2]
    edge_index[:, 0] = 1
    return torch.randn(nodes, 3, generator=generator, dtype=torch.float64), edge_index


def network(conv: str, seed: int = 0, **changes: object) -> GNN:
    torch.manual_seed(seed)
    model = GNN(conv, **{**SIZES, **changes}).double().eval()
    if conv == "gin":
        for number, layer in enumerate(model.convs):
            layer.eps.fill_(0.1 * number)
    for layer in model.convs:
        if conv == "gcn":
            torch.nn.init.normal_(layer.bias)
    return model


def reference(model: GNN, x: Tensor, edge_index: Tensor, w: Tensor) -> Tensor:
    """The node embeddings, edge by edge and with dense matrices."""
    nodes = len(x)
    ones, weighted = (torch.zeros(nodes, nodes, dtype=x.dtype) for _ in range(2))
    for (source, destination), weight in zip(edge_index.T.tolist(), w, strict=True):
        ones[destination, source] += 1
        weighted[destination, source] += weight
    incoming = torch.diag(ones.sum(dim=1).clamp(min=1) ** -0.5)
    outgoing = torch.diag(ones.sum(dim=0).clamp(min=1) ** -0.5)
    h = x
    for layer in model.convs:
        if model.conv == "gcn":
            h = incoming @ weighted @ outgoing @ h @ layer.lin.weight.T + layer.bias
        else:
            h = ((1 + layer.eps) * h + weighted @ h) @ layer.nn.weight.T + layer.nn.bias
        h = torch.where(h > 0, h, torch.zeros_like(h))
    return h


def classified(model: GNN, h: Tensor) -> Tensor:
    return h @ model.classify.weight.T + model.classify.bias


@pytest.mark.parametrize("conv", ["gcn", "gin"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_layers_on_a_directed_graph(conv: str, seed: int) -> None:
    x, edge_index = directed_graph(seed=seed)
    model = network(conv, seed)
    ones = torch.ones(25, dtype=x.dtype)
    expected = classified(model, reference(model, x, edge_index, ones))
    torch.testing.assert_close(model(x, edge_index), expected)


@pytest.mark.parametrize("conv", ["gcn", "gin"])
def test_masks_multiply_messages_and_leave_degrees(conv: str) -> None:
    x, edge_index = directed_graph()
    model = network(conv)
    w = torch.rand(25, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
    set_masks(model, w.requires_grad_(), edge_index, apply_sigmoid=False)
    logits = model(x, edge_index)
    expected = classified(model, reference(model, x, edge_index, w))
    torch.testing.assert_close(logits, expected)
    (gradient,) = torch.autograd.grad(logits[2, 0], w)
    (expected_gradient,) = torch.autograd.grad(expected[2, 0], w)
    torch.testing.assert_close(gradient, expected_gradient)
    clear_masks(model)


def test_gcn_counts_outgoing_edges_at_the_source() -> None:
    """torch_geometric's own normalisation does not, which shows on directed graphs only."""
    x, edge_index = directed_graph()
    model = network("gcn", hidden_channels=(4,))
    theirs = GCNConv(3, 4, add_self_loops=False).double()
    theirs.load_state_dict(model.convs[0].state_dict())
    directed = classified(model, theirs(x, edge_index).relu())
    assert (model(x, edge_index) - directed).abs().max() > 0.01
    both = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    undirected = classified(model, theirs(x, both).relu())
    torch.testing.assert_close(model(x, both), undirected)


@pytest.mark.parametrize("conv", ["gcn", "gin"])
def test_graphs_are_summed_one_at_a_time_or_in_a_batch(conv: str) -> None:
    model = network(conv, task_level="graph")
    graphs = []
    for seed, nodes in enumerate((9, 5, 12)):
        x, edge_index = directed_graph(nodes=nodes, edges=10, seed=seed)
        graphs.append(Data(x=x, edge_index=edge_index))
    graphs.append(Data(x=torch.ones(1, 3).double(), edge_index=torch.zeros(2, 0).long()))
    expected = torch.stack(
        [
            classified(
                model,
                reference(model, each.x, each.edge_index, torch.ones(each.num_edges)).sum(dim=0),
            )
            for each in graphs
        ]
    )
    alone = torch.cat([model(each.x, each.edge_index) for each in graphs])
    torch.testing.assert_close(alone, expected)
    batch = Batch.from_data_list(graphs)
    torch.testing.assert_close(model(batch.x, batch.edge_index, batch.batch), expected)
    # The nodes of a graph need not stand together.
    order = torch.randperm(batch.num_nodes, generator=torch.Generator().manual_seed(0))
    place = torch.argsort(order)
    mixed = model(batch.x[order], place[batch.edge_index], batch.batch[order])
    torch.testing.assert_close(mixed, expected)


def test_batch_makes_no_difference_to_nodes() -> None:
    x, edge_index = directed_graph()
    model = network("gcn")
    batch = torch.zeros(9, dtype=torch.int64)
    assert torch.equal(model(x, edge_index, batch), model(x, edge_index))


def test_dropout_acts_in_training_only_and_before_relu() -> None:
    x, edge_index = directed_graph(nodes=200, edges=500)
    model = network("gin", dropout=0.5, hidden_channels=(40,), num_classes=40)
    plain = network("gin", hidden_channels=(40,), num_classes=40)
    assert torch.equal(model(x, edge_index), plain(x, edge_index))
    model.classify = torch.nn.Identity()
    plain.classify = torch.nn.Identity()
    whole, dropped = plain(x, edge_index), model.train()(x, edge_index)
    zeroed = dropped[whole > 0] == 0
    assert 0.45 < zeroed.double().mean() < 0.55
    torch.testing.assert_close(dropped[whole > 0][~zeroed], 2 * whole[whole > 0][~zeroed])


def test_torch_geometrics_explainer_runs_it() -> None:
    x, edge_index = directed_graph()
    model = network("gcn").float()
    explainer = Explainer(
        model,
        GNNExplainer(epochs=3),
        explanation_type="model",
        edge_mask_type="object",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "node",
            "return_type": "raw",
        },
    )
    explanation = explainer(x.float(), edge_index, index=2)
    assert explanation.edge_mask.max() > 0
    assert sorted(model.state_dict()) == sorted(network("gcn").state_dict())


@pytest.mark.parametrize(
    ("conv", "names"),
    [
        ("gcn", {"lin.weight": [4, 3], "bias": [4]}),
        ("gin", {"nn.weight": [4, 3], "nn.bias": [4], "eps": [1]}),
    ],
)
def test_names_are_torch_geometrics(conv: str, names: dict[str, list[int]]) -> None:
    model = GNN(conv, 3, [4], 2)
    state = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    expected = {f"convs.0.{name}": shape for name, shape in names.items()}
    assert state == {**expected, "classify.weight": [2, 4], "classify.bias": [2]}
    assert "convs.0.eps" not in dict(model.named_parameters())
    assert conv == "gcn" or model.convs[0].eps.tolist() == [0.0]


@pytest.mark.parametrize(("conv", "classes", "count"), [("gcn", 4, 1316), ("gin", 2, 1282)])
def test_sizes_of_the_official_networks(conv: str, classes: int, count: int) -> None:
    model = GNN(conv, 10, [16, 32, 16], classes)
    assert sum(each.numel() for each in model.parameters()) == count


@pytest.mark.parametrize("conv", ["gcn", "gin"])
def test_it_is_built_without_memory(conv: str) -> None:
    model = lean.build(GNN, {"conv": conv, **SIZES})
    assert all(each.is_meta for each in model.parameters())
    filled = network(conv).float()
    lean.assign(model, filled.state_dict().items())
    assert lean.left_on_meta(model) == []
    x, edge_index = directed_graph()
    assert torch.equal(model.eval()(x.float(), edge_index), filled(x.float(), edge_index))


def test_a_fresh_classifier() -> None:
    model = network("gcn")
    x, edge_index = directed_graph()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.reset_classifier(7)
    assert model.num_classes == 7
    assert model(x, edge_index).shape == (9, 7)
    assert model.classify.weight.dtype == torch.float64
    for name, value in model.state_dict().items():
        assert name.startswith("classify.") or torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv": "gat"}, "conv is 'gat'; expected one of gcn, gin."),
        ({"conv": "GCN"}, "conv is 'GCN'"),
        ({"conv": None}, "conv is None"),
        ({"task_level": "edge"}, "task_level is 'edge'; expected one of node, graph"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"in_channels": 2.0}, "in_channels is 2.0"),
        ({"num_classes": True}, "num_classes is True"),
        ({"num_classes": 1 << 21}, "num_classes is 2097152"),
        ({"hidden_channels": []}, r"hidden_channels is \[\]"),
        ({"hidden_channels": 16}, "hidden_channels is 16; expected the width of each layer"),
        ({"hidden_channels": "16"}, "hidden_channels is '16'"),
        ({"hidden_channels": [16, 0]}, r"hidden_channels\[1\] is 0"),
        ({"hidden_channels": [1] * 1001}, "hidden_channels is"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"dropout": "0"}, "dropout is '0'"),
    ],
)
def test_arguments_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GNN(**{"conv": "gcn", **SIZES, **changes})


def test_a_classifier_needs_classes() -> None:
    with pytest.raises(ConfigError, match="num_classes is 0"):
        GNN("gcn", **SIZES).reset_classifier(0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", torch.ones(9, 4), r"x is float32 \[9, 4\]; expected floating-point \[nodes, 3\]"),
        ("x", torch.ones(9), r"x is float32 \[9\]"),
        ("x", torch.ones(9, 3).long(), r"x is int64 \[9, 3\]"),
        ("edge_index", torch.zeros(3, 2).long(), r"edge_index is int64 \[3, 2\]"),
        ("edge_index", torch.zeros(2, 2), r"edge_index is float32 \[2, 2\]; expected int64"),
        ("batch", torch.zeros(8).long(), r"batch is int64 \[8\]; expected int64 \[9\]"),
        ("batch", torch.zeros(9), r"batch is float32 \[9\]"),
    ],
)
def test_inputs_are_checked(name: str, value: Tensor, message: str) -> None:
    x, edge_index = directed_graph()
    given = {"x": x, "edge_index": edge_index, "batch": None, name: value}
    with pytest.raises(InputError, match=message):
        network("gcn")(**given)


def test_logits_of_a_graph_network_of_the_official_code() -> None:
    golden = np.load(_golden())
    state = {
        name.removeprefix("graph/GCN/7/sd/"): torch.from_numpy(golden[name])
        for name in golden.files
        if "/sd/" in name
    }
    model = GNN("gcn", 16, [16, 32, 16], 2, task_level="graph").eval()
    for layer in range(3):
        state[f"convs.{layer}.lin.weight"] = state.pop(f"convs.{layer}.weight").T
    model.load_state_dict(state)
    x, edge_index, logits = (
        torch.from_numpy(golden[f"graph/GCN/7/{name}"]) for name in ("x", "edge_index", "logits")
    )
    torch.testing.assert_close(model(x, edge_index), logits, rtol=0, atol=1e-5)


def _golden() -> Path:
    data = os.environ.get("ZOO_DATA")
    if not data or not (path := Path(data) / "nseg-synthetic" / "golden.npz").exists():
        pytest.skip("needs ZOO_DATA with nseg-synthetic/golden.npz")
    return path
