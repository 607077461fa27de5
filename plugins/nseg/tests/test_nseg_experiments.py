"""What `zoo reproduce nseg` computes: explainers side by side, their measures and the verdicts."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.explain import Explainer, Explanation, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

from zoo_core.errors import PluginError, ZooWarning
from zoo_core.experiment import Context, Experiment
from zoo_core.factories import import_string
from zoo_core.rows import Rows
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
    PG_EXPLAINER,
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
from zoo_nseg.training import graph_accuracy, initialised
from zoo_nseg.tu import read_tu

EXPLAINERS = [PNS, PS, PN, GNN_EXPLAINER, PG_EXPLAINER, RANDOM, EVERYTHING]
NAMED = {each.name: each for each in EXPERIMENTS}
SHORT = {"epochs": 12, "lr": 0.1, "alpha_e": 1e-3, "beta_e": 1e-3}


def chain(length: int, group: bool) -> tuple[list[int], list[tuple[int, int]]]:
    """Atoms and bonds of a chain, with or without a group of one N and two O at its end."""
    atoms = [0] * length
    bonds = [(place, place + 1) for place in range(length - 1)]
    if group:
        atoms += [1, 2, 2]
        bonds += [(length - 1, length), (length, length + 1), (length, length + 2)]
    return atoms, bonds


def write_tu(folder: Path, name: str, elements: int, number: int = 40) -> None:
    """Chains of which every second bears a group, whose bonds are the ground truth, class 0."""
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    lines: dict[str, list[str]] = {
        part: [] for part in ("A", "edge_gt", "graph_indicator", "graph_labels", "node_labels")
    }
    start = 1
    for place in range(number):
        atoms, bonds = chain(4 + place % 3, place % 2 == 0)
        # The last element is never seen otherwise, and gives the features their width.
        atoms[0] = elements - 1 if place < 4 else 0
        lines["graph_indicator"] += [str(place + 1)] * len(atoms)
        lines["graph_labels"].append(str(place % 2))
        lines["node_labels"] += [str(atom) for atom in atoms]
        for one, other in bonds:
            lines["A"] += [f"{start + one}, {start + other}", f"{start + other}, {start + one}"]
            lines["edge_gt"] += [str(int(atoms[other] in (1, 2)))] * 2
        start += len(atoms)
    for part, content in lines.items():
        (raw / f"{name}_{part}.txt").write_text("\n".join(content) + "\n")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Two seeds, and small data sets in the files of the real ones."""
    write_tu(tmp_path / mutag.FOLDER, "MUTAG", 7)
    write_tu(tmp_path / mutagenicity.FOLDER, "Mutagenicity", 10)
    write_tu(tmp_path / msrc21.FOLDER, "MSRC_21", 5)
    return Context(seeds=(0, 1), folder=tmp_path / "out", data_root=tmp_path)


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


@pytest.fixture(scope="module")
def molecules(tmp_path_factory: pytest.TempPathFactory) -> list[Data]:
    folder = tmp_path_factory.mktemp("molecules")
    write_tu(folder, "MUTAG", 7)
    return read_tu(folder, "MUTAG")


@pytest.fixture(scope="module")
def gin(molecules: list[Data]) -> tuple[GNN, list[Data], list[Data], float]:
    return comparison.trained(molecules, 0, epochs=15, **mutag.NETWORK)


def rows_of(experiment: Experiment, context: Context) -> list[dict[str, Any]]:
    """The rows, as `zoo reproduce` checks them."""
    rows = Rows(
        measures=experiment.measures,
        over=experiment.over,
        seeds=context.seeds,
        figure=experiment.figure,
    )
    for row in import_string(experiment.run)(context):
        rows.add(row)
    assert not rows.infinite
    return [dict(row) for row in rows.rows]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
def test_every_nseg_experiment_names_functions(experiment: Experiment) -> None:
    assert callable(import_string(experiment.run))
    assert experiment.check
    assert callable(import_string(experiment.check))


# The label's logic.


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


