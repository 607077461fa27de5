"""Whole runs against the slow reference, and inside torch_geometric's Explainer."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.explain import Explainer, Explanation
from torch_geometric.explain.metric import (
    characterization_score,
    fidelity,
    fidelity_curve_auc,
    unfaithfulness,
)

from zoo_nseg.explainer import NSEGExplainer

SETTINGS: dict[str, Any] = {
    "epochs": 30,
    "lr": 0.15,
    "alpha_e": 0.001,
    "beta_e": 0.1,
    "alpha_f": 0.002,
    "beta_f": 0.05,
    "n_samples": (1, 2, 3),
    "noise": 0.1,
    "seed": 3,
}
# Losses and masks agree to rounding; Adam divides what is left of gradients near 0 by itself.
EXACT = {"atol": 1e-9, "rtol": 0}
HOPS = 3


def moved(prediction: Tensor) -> bool:
    """Whether the search had something to find: the loss of the prediction changed well."""
    return float(prediction.max() - prediction.min()) > 0.05


@pytest.mark.parametrize("objective", ["pns", "ps", "pn"])
@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
@pytest.mark.parametrize("conv", ["gcn", "gin"])
def test_a_graph_is_explained_as_by_the_reference(
    reference: ModuleType, network, ring, connected, conv: str, kind: str, objective: str
) -> None:
    model = network(conv, "graph", seed=7 if conv == "gcn" else 4, scale=2.0)
    x, edge_index = ring(nodes=11, chords=4)
    x_cf = x.roll(1, 0)
    target = model(x, edge_index).argmax(-1)
    expected = reference.explain(
        reference.dense(model, edge_index),
        x,
        edge_index,
        [0],
        target.tolist(),
        kind,
        x_cf=x_cf,
        objective=objective,
        **SETTINGS,
    )
    explainer = connected(kind, "graph", objective=objective, **SETTINGS)
    found = explainer(model, x, edge_index, target=target, x_cf=x_cf)
    losses = expected.prediction
    assert moved(losses)
    if kind != "feature":
        torch.testing.assert_close(found.edge_mask, expected.edge_mask, **EXACT)
        assert torch.equal(found.hard_edge_mask, expected.edge_mask >= 0.5)
        losses = losses + expected.edge_price.sum(1)
    else:
        assert "edge_mask" not in found
    if kind != "edge":
        torch.testing.assert_close(found.node_mask, expected.node_mask.unsqueeze(-1), **EXACT)
        assert torch.equal(found.hard_node_mask, expected.node_mask >= 0.5)
        assert torch.equal(found.x_cf, x_cf)
        losses = losses + expected.node_price.sum(1)
    else:
        assert "node_mask" not in found
    torch.testing.assert_close(found.loss_history, losses, **EXACT)
    assert float(found.p_suff) == pytest.approx(expected.p_suff, abs=1e-9)
    assert float(found.p_nec) == pytest.approx(expected.p_nec, abs=1e-9)
    full = model(x, edge_index).softmax(-1).amax().detach()
    assert float(found.p_full) == pytest.approx(float(full), abs=1e-12)


def whole_graph(
    reference: ModuleType, model: nn.Module, x: Tensor, edge_index: Tensor, nodes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Influencing edges [E], nodes within three hops [N], edges between those [K]."""
    distance = torch.tensor(reference.distances(edge_index, len(x), nodes))
    near = distance <= HOPS
    influencing = distance[edge_index[1]] <= HOPS - 1
    inner = (near[edge_index[0]] & near[edge_index[1]]).nonzero().flatten()
    return influencing, near, inner


