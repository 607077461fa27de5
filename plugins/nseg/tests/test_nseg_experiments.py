"""What `zoo reproduce nseg` computes, each experiment at the size of a toy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nseg_experiment import EXPLAINERS, NAMED, rows_of
from torch_geometric.data import Data
from torch_geometric.explain import Explanation
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

from zoo_core.experiment import Context, Experiment
from zoo_core.factories import import_string
from zoo_nseg.experiments import (
    EXPERIMENTS,
    comparison,
    joint,
    logic,
    motifs,
    msrc21,
    mutag,
    mutagenicity,
    parity,
)
from zoo_nseg.experiments.comparison import (
    EVERYTHING,
    GNN_EXPLAINER,
    OBJECTIVES,
    PN,
    PNS,
    PS,
    RANDOM,
)
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.graph_file import write_graph
from zoo_nseg.ground_truth import explanation_auc, recall_at_k
from zoo_nseg.networks import GNN
from zoo_nseg.official import to_official
from zoo_nseg.synthetic import tree_cycles
from zoo_nseg.training import initialised
from zoo_nseg.tu import read_tu

SHORT = {"epochs": 12, "lr": 0.1, "alpha_e": 1e-3, "beta_e": 1e-3}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps of everything."""
    for module in (mutag, mutagenicity, msrc21):
        monkeypatch.setattr(module, "EPOCHS", 20)
        monkeypatch.setattr(module, "CONFIG", SHORT)
    monkeypatch.setattr(joint, "CONFIG", {**SHORT, "alpha_f": 1e-3, "beta_f": 1e-3})
    monkeypatch.setattr(mutagenicity, "NUMBER", 2)
    monkeypatch.setattr(msrc21, "NUMBER", 3)
    monkeypatch.setattr(comparison, "_PG_GRAPHS", 3)
    monkeypatch.setattr(comparison.pg_explanations, "__kwdefaults__", {"epochs": 1})


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
def test_every_nseg_experiment_names_functions(experiment: Experiment) -> None:
    assert callable(import_string(experiment.run))
    assert experiment.check
    assert callable(import_string(experiment.check))


@pytest.mark.parametrize(("label", "needed"), [("A and B", 1.5), ("A or B", 0.5)])
def test_the_logit_is_that_of_the_first_two_weights(label: str, needed: float) -> None:
    network, data = logic.Logic(logic.LABELS[label]), logic.graph()
    weights = torch.tensor([0.3, 0.9, 0.5, 0.1, 0.7, 0.2])
    set_masks(network, weights, data.edge_index, apply_sigmoid=False)
    logit = network(data.x, data.edge_index)
    clear_masks(network)
    assert logit.shape == (1, 1)
    assert logit.item() == pytest.approx(10 * (0.3 + 0.9 - needed), abs=1e-5)


def test_logic_sorts_what_explanations_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: set[int] = set()

    class Fixed:
        def __init__(self, **settings: Any) -> None:
            assert settings["alpha_e"] == 0.05
            assert settings["beta_e"] == 0.1
            assert settings["seed"] == 3

        def explain_graphs(self, *_: Any, **__: Any) -> list[Explanation]:
            mask = torch.tensor([edge in kept for edge in range(6)])
            return [Explanation(hard_edge_mask=mask)]

    monkeypatch.setattr(logic, "NSEGExplainer", Fixed)
    for edges, expected in (
        ({0, 1}, "both causes"),
        ({0}, "one cause"),
        ({1}, "one cause"),
        (set(), "nothing"),
        ({0, 1, 4}, "anything else"),
        ({0, 4}, "anything else"),
        ({5}, "anything else"),
    ):
        kept = edges
        found = logic.explained("A and B", "pns", 0.05, 3)
        assert list(found) == list(logic.FOUND)
        assert [name for name, is_so in found.items() if is_so] == [expected]


def test_logic_of_one_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logic, "ALPHAS", (0.05,))
    monkeypatch.setattr(logic, "OBJECTIVES", ("pns", "pn"))
    monkeypatch.setitem(logic._SETTINGS, "epochs", 200)
    rows = rows_of(NAMED["logic"], Context(seeds=(1,), folder=tmp_path))
    assert [(row["label"], row["objective"], row["both causes"]) for row in rows] == [
        ("A and B", "pns", True),
        ("A and B", "pn", False),
        ("A or B", "pns", True),
        ("A or B", "pn", True),
    ]
    assert rows[1]["one cause"]
    for row in rows:
        assert (row["seed"], row["alpha"]) == (1, 0.05)
        assert sum(row[each] for each in logic.FOUND) == 1