def logic_rows(**found: float) -> list[dict[str, Any]]:
    """Made-up rows in which a share of two seeds finds both causes; pns_and=0.5 changes one."""
    shares = {"pns_and": 1, "ps_and": 0.5, "pn_and": 0, "pns_or": 1, "ps_or": 0, "pn_or": 0.5}
    shares |= found
    return [
        {"seed": seed, "label": f"A {word} B", "alpha": alpha, "objective": objective}
        | {"both causes": seed < 2 * share}
        for alpha in logic.ALPHAS
        for key, share in shares.items()
        for objective, word in [key.split("_")]
        for seed in (0, 1)
    ]


def test_logic_holds_where_halves_fail() -> None:
    seen, why = logic.holds(logic_rows())
    assert seen
    assert "A or B, alpha 0.1: pns 100 %, ps 0 %, pn 50 %" in why
    assert not logic.holds(logic_rows(pns_and=0.5))[0]
    assert not logic.holds(logic_rows(pns_or=0.5))[0]
    assert not logic.holds(logic_rows(pn_and=1))[0]
    assert not logic.holds(logic_rows(ps_or=1))[0]


# What the experiments share.


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


def test_one_thread_only_meanwhile() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with comparison.one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


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


# Graphs, whole experiments at the size of a toy data set.


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


# Nodes.


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


# The official numbers.


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


def parity_rows(**changed: float) -> list[dict[str, Any]]:
    """Made-up rows; `single_masks=1` changes one of float32, `double_losses=1` of float64."""
    rows = [{"dtype": "float32", "logits": 5e-5, "losses": None, "masks": None}] + [
        {"dtype": dtype, "logits": 1e-6, "losses": 1e-6, "masks": masks}
        for dtype, masks in (("float32", 2e-5), ("float64", 1e-6))
    ]
    for key, value in changed.items():
        which, measure = key.split("_")
        rows[{"network": 0, "single": 1, "double": 2}[which]][measure] = value
    return rows


def test_parity_holds_within_rounding() -> None:
    seen, why = parity.holds(parity_rows())
    assert seen
    assert "masks in float32 2.0e-05 (limit 3e-05)" in why
    assert not parity.holds(parity_rows(network_logits=2e-4))[0]
    assert not parity.holds(parity_rows(single_masks=4e-5))[0]
    assert not parity.holds(parity_rows(double_masks=3e-5))[0]
    assert not parity.holds(parity_rows(double_losses=2e-5))[0]


# Verdicts.

Check = Callable[[Sequence[dict[str, Any]]], tuple[bool, str]]
MUTAG = {
    "charact": (0.84, 0.7, 0.5, 0.73, 0.8, 0.4, 0.86),
    "PNS lower bound": (0.6, 0.44, 0.29, 0.43, 0.5, 0.0, 0.7),
}
MUTAGENICITY = {
    "Fid+": (1, 1, 0.98, 1, 1, 0.98, 1),
    "Fid-": (0, 0, 1, 0, 0, 0.98, 0),
    "AUC": (0.73, 0.74, 0.52, 0.65, 0.8, 0.5, 0.5),
    "kept by the empty graph": (0,) * 7,
}
MSRC21 = {"charact": (0.955, 0.96, 0.95, 0.9, 0.92, 0.47, 0.91)}
TREES = {
    "charact": (0.96, 0.77, 0.93, 0.97, 0, 0.5, 0.95),
    "recall@K": (0.73, 0.65, 0.74, 0.62, 0, 0.6, 0.5),
}
HOUSES = {
    "Fid+": (1, 1, 1, 1, 0, 0.6, 1),
    "Fid-": (0, 0, 0.25, 0, 0, 0.9, 0),
    "recall@K": (0.82, 0.82, 0.81, 0.2, 0, 0.1, 0.1),
    "AUC": (0.99, 0.99, 0.99, 0.9, 0, 0.5, 0.5),
}
JOINT = {
    "soft PNS lower bound": (0.79, 0.68, 0.82, 0, 0, 0.1, 0),
    "soft Fid-": (0, 0, 0, 0, 0, 0.4, 0),
}