VARIANTS: dict[str, dict[str, Any]] = {
    "edge-pns": {"kind": "edge"},
    "edge-ps": {"kind": "edge", "objective": "ps"},
    "edge-pn": {"kind": "edge", "objective": "pn"},
    "feature-pns": {"kind": "feature"},
    "feature-ps": {"kind": "feature", "objective": "ps"},
    "feature-pn": {"kind": "feature", "objective": "pn"},
    "joint-pns": {"kind": "joint"},
    "joint-ps": {"kind": "joint", "objective": "ps"},
    "joint-pn": {"kind": "joint", "objective": "pn"},
    "gin": {"kind": "joint", "conv": "gin"},
    "evolve": {"kind": "joint", "outside": "evolve"},
    "evolve-symmetric": {"kind": "edge", "outside": "evolve", "symmetric": True},
    "evolve-last": {"kind": "joint", "outside": "evolve", "return_last": True},
    "computation": {"kind": "joint", "regulariser_scope": "computation"},
    "last": {"kind": "joint", "return_last": True},
    "temperature": {"kind": "joint", "temperature": 2.5},
    "symmetric": {"kind": "joint", "symmetric": True},
    "several": {"kind": "joint", "nodes": [4, 9, 12]},
    "several-gin": {"kind": "edge", "nodes": [4, 9], "conv": "gin"},
}


@pytest.mark.parametrize(
    "variant",
    [pytest.param(each, id=name) for name, each in VARIANTS.items()],
)
def test_nodes_are_explained_as_on_the_whole_graph(
    reference: ModuleType, network, ring, connected, variant: dict[str, Any]
) -> None:
    options = {**SETTINGS, **variant}
    kind, nodes = options.pop("kind"), options.pop("nodes", [4])
    conv = options.pop("conv", "gcn")
    model = network(conv, "node", seed=7 if conv == "gcn" else 4, scale=2.0)
    x, edge_index = ring(chords=3)
    x_cf = x.roll(3, 0)
    target = model(x, edge_index).argmax(-1)
    influencing, near, inner = whole_graph(reference, model, x, edge_index, nodes)
    assert not near.all()
    assert not influencing[inner].all()

    plain = dict(options)
    symmetric = plain.pop("symmetric", False)
    scope, outside = plain.pop("regulariser_scope", "graph"), plain.pop("outside", "zero")
    expected = reference.explain(
        reference.dense(model, edge_index),
        x,
        edge_index,
        nodes,
        target[nodes].tolist(),
        kind,
        x_cf=x_cf,
        partner=reference.opposite(edge_index) if symmetric else None,
        counted_edges=influencing if scope == "computation" else None,
        counted_nodes=near if scope == "computation" else None,
        **plain,
    )
    explainer = connected(kind, "node", **options)
    found = explainer(model, x, edge_index, target=target, index=torch.tensor(nodes), x_cf=x_cf)

    losses = expected.prediction
    assert moved(losses)
    if kind != "feature":
        wanted = expected.edge_mask
        torch.testing.assert_close(found.edge_mask[influencing], wanted[influencing], **EXACT)
        counted = influencing
        if symmetric:  # an edge stands for its partner, too, if that one has no influence
            counted = influencing | influencing[reference.opposite(edge_index)]
            assert counted.sum() > influencing.sum()
            torch.testing.assert_close(found.edge_mask[counted], wanted[counted], **EXACT)
        beyond = found.edge_mask[~counted]
        if outside == "zero":
            assert not beyond.any()
        else:
            torch.testing.assert_close(beyond, wanted[~counted], atol=1e-5, rtol=0)
        losses = losses + expected.edge_price[:, counted].sum(1)
    if kind != "edge":
        mask = found.node_mask.squeeze(-1)
        torch.testing.assert_close(mask[near], expected.node_mask[near], **EXACT)
        if outside == "zero":
            assert not mask[~near].any()
        else:
            torch.testing.assert_close(mask[~near], expected.node_mask[~near], atol=1e-5, rtol=0)
        losses = losses + expected.node_price[:, near].sum(1)
    torch.testing.assert_close(found.loss_history, losses, **EXACT)
    assert float(found.p_suff) == pytest.approx(expected.p_suff, abs=1e-9)
    assert float(found.p_nec) == pytest.approx(expected.p_nec, abs=1e-9)
    assert torch.equal(found.influencing_edge_mask, influencing)
    assert torch.equal(found.khop_edge_ids, inner)
    assert torch.equal(found.label, target[nodes])