@pytest.mark.parametrize("name", ["mutag", "mutagenicity", "msrc21"])
@pytest.mark.usefixtures("short")
def test_explainers_stand_side_by_side(name: str, context: Context) -> None:
    rows = rows_of(NAMED[name], context)
    assert [(row["seed"], row["explainer"]) for row in rows] == [
        (seed, explainer) for seed in (0, 1) for explainer in EXPLAINERS
    ]
    for row in rows:
        assert row["kept by the empty graph"] == rows[7 * row["seed"]]["kept by the empty graph"]
        if row["explainer"] == EVERYTHING:
            assert row["Fid-"] == row["soft Fid-"] == row["sparsity"] == 0
            assert row["Fid+"] == pytest.approx(1 - row["kept by the empty graph"])
            assert row["PNS lower bound"] == pytest.approx(row["soft PNS lower bound"])
    found = {row["explainer"]: row["soft PNS lower bound"] for row in rows[:7]}
    assert len(set(found.values())) == len(EXPLAINERS)
    check = NAMED[name].check
    assert check
    _, why = import_string(check)(rows)
    assert all(explainer in why for explainer in EXPLAINERS)


@pytest.mark.filterwarnings("ignore:the model is certain")
@pytest.mark.usefixtures("short")
def test_mutag_measures_what_it_says_and_draws(context: Context) -> None:
    first, *_ = (row for row in mutag.run(context) if row["seed"] == 0)
    graphs = read_tu(context.data(mutag.FOLDER), "MUTAG")
    network, _, test, accuracy = comparison.trained(graphs, 0, epochs=20, **mutag.NETWORK)
    assert first[comparison.ACCURACY] == accuracy
    lost: dict[str, list[bool]] = {"Fid+": [], "Fid-": []}
    bounds = []
    explainer = NSEGExplainer(**SHORT, objective="pns", kind="edge", seed=0)
    for each in explainer.explain_graphs(network, test, progress=False):
        chances = {}
        for measure, mask in (("Fid+", ~each.hard_edge_mask), ("Fid-", each.hard_edge_mask)):
            set_masks(network, mask.float(), each.edge_index, apply_sigmoid=False)
            logits = network(each.x, each.edge_index)[0]
            clear_masks(network)
            lost[measure].append(bool(logits.argmax() != each.label))
            chances[measure] = logits.softmax(0)[each.label].item()
        bounds.append(chances["Fid-"] - chances["Fid+"])
    for measure, labels in lost.items():
        assert first[measure] == pytest.approx(np.mean(labels))
    assert first["PNS lower bound"] == pytest.approx(np.mean(bounds), abs=1e-6)
    pictures = sorted(each.name for each in context.out.iterdir())
    assert pictures == [f"molecule-{place}.png" for place in range(4)]
    assert all((context.out / each).read_bytes()[:4] == b"\x89PNG" for each in pictures)


