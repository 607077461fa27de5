"""The parts of the loss that a diagnosis tells apart, and the advice that it gives."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.explain import Explanation

from zoo_core.errors import InputError
from zoo_nseg.diagnosis import diagnose
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.networks import GNN

KINDS = ("edge", "feature", "joint")


def graph(seed: int = 0, nodes: int = 14, edges: int = 30) -> Data:
    generator = torch.Generator().manual_seed(seed)
    one_way = torch.randint(nodes, (2, edges // 2), generator=generator)
    return Data(
        x=torch.randn(nodes, 3, generator=generator, dtype=torch.float64),
        edge_index=torch.cat([one_way, one_way.flip(0)], 1),
    )


def network(level: str, scale: float = 1.0, seed: int = 0) -> GNN:
    torch.manual_seed(seed)
    model = GNN("gin", 3, (8, 8), 3, level).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def explained(level: str, kind: str, model: GNN | None = None, **options: Any):
    """An explainer and what it found, on one graph or at one node of it."""
    explainer = NSEGExplainer(**{"epochs": 12, "lr": 0.2, "noise": 0.0, **options})
    model = network(level) if model is None else model
    run = {
        "graph": lambda: explainer.explain_graphs(model, graph(), kind=kind, progress=False),
        "node": lambda: explainer.explain_nodes(model, graph(), 2, kind=kind, progress=False),
    }
    return explainer, run[level]()[0]


@pytest.mark.parametrize("level", ["node", "graph"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"regulariser_scope": "computation"},
        {"symmetric": True},
        {"outside": "evolve"},
        {"alpha_e": 0.0, "beta_f": 0.0},
    ],
)
def test_gain_size_and_entropy_make_up_the_loss(
    level: str, kind: str, options: dict[str, Any]
) -> None:
    prices = {"alpha_e": 0.02, "beta_e": 0.7, "alpha_f": 0.03, "beta_f": 0.4}
    explainer, found = explained(level, kind, **{**prices, **options})
    result = diagnose(explainer, found)
    assert result.pns_gain == pytest.approx(float(found.p_suff + found.p_nec) - 1)
    loss = result.size_cost + result.entropy_cost - result.pns_gain
    assert loss == pytest.approx(float(found.loss_history[-1]), abs=1e-6)
    assert (result.edges is None, result.features is None) == (kind == "feature", kind == "edge")


def test_prices_by_hand() -> None:
    explainer = NSEGExplainer(alpha_e=0.05, beta_e=0.5, alpha_f=0.2, beta_f=0.0)
    found = Explanation(
        x=torch.ones(4, 2),
        edge_index=torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]),
        edge_mask=torch.tensor([0.5, 0.9, 0.25, 0.0]),
        node_mask=torch.tensor([[1.0], [0.5], [0.4], [0.0]]),
        p_full=torch.tensor(0.9),
        p_suff=torch.tensor(0.75),
        p_nec=torch.tensor(0.5),
    )
    found.influencing_edge_mask = torch.tensor([True, True, True, False])
    found.index = torch.tensor([0])
    result = diagnose(explainer, found)
    edges, features = result.edges, result.features
    assert result.pns_gain == 0.25
    assert (edges.alpha, edges.beta, edges.entries, edges.matter, edges.kept) == (
        0.05,
        0.5,
        4,
        3,
        2,
    )
    assert edges.size_cost == pytest.approx(0.05 * 1.65)
    assert edges.per_kept == pytest.approx(0.05 * 1.65 / 2)
    entropy = -sum(m * math.log(m) for m in (0.5, 0.5, 0.9, 0.1, 0.25, 0.75))
    assert edges.entropy_cost == pytest.approx(0.5 / 4 * entropy)
    assert edges.settles_below == pytest.approx(0.05 * 4 / 0.5)
    assert (edges.start, edges.all_shrink) == (0.5, False)
    assert edges.most_beta == pytest.approx(0.05 * 4**1.5)
    assert (features.alpha, features.beta, features.matter, features.kept) == (0.2, 0.0, 4, 2)
    assert features.size_cost == pytest.approx(0.2 * 1.9)
    assert features.entropy_cost == 0
    assert features.settles_below == math.inf
    assert features.all_shrink
    assert result.size_cost == pytest.approx(0.05 * 1.65 + 0.2 * 1.9)
    # Initial logits are drawn by the size of the graph, whatever the mean entropy runs over.
    near = NSEGExplainer(alpha_e=0.05, beta_e=0.5, regulariser_scope="computation")
    edges = diagnose(near, found).edges
    assert (edges.entries, edges.start) == (3, 0.5)
    assert edges.most_beta == pytest.approx(0.05 * 3 / 0.5)
    assert edges.settles_below == pytest.approx(0.05 * 3 / 0.5)


@pytest.mark.parametrize("scope", ["graph", "computation"])
@pytest.mark.parametrize("level", ["node", "graph"])
def test_entries_without_influence_do_as_foretold(level: str, scope: str) -> None:
    model = network(level, scale=0.0)
    with torch.no_grad():
        model.classify.bias[1] = 1.0
    common = {"alpha_e": 0.01, "alpha_f": 0.01, "regulariser_scope": scope}
    first = diagnose(*explained(level, "joint", model, **common, epochs=1))
    for factor in (0.9, 10.0):
        result = diagnose(
            *explained(
                level,
                "joint",
                model,
                **common,
                beta_e=factor * first.edges.most_beta,
                beta_f=factor * first.features.most_beta,
                epochs=60,
                n_samples=(1, 1, 1),
            )
        )
        for price in (result.edges, result.features):
            assert price.settles_below == pytest.approx(price.start / factor)
            assert price.all_shrink == (factor < 1)
            assert (price.kept == 0) == (factor < 1)
        large = [line for line in result.advice if "is so large that random" in line]
        assert len(large) == (0 if factor < 1 else 2)


def advice(**changes: Any) -> str:
    masks = {"edge_mask": torch.tensor([0.9, 0.9, 0.1, 0.1] * 25)}
    prices = {"alpha_e": 0.001, "beta_e": 0.1, "alpha_f": 0.001, "beta_f": 0.01}
    told = {"p_full": 0.9, "p_suff": 0.9, "p_nec": 0.9}
    for given, defaults in itertools.product(changes, (masks, prices, told)):
        if given in defaults or (given == "node_mask" and defaults is masks):
            defaults[given] = changes[given]
    temperature = changes.get("temperature", 1.0)
    found = Explanation(
        x=torch.ones(100, 2),
        edge_index=torch.stack([torch.arange(100), (torch.arange(100) + 1) % 100]),
        **{name: mask for name, mask in masks.items() if mask is not None},
        **{name: torch.tensor(value) for name, value in told.items()},
    )
    for name in ("influencing_edge_mask", "index"):
        if name in changes:
            found[name] = changes[name]
    return "\n".join(diagnose(NSEGExplainer(temperature=temperature, **prices), found).advice)


def test_nothing_is_said_where_nothing_stands_out() -> None:
    assert advice() == ""
    assert advice(node_mask=torch.tensor([[0.9], [0.1]] * 50)) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"beta_e": 2.0},
            "beta_e = 2 is so large that random edges .* above logit 0.05 .* below 1.",
        ),
        ({"alpha_e": 0.0}, "alpha_e is 0"),
        (
            {"alpha_e": 0.15, "edge_mask": torch.eye(100)[0]},
            "alpha_e makes the size cost 0.15 for each kept edge, more than 0.1",
        ),
        ({"alpha_e": 0.02}, "the size costs 1, more than the 0.8 of PNS that it gains"),
        ({"edge_mask": torch.zeros(100)}, "no edge is kept: lower alpha_e"),
        ({"p_suff": 0.2, "p_nec": 0.7}, "holds without the explanation as much as with it"),
        ({"p_full": 1.0}, "temperature above 1"),
        (
            {"influencing_edge_mask": torch.zeros(100).bool(), "edge_mask": torch.zeros(100)},
            "the output depends on no edge",
        ),
        ({"node_mask": torch.zeros(100, 1)}, "no node is kept: lower alpha_f"),
        (
            {"node_mask": torch.ones(100, 1), "beta_f": 5.0, "edge_mask": None},
            "beta_f = 5 is so large that random nodes",
        ),
    ],
)
def test_advice(changes: dict[str, Any], message: str) -> None:
    [line] = advice(**changes).splitlines()
    assert re.search(message, line)


def test_a_temperature_already_above_1_is_not_recommended() -> None:
    assert advice(p_full=1.0, temperature=2.0) == ""


def test_advice_on_an_isolated_node() -> None:
    data = graph()
    data.x = torch.cat([data.x, data.x[:1]])
    explainer = NSEGExplainer(epochs=2)
    [found] = explainer.explain_nodes(network("node"), data, 14, progress=False)
    result = diagnose(explainer, found)
    assert (result.edges.matter, result.edges.kept, result.edges.size_cost) == (0, 0, 0)
    assert result.advice[0].startswith("the output depends on no edge")


def test_bad_input() -> None:
    explainer, found = explained("node", "edge", epochs=1)
    for other in (None, found, "nseg"):
        with pytest.raises(InputError, match="expected an NSEGExplainer"):
            diagnose(other, found)
    foreign = Explanation(x=found.x, edge_index=found.edge_index, edge_mask=found.edge_mask)
    with pytest.raises(InputError, match="no p_full; expected one of NSEGExplainer"):
        diagnose(explainer, foreign)
    with pytest.raises(InputError, match="the explanation is a list"):
        diagnose(explainer, [found])