class Reading(nn.Module):
    """A network whose logits are returned in another form."""

    def __init__(self, network: nn.Module, form: str) -> None:
        super().__init__()
        self.network = network
        self.form = form

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        logits = self.network(x, edge_index, batch)
        margin = logits[:, 1] - logits[:, 0]
        return {
            "probs": lambda: logits.softmax(-1),
            "log_probs": lambda: logits.log_softmax(-1),
            "margin": lambda: margin,
            "margin column": lambda: margin.unsqueeze(-1),
            "chance": lambda: margin.sigmoid(),
        }[self.form]()


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize(
    ("form", "mode", "return_type"),
    [
        ("probs", "multiclass_classification", "probs"),
        ("log_probs", "multiclass_classification", "log_probs"),
        ("margin", "binary_classification", "raw"),
        ("margin column", "binary_classification", "raw"),
        ("chance", "binary_classification", "probs"),
    ],
)
@pytest.mark.parametrize("level", ["node", "graph"])
def test_the_form_of_the_output_makes_no_difference(
    network, ring, connected, level: str, form: str, mode: str, return_type: str, temperature: float
) -> None:
    x, edge_index = ring(nodes=12)
    classes = 2 if mode.startswith("binary") else 3
    model = network("gcn", level, seed=4, classes=classes)
    options = {**SETTINGS, "temperature": temperature, "epochs": 20}
    labels = model(x, edge_index).argmax(-1)
    arguments = {"x_cf": x.roll(1, 0), "index": torch.tensor([5] if level == "node" else [0])}
    if (
        classes == 2 and level == "node"
    ):  # the probability of a label is p of one, 1 - p of the other
        assert set(labels.tolist()) == {0, 1}
        arguments["index"] = torch.tensor([int(labels.argmin()), int(labels.argmax())])
    raw = connected("joint", level, **options)(model, x, edge_index, target=labels, **arguments)
    other = connected("joint", level, mode=mode, return_type=return_type, **options)(
        Reading(model, form), x, edge_index, target=labels, **arguments
    )
    for name in ("edge_mask", "node_mask", "loss_history", "p_full", "p_suff", "p_nec"):
        torch.testing.assert_close(other[name], raw[name], **EXACT)


def test_a_saturated_binary_model_keeps_finite_masks_under_a_temperature(
    network, ring, connected
) -> None:
    x, edge_index = ring(nodes=12)
    model = network("gcn", "node", seed=4, classes=2, scale=60.0).float()
    chance = Reading(model, "chance")
    p = chance(x.float(), edge_index)
    certain = torch.tensor([int(p.argmax())])
    assert float(p[certain]) == 1
    explainer = connected(
        "edge",
        "node",
        mode="binary_classification",
        return_type="probs",
        temperature=30.0,
        epochs=5,
    )
    explanation = explainer(chance, x.float(), edge_index, target=(p > 0.5).long(), index=certain)
    assert bool(explanation.edge_mask.isfinite().all())
    assert bool(explanation.loss_history.isfinite().all())


def through_pyg(model: nn.Module, level: str, kind: str = "edge", **options: Any) -> Explainer:
    settings = {**SETTINGS, "epochs": 60, **options.pop("settings", {})}
    mask_types = {
        "edge": {"edge_mask_type": "object"},
        "feature": {"node_mask_type": "object"},
        "joint": {"node_mask_type": "object", "edge_mask_type": "object"},
    }[kind]
    return Explainer(
        model,
        NSEGExplainer(**settings),
        explanation_type=options.pop("explanation_type", "model"),
        model_config={
            "mode": "multiclass_classification",
            "task_level": level,
            "return_type": "raw",
        },
        **mask_types,
        **options,
    )


@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
def test_torch_geometrics_explainer_returns_the_algorithms_masks(
    network, ring, connected, kind: str
) -> None:
    model = network("gcn", "node", seed=7, scale=2.0)
    x, edge_index = ring()
    logits = model(x, edge_index).detach()
    found = through_pyg(model, "node", kind, settings={"epochs": 20})(x, edge_index, index=4)
    direct = connected(kind, "node", **{**SETTINGS, "epochs": 20})(
        model, x, edge_index, target=logits.argmax(-1), index=4
    )
    for name in ("edge_mask", "node_mask", "x_cf", "loss_history"):
        assert (name in found) == (name in direct)
        if name in found:
            assert torch.equal(found[name], direct[name])
    assert found.validate(raise_on_error=True)
    assert torch.equal(found.prediction, logits)
    assert torch.equal(found.label, logits[[4]].argmax(-1))


