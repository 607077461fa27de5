"""Explainers side by side: what all experiments share."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from nseg_experiment import write_tu
from torch_geometric.data import Data
from torch_geometric.explain import Explainer, Explanation, GNNExplainer

from zoo_core.errors import PluginError, ZooWarning
from zoo_core.experiment import Context
from zoo_nseg.experiments import comparison, mutag
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.networks import GNN
from zoo_nseg.synthetic import tree_cycles
from zoo_nseg.training import graph_accuracy, initialised
from zoo_nseg.tu import read_tu


@pytest.fixture(scope="module")
def molecules(tmp_path_factory: pytest.TempPathFactory) -> list[Data]:
    folder = tmp_path_factory.mktemp("molecules")
    write_tu(folder, "MUTAG", 7)
    return read_tu(folder, "MUTAG")


@pytest.fixture(scope="module")
def gin(molecules: list[Data]) -> tuple[GNN, list[Data], list[Data], float]:
    return comparison.trained(molecules, 0, epochs=15, **mutag.NETWORK)


def test_training_leaves_the_test_alone(
    molecules: list[Data], gin: tuple[GNN, list[Data], list[Data], float]
) -> None:
    network, train, test, accuracy = gin
    assert len(train) == 32
    assert {id(each) for each in train} | {id(each) for each in test} == set(map(id, molecules))
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert accuracy == graph_accuracy(network, test) > 0.9
    flipped = [each.clone() for each in molecules]
    for each, original in zip(flipped, molecules, strict=True):
        if any(original is one for one in test):
            each.y = 1 - each.y
    again, _, _, other = comparison.trained(flipped, 0, epochs=15, **mutag.NETWORK)
    for one, two in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert other == pytest.approx(1 - accuracy)


def test_gnn_explainer_is_that_of_torch_geometric(
    context: Context, gin: tuple[GNN, list[Data], list[Data], float]
) -> None:
    network, _, test, _ = gin
    ours = NSEGExplainer(epochs=1, kind="edge").explain_graphs(network, test[:2], progress=False)
    state = torch.get_rng_state()
    found = comparison.gnn_explanations(context, network, ours, epochs=7, lr=0.1, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    explainer = Explainer(
        copy.deepcopy(network),
        GNNExplainer(epochs=7, lr=0.1),
        explanation_type="model",
        edge_mask_type="object",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "graph",
            "return_type": "raw",
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for each, made in zip(test[:2], found, strict=True):
            expected = explainer(each.x, each.edge_index)
            assert torch.equal(made.edge_mask, expected.edge_mask)
            assert torch.equal(made.target, expected.target)
            assert made.get("p_suff") is None


def test_gnn_explainer_explains_the_same_nodes(context: Context) -> None:
    graph = tree_cycles(0)
    network = initialised(0, conv="gcn", in_channels=10, hidden_channels=[8, 8], num_classes=2)
    network.eval().requires_grad_(False)
    ours = NSEGExplainer(epochs=1, kind="edge").explain_nodes(
        network, graph, [520, 700], progress=False
    )
    found = comparison.gnn_explanations(context, network, ours, epochs=2, lr=0.1, seed=0)
    for one, other in zip(ours, found, strict=True):
        assert torch.equal(other.index, one.index)
        assert torch.equal(other.khop_edge_ids, one.khop_edge_ids)
        # Masks that get no gradient are 0: these are the edges that cannot matter.
        assert torch.equal(other.edge_mask > 0, one.influencing_edge_mask)


def test_pg_explainer_takes_the_price_that_does_best_in_training(
    context: Context,
    gin: tuple[GNN, list[Data], list[Data], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, train, test, _ = gin
    ours = NSEGExplainer(epochs=1, kind="edge").explain_graphs(network, test, progress=False)

    def explained(*prices: float) -> torch.Tensor:
        monkeypatch.setattr(comparison, "_PG_SIZES", prices)
        found = comparison.pg_explanations(context, network, train[:6], ours, seed=0, epochs=4)
        return torch.cat([each.edge_mask for each in found])

    state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    cheap, dear = explained(0.0), explained(100.0)
    assert cheap.mean() > 0.5 > dear.mean()
    # Nothing kept is never necessary, so that its charact is 0.
    for prices in ((0.0, 100.0), (100.0, 0.0)):
        assert torch.equal(explained(*prices), cheap)
        assert "edge price of 0.0 does best" in context.notes[-1]
    # What GNNExplainer leaves in the layers it explains would cut the masks' gradients.
    comparison.gnn_explanations(context, network, ours[:1], epochs=1, lr=0.1, seed=0)
    assert torch.equal(explained(0.0), cheap)
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)
    assert not any("_edge_mask" in layer._parameters for layer in network.convs)
    assert torch.equal(torch.get_rng_state(), state)


def test_random_masks_stay_where_messages_matter() -> None:
    reach = torch.tensor([True, False] * 50)
    edge_index = torch.zeros(2, 100, dtype=torch.long)
    other = Explanation(
        x=torch.ones(3, 1),
        edge_index=edge_index,
        edge_mask=torch.ones(100),
        node_mask=torch.ones(3, 1),
        influencing_edge_mask=reach,
        pns_lower=torch.tensor(1.0),
    )
    other._model_config = "its configuration"
    [found], [again], [differing] = (
        comparison.random_explanations([other], seed) for seed in (0, 0, 1)
    )
    assert torch.equal(found.edge_mask > 0, reach)
    assert 0.3 < found.edge_mask[reach].mean() < 0.7
    assert found.node_mask.shape == (3, 1)
    assert torch.equal(found.edge_mask, again.edge_mask)
    assert not torch.equal(found.edge_mask, differing.edge_mask)
    assert found.get("pns_lower") is None
    assert found._model_config == "its configuration"
    [both] = [found for name, [found] in comparison.trivial_explanations([other], 0)][1:]
    assert bool((both.edge_mask == 1).all())


def test_warnings_of_explainers_become_notes(context: Context) -> None:
    with comparison.noted(context, "seed 4"):
        for _ in range(2):
            warnings.warn("certain of 3 outputs", ZooWarning, stacklevel=1)
    assert context.notes == ["seed 4: certain of 3 outputs"]
    with pytest.warns(UserWarning, match="of another kind"), comparison.noted(context, "seed 4"):
        warnings.warn("of another kind", UserWarning, stacklevel=1)
    assert len(context.notes) == 1


def test_means_are_over_seeds_of_one_explainer() -> None:
    rows = [
        {"seed": seed, "network": network, "explainer": name, "AUC": value + seed}
        for seed in (0, 2)
        for network, name, value in (("a", "one", 1), ("a", "two", 3), ("b", "one", 100))
    ]
    assert comparison.means(rows, "AUC", network="a") == {"one": 2, "two": 4}
    assert comparison.listed({"one": 2, "two": 0.12345}) == "one 2.000, two 0.123"
    with pytest.raises(PluginError, match="null"):
        comparison.means([{**rows[0], "AUC": None}], "AUC")