@pytest.mark.filterwarnings("ignore:the model is certain")
@pytest.mark.usefixtures("short")
def test_mutagens_that_are_recognised_are_explained(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def explained(
        _: Context, network: GNN, train: list[Data], graphs: list[Data], *__: Any
    ) -> Iterator[tuple[str, list[Explanation]]]:
        given.append((network, train, graphs))
        found = NSEGExplainer(epochs=1, kind="edge").explain_graphs(network, graphs, progress=False)
        for each, graph in zip(found, graphs, strict=True):
            each.edge_mask = graph.gt_edge_mask.float()
        yield "the truth", found
        for each in found:
            each.edge_mask = 1 - each.edge_mask
        yield "its opposite", found

    monkeypatch.setattr(mutagenicity, "graph_explanations", explained)
    rows = list(mutagenicity.run(context))
    assert [row["AUC"] for row in rows] == [1, 0, 1, 0]
    for network, train, graphs in given:
        assert len(graphs) == 2
        for each in (*train, *graphs):
            assert int(each.y) == 0 == int(network(each.x, each.edge_index).argmax())
            assert each.gt_edge_mask.sum() == 6
        assert not {id(each) for each in train} & {id(each) for each in graphs}


def test_only_mutagens_that_are_taken_for_such_are_recognised() -> None:
    class Taken(torch.nn.Module):
        def forward(self, x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            return x[:1]

    edges = torch.zeros(2, 0, dtype=torch.long)
    graphs = [
        Data(x=torch.eye(2)[[taken]], edge_index=edges, y=torch.tensor([label]))
        for label in (0, 1)
        for taken in (0, 1)
    ]
    [found] = mutagenicity.recognised(Taken(), graphs)
    assert found is graphs[0]


@pytest.mark.filterwarnings("ignore:the model is certain")
@pytest.mark.usefixtures("short")
def test_joint_explanations_change_features_to_those_of_training(context: Context) -> None:
    rows = rows_of(NAMED["joint"], context)
    assert [(row["type"], row["explainer"]) for row in rows[: len(rows) // 2]] == [
        (kind, name) for kind in ("edge", "feature", "joint") for name in (*OBJECTIVES, RANDOM)
    ]
    for row in rows:
        if row["type"] != "joint":
            assert row["Fid+ over the three cases"] == row["Fid+"]
    graphs = read_tu(context.data(mutag.FOLDER), "MUTAG")
    network, train, test, _ = comparison.trained(graphs, 1, epochs=20, **mutag.NETWORK)
    found = NSEGExplainer(**joint.CONFIG, objective="ps", kind="joint", seed=1).explain_graphs(
        network, test, reference=train, progress=False
    )
    [row] = [
        each for each in rows if (each["seed"], each["type"], each["explainer"]) == (1, "joint", PS)
    ]
    bound = np.mean([float(each.p_suff + each.p_nec - 1) for each in found])
    assert row["soft PNS lower bound"] == pytest.approx(bound, abs=1e-5)


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A small network in the files of the official code, and a graph with its cycles."""
    graph = tree_cycles(0)
    network = initialised(0, conv="gin", in_channels=10, hidden_channels=[6, 6], num_classes=2)
    folder = tmp_path / motifs.FOLDER
    folder.mkdir()
    state = {"model_state": to_official(network.state_dict())}
    torch.save(state, folder / "GIN_Tree-Cycles.pth")
    write_graph(graph, folder / "Tree-Cycles.npz")
    monkeypatch.setattr(motifs, "CASES", (motifs.Case("GIN", "Tree-Cycles", range(511, 600, 40)),))
    monkeypatch.setattr(motifs, "preset", lambda _: SHORT)
    return Context(seeds=(0, 1), folder=tmp_path / "out", data_root=tmp_path)


def own_motif(graph: Data, node: int) -> torch.Tensor:
    return (graph.motif_id == graph.motif_id[node])[graph.edge_index].all(0)


def test_motif_nodes_are_explained_and_compared_with_their_motif(official: Context) -> None:
    rows = rows_of(NAMED["motifs"], official)
    assert [(row["seed"], row["explainer"]) for row in rows] == [
        (seed, name) for seed in (0, 1) for name in (PNS, PS, PN, GNN_EXPLAINER, RANDOM, EVERYTHING)
    ]
    network, graph = motifs.official(official.data(motifs.FOLDER), motifs.CASES[0])
    assert not network.training
    nodes = [511, 551, 591]
    found = NSEGExplainer(**SHORT, objective="pn", kind="edge", seed=1).explain_nodes(
        network, graph, nodes, progress=False
    )
    recalls = [
        recall_at_k(each, own_motif(graph, node), 6)
        for each, node in zip(found, nodes, strict=True)
    ]
    [row] = [each for each in rows if (each["seed"], each["explainer"]) == (1, PN)]
    assert row["recall@K"] == pytest.approx(np.mean(recalls))
    for column, edges in (("AUC", "influencing"), ("AUC of the neighbourhood", "neighbourhood")):
        expected = [
            explanation_auc(each, own_motif(graph, node), edges=edges)
            for each, node in zip(found, nodes, strict=True)
        ]
        assert row[column] == pytest.approx(np.mean(expected))
    assert row["AUC"] != pytest.approx(row["AUC of the neighbourhood"])
    # Equal masks rank nothing; where all edges that matter are true there is nothing to rank.
    areas = [
        1.0 if own_motif(graph, node)[each.influencing_edge_mask].all() else 0.5
        for each, node in zip(found, nodes, strict=True)
    ]
    for row in rows:
        if row["explainer"] == EVERYTHING:
            assert row["AUC"] == pytest.approx(np.mean(areas))
            assert (row["sparsity"], row["Fid-"]) == (0, 0)


def official_numbers() -> Context:
    root = os.environ.get("ZOO_DATA")
    if not root or not Path(root, parity.FOLDER).is_dir():
        pytest.skip(f"needs ZOO_DATA with {parity.FOLDER}")
    return Context(seeds=(), folder=Path("unused"), data_root=Path(root))


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    folder = official_numbers().data(parity.FOLDER)
    with np.load(folder / "golden.npz", allow_pickle=False) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_parity_of_logits(suffix: str, golden: dict[str, torch.Tensor]) -> None:
    folder = official_numbers().data(parity.FOLDER)
    case = ("GIN Tree-Cycles", "Tree-Cycles", suffix)
    row = parity._network(folder, *case, golden)
    assert row["logits"] <= 1e-4
    assert (row["losses"], row["masks"]) == (None, None)
    for part in ("full", "masked"):
        key = f"logits/GIN/Tree-Cycles/{part}"
        other = golden[key].clone()
        other[5, 1] += 0.25
        assert parity._network(folder, *case, {**golden, key: other})["logits"] == pytest.approx(
            0.25, abs=1e-3
        )


def test_parity_of_searches(golden: dict[str, torch.Tensor]) -> None:
    case = ("joint", "pns", torch.float64)
    row = parity._search(golden, *case)
    assert row["logits"] <= 1e-4
    assert row["losses"] <= 1e-5
    assert row["masks"] <= 1e-5
    for name, measure in (("mask_e", "masks"), ("mask_f", "masks"), ("loss", "losses")):
        key = f"graph/GCN/7/ef/pns/{name}"
        other = golden[key].clone()
        other[3] += 0.5
        assert parity._search({**golden, key: other}, *case)[measure] > 0.4