def test_a_phenomenon_is_explained_for_the_given_labels(
    reference: ModuleType, network, ring
) -> None:
    model = network("gcn", "node", seed=7, scale=2.0)
    x, edge_index = ring()
    predicted = model(x, edge_index).argmax(-1)
    target = (predicted + 1) % 3
    explainer = through_pyg(model, "node", explanation_type="phenomenon", settings={"epochs": 20})
    found = explainer(x, edge_index, target=target, index=4)
    expected = reference.explain(
        reference.dense(model, edge_index),
        x,
        edge_index,
        [4],
        [int(target[4])],
        "edge",
        **{**SETTINGS, "epochs": 20},
    )
    inside = found.influencing_edge_mask
    torch.testing.assert_close(found.edge_mask[inside], expected.edge_mask[inside], **EXACT)
    chance = model(x, edge_index).softmax(-1)[4, target[4]].detach()
    assert float(found.p_full) == pytest.approx(float(chance), abs=1e-12)


@pytest.mark.parametrize("kind", ["edge", "joint"])
@pytest.mark.parametrize("conv", ["gcn", "gin"])
def test_torch_geometrics_metrics_on_our_explanations(
    reference: ModuleType, network, ring, conv: str, kind: str
) -> None:
    model = network(conv, "node", seed=7 if conv == "gcn" else 4, scale=2.0)
    x, edge_index = ring()
    index = torch.tensor([1, 4, 8, 13, 17])
    explainer = through_pyg(model, "node", kind)
    found = explainer(x, edge_index, index=index)
    run = reference.dense(model, edge_index)
    kept = found.node_mask if kind == "joint" else torch.ones(len(x), 1, dtype=x.dtype)
    dropped = 1 - kept if kind == "joint" else kept
    label = model(x, edge_index)[index].argmax(-1)
    with_it = run(kept * x, found.edge_mask)[index]
    without = run(dropped * x, 1 - found.edge_mask)[index]
    plus, minus = fidelity(explainer, found)
    assert plus == pytest.approx(float((without.argmax(-1) != label).double().mean()))
    assert minus == pytest.approx(float((with_it.argmax(-1) != label).double().mean()))
    assert plus > 0
    before, after = model(x, edge_index)[index].softmax(-1), with_it.softmax(-1)
    divergence = (after * (after / before).log()).sum(-1).mean().detach()
    assert unfaithfulness(explainer, found) == pytest.approx(1 - float((-divergence).exp()))
    points = torch.tensor([plus, plus / 2]), torch.tensor([minus, minus])
    score = characterization_score(*points)
    assert float(score[0]) == pytest.approx(2 * plus * (1 - minus) / (plus + 1 - minus))
    area = fidelity_curve_auc(*points, torch.tensor([0.0, 1.0]))
    assert float(area) == pytest.approx(0.75 * plus / (1 - minus))


def test_the_objective_shows_in_torch_geometrics_fidelity(network, ring) -> None:
    """ps keeps the label, pn takes it away, pns does both."""
    model = network("gcn", "node", seed=7, scale=2.0)
    x, edge_index = ring()
    every = list(range(len(x)))
    scores = {}
    for objective in ("pns", "ps", "pn"):
        settings = {"objective": objective, "epochs": 100, "alpha_e": 0.01, "beta_e": 0.1}
        explainer = through_pyg(model, "node", settings=settings)
        found = explainer.algorithm.explain_nodes(model, Data(x, edge_index), every)
        scores[objective] = torch.tensor([fidelity(explainer, each) for each in found]).mean(0)
    assert scores["pns"].tolist() == [1, 0]
    assert float(scores["ps"][1]) == 0
    assert float(scores["pn"][0]) == 1
    assert float(scores["pn"][1]) > 0.05