def made_up(
    numbers: dict[str, tuple[float, ...]], spread: float = 0.0, **also: str
) -> list[dict[str, Any]]:
    """Rows of two seeds with these means."""
    return [
        {"seed": seed, **also, "explainer": name}
        | {column: means[place] + (2 * seed - 1) * spread for column, means in numbers.items()}
        for seed in (0, 1)
        for place, name in enumerate(EXPLAINERS)
    ]


def changed(
    numbers: dict[str, tuple[float, ...]], column: str, name: str, value: float
) -> dict[str, tuple[float, ...]]:
    means = list(numbers[column])
    means[EXPLAINERS.index(name)] = value
    return {**numbers, column: tuple(means)}


@pytest.mark.parametrize(
    ("check", "numbers", "failures"),
    [
        (
            mutag.holds,
            MUTAG,
            [
                ("charact", GNN_EXPLAINER, 0.85),
                ("charact", PG_EXPLAINER, 0.85),
                ("PNS lower bound", PS, 0.61),
                ("charact", PNS, 0.79),
            ],
        ),
        (
            mutagenicity.holds,
            MUTAGENICITY,
            [
                ("Fid+", PNS, 0.8),
                ("Fid-", PNS, 0.2),
                ("Fid-", PN, 0.3),
                ("AUC", GNN_EXPLAINER, 0.74),
                ("AUC", RANDOM, 0.74),
            ],
        ),
        (
            msrc21.holds,
            MSRC21,
            [
                ("charact", PS, 0.97),
                ("charact", GNN_EXPLAINER, 0.956),
                ("charact", PN, 0.89),
                ("charact", RANDOM, 0.91),
            ],
        ),
    ],
    ids=["mutag", "mutagenicity", "msrc21"],
)
def test_verdicts_are_on_means_over_seeds(
    check: Check,
    numbers: dict[str, tuple[float, ...]],
    failures: list[tuple[str, str, float]],
) -> None:
    seen, why = check(made_up(numbers, spread=0.005))
    assert seen, why
    first = next(iter(numbers.values()))
    assert f"{PNS} {first[0]:.3f}" in why
    for failure in failures:
        assert not check(made_up(changed(numbers, *failure)))[0], failure


def test_verdict_on_motifs() -> None:
    def rows(trees: dict[str, Any] = TREES, houses: dict[str, Any] = HOUSES) -> Any:
        columns = {**HOUSES, **TREES}
        blank = dict.fromkeys(columns, (0.0,) * 7)
        return made_up({**blank, **trees}, network=motifs.TREES.name) + made_up(
            {**blank, **houses}, network=motifs.HOUSES.name
        )

    seen, why = motifs.holds(rows())
    assert seen, why
    assert "0.960" in why
    for failure in (
        ("charact", PN, 0.97),
        ("charact", PS, 0.97),
        ("recall@K", PS, 0.75),
        ("recall@K", PN, 0.8),
    ):
        assert not motifs.holds(rows(trees=changed(TREES, *failure)))[0], failure
    for failure in (
        ("recall@K", PNS, 0.7),
        ("AUC", PNS, 0.9),
        ("Fid+", PNS, 0.9),
        ("Fid-", PNS, 0.1),
    ):
        assert not motifs.holds(rows(houses=changed(HOUSES, *failure)))[0], failure


def test_verdict_on_joint_explanations() -> None:
    def rows(numbers: dict[str, tuple[float, ...]]) -> Any:
        blank = dict.fromkeys(numbers, (0.0,) * 7)
        return [
            row
            for kind in ("edge", "feature", "joint")
            for row in made_up(numbers if kind == "joint" else blank, type=kind)
        ]

    seen, why = joint.holds(rows(JOINT))
    assert seen, why
    assert f"soft Fid-, joint: {PNS} 0.000" in why
    for failure in (
        ("soft PNS lower bound", PS, 0.8),
        ("soft PNS lower bound", RANDOM, 0.7),
    ):
        assert not joint.holds(rows(changed(JOINT, *failure)))[0], failure