def test_thresholds_of_torch_geometric(network, ring) -> None:
    model = network("gcn", "node", seed=7, scale=2.0)
    x, edge_index = ring()
    soft = through_pyg(model, "node", "joint")(x, edge_index, index=4)
    hard = through_pyg(model, "node", "joint", threshold_config=("hard", 0.5))(
        x, edge_index, index=4
    )
    assert torch.equal(hard.edge_mask.bool(), soft.hard_edge_mask)
    assert torch.equal(hard.node_mask.squeeze(-1).bool(), soft.hard_node_mask)
    assert 0 < int(soft.hard_edge_mask.sum()) < int(soft.influencing_edge_mask.sum())
    top = through_pyg(model, "node", "joint", threshold_config=("topk", 5))(x, edge_index, index=4)
    kept = top.edge_mask.nonzero().flatten()
    assert set(kept.tolist()) == set(soft.edge_mask.topk(5).indices.tolist())
    assert torch.equal(top.edge_mask[kept], soft.edge_mask[kept])


def test_subgraphs_hold_what_the_masks_keep(network, ring) -> None:
    model = network("gcn", "node", seed=7, scale=2.0)
    x, edge_index = ring()
    explainer = through_pyg(model, "node", threshold_config=("hard", 0.5))
    found = explainer(x, edge_index, index=4)
    inside = found.get_explanation_subgraph()
    outside = found.get_complement_subgraph()
    assert isinstance(inside, Explanation)
    kept = found.hard_edge_mask
    assert torch.equal(inside.edge_index, edge_index[:, kept])
    assert torch.equal(outside.edge_index, edge_index[:, ~kept])
    assert bool(inside.hard_edge_mask.all())
    assert not outside.hard_edge_mask.any()
    assert torch.equal(inside.influencing_edge_mask, found.influencing_edge_mask[kept])


def test_torch_geometric_draws_our_explanations(network, ring, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("agg")
    model = network("gcn", "node", seed=7, scale=2.0)
    found = through_pyg(model, "node")(*ring(), index=4)
    found.visualize_graph(str(tmp_path / "graph.png"), backend="networkx")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_a_graph_of_a_batch_is_explained_by_its_index(network, ring, connected) -> None:
    """Without entropy, whose mean runs over the whole batch, the other graphs do not matter."""
    model = network("gin", "graph", seed=4)
    graphs = [Data(*ring(nodes=nodes, seed=nodes)) for nodes in (9, 11, 10)]
    batch = Batch.from_data_list(graphs)
    logits = torch.linspace(-0.5, 0.5, batch.num_edges, dtype=torch.float64)
    options = {**SETTINGS, "noise": 0.0, "beta_e": 0.0}
    target = model(batch.x, batch.edge_index, batch.batch).argmax(-1)
    for place, graph in enumerate(graphs):
        own = batch.batch[batch.edge_index[0]] == place
        among = connected("edge", "graph", **options)(
            model,
            batch.x,
            batch.edge_index,
            batch=batch.batch,
            target=target,
            index=place,
            edge_logits=logits,
        )
        alone = connected("edge", "graph", **options)(
            model,
            graph.x,
            graph.edge_index,
            target=target[[place]],
            edge_logits=logits[own],
        )
        torch.testing.assert_close(among.edge_mask[own], alone.edge_mask, **EXACT)
        torch.testing.assert_close(among.p_suff, alone.p_suff, **EXACT)
        assert float(alone.pns_lower) > 0.05


def test_explanations_are_graphs_that_networkx_takes(network, ring) -> None:
    from torch_geometric.utils import to_networkx

    found = through_pyg(network("gcn", "node", seed=7, scale=2.0), "node")(*ring(), index=4)
    graph = to_networkx(found, edge_attrs=["edge_mask"])
    assert isinstance(graph, nx.DiGraph)
    source, target = found.edge_index[:, 7].tolist()
    assert graph.edges[source, target]["edge_mask"] == pytest.approx(float(found.edge_mask[7]))
