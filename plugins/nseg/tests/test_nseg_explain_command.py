"""`zoo explain` finds what the explainer finds, and refuses before any work."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from nseg_explaining import NODES, QUICK, ring, saved
from torch import nn
from torch_geometric.nn import GINEConv, GraphConv

import zoo
from zoo_core.cli import main
from zoo_core.errors import ConfigError, InputError, SaveError, UnknownNameError, ZooError
from zoo_nseg import NSEGExplainer, explain_data
from zoo_nseg.fidelity import fidelity_pm
from zoo_nseg.graph_file import write_graph
from zoo_nseg.tu import read_tu


@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
def test_nodes_are_explained_as_by_the_explainer(kind, explain, node_model, graph_file):
    found = explain(
        *("--model", node_model, "--data", graph_file, "--index", "9,2-4", "--kind", kind)
    )
    graph = explain_data.read(graph_file).graphs[0]
    model = zoo.load(node_model)
    expected = NSEGExplainer(**QUICK).explain_nodes(model, graph, [9, 2, 3, 4], kind=kind)
    names = {"edge": ["edge_mask"], "feature": ["node_mask"], "joint": ["edge_mask", "node_mask"]}
    keys = {f"{index}.{name}" for index in (9, 2, 3, 4) for name in names[kind]} | {"edge_index"}
    keys |= set() if kind == "edge" else {"x_cf"}
    assert set(found.tensors) == keys
    assert found.tensors["edge_index"].equal(graph.edge_index)
    if kind != "edge":
        assert found.tensors["x_cf"].equal(expected[0].x_cf)
    for index, each in zip((9, 2, 3, 4), expected, strict=True):
        for name in names[kind]:
            assert found.tensors[f"{index}.{name}"].equal(each[name])
    measured = ("p_full", "p_suff", "p_nec", "pns_lower", "pns_upper")
    for index, each, entry in zip((9, 2, 3, 4), expected, found.report["instances"], strict=True):
        assert entry["index"] == index
        assert entry["label"] == int(each.label) == int(each.target[index])
        assert entry["true_label"] == index % 3
        assert [entry[name] for name in measured] == [float(each[name]) for name in measured]
        if kind != "feature":
            kept = (each.edge_mask >= 0.5).nonzero().flatten().tolist()
            pairs = [graph.edge_index[:, edge].tolist() for edge in kept]
            assert entry["hard_edges"] == pairs
            assert entry["edges_kept"] == len(pairs)
            assert entry["edges"] == int(each.influencing_edge_mask.sum()) < graph.num_edges
        if kind != "edge":
            kept = (each.node_mask[:, 0] >= 0.5).nonzero().flatten().tolist()
            assert entry["hard_nodes"] == kept
            assert entry["nodes_kept"] == len(kept)
    assert found.report["task_level"] == "node"
    assert found.report["data"] == "ring.npz"
    assert found.report["settings"]["kind"] == kind


def test_graphs_are_explained_with_all_graphs_as_reference(explain, graph_model, collection):
    found = explain(
        *("--model", graph_model, "--data", collection, "--index", "4,1"), name="nseg-joint"
    )
    graphs = read_tu(collection, "PATHS")
    model = zoo.load(graph_model)
    explainer = NSEGExplainer(kind="joint", **QUICK)
    expected = explainer.explain_graphs(model, [graphs[4], graphs[1]], reference=graphs)
    for index, each in zip((4, 1), expected, strict=True):
        for name in ("edge_mask", "node_mask", "edge_index", "x_cf"):
            assert found.tensors[f"{index}.{name}"].equal(each[name])
    assert len(found.tensors) == 8
    # Among its own nodes alone, those of element 0 would become 2.
    assert found.tensors["4.x_cf"].argmax(1).tolist() == [1] * 7
    labels = [(entry["index"], entry["true_label"]) for entry in found.report["instances"]]
    assert labels == [(4, 1), (1, 0)]
    assert [entry["edges"] for entry in found.report["instances"]] == [12, 6]
    for mask, hard in (("hard", True), ("soft", False)):
        assert found.report["fidelity"][mask] == asdict(fidelity_pm(model, expected, hard=hard))
    mean = sum(float(each.pns_lower) for each in expected) / 2
    assert found.report["means"]["pns_lower"] == pytest.approx(mean)
    kept = sum(int(each.hard_edge_mask.sum()) for each in expected) / 2
    assert found.report["means"]["edges_kept"] == kept


def test_a_single_logit(explain, graph_file):
    model = saved("single", 4, conv="gcn", in_channels=4, task_level="node", num_classes=1)
    options = ("--model", model, "--data", graph_file, "--index", "0-13")
    found = explain(*options, "--mode", "binary_classification")
    graph = explain_data.read(graph_file).graphs[0]
    logits = zoo.load(model)(graph.x, graph.edge_index).flatten().tolist()
    for logit, entry in zip(logits, found.report["instances"], strict=True):
        assert entry["label"] == (logit > 0)
        expected = torch.tensor(abs(logit)).sigmoid().item()
        assert entry["p_full"] == pytest.approx(expected, rel=1e-5)


def test_a_graph_as_one_instance(explain, folder):
    model = saved("whole", 5, conv="gin", in_channels=4, task_level="graph")
    write_graph(ring(), "ring.npz")
    found = explain("--model", model, "--data", "ring.npz", "--all")
    assert found.report["task_level"] == "graph"
    assert [entry["index"] for entry in found.report["instances"]] == [0]
    assert "true_label" not in found.report["instances"][0]


class Bonds(nn.Module):
    """Takes edge_attr and no batch; says nothing of its task."""

    def __init__(self, width=3):
        super().__init__()
        torch.manual_seed(0)
        self.conv = GINEConv(nn.Linear(width, 8), edge_dim=2)
        self.last = nn.Linear(8, 2)

    def forward(self, x, edge_index, edge_attr):
        return self.last(self.conv(x, edge_index, edge_attr).relu()).sum(0, keepdim=True)


@pytest.mark.filterwarnings("ignore:.*cannot be run on graphs side by side")
def test_further_arguments_in_the_precision_of_the_model(explain, loads, graph_model, collection):
    loads(graph_model, Bonds().double())
    options = ("--model", graph_model, "--data", collection, "--index", "2")
    found = explain(*options, "--arguments", "edge_attr")
    assert found.report["task_level"] == "graph"
    assert found.tensors["2.edge_mask"].dtype == torch.float64
    [graph] = [read_tu(collection, "PATHS")[2]]
    logits = Bonds().double()(graph.x.double(), graph.edge_index, graph.edge_attr.double())
    [entry] = found.report["instances"]
    assert entry["p_full"] == pytest.approx(logits.softmax(-1).max().item(), rel=1e-6)
    with pytest.raises(InputError, match=r"has no attribute 'bonds'.*edge_attr"):
        explain(*options, "--arguments", "bonds")


def test_models_that_do_not_run(explain, loads, graph_model, collection):
    loads(graph_model, Bonds())
    with pytest.raises(InputError, match=r"Bonds fails on x, edge_index as given.*TypeError"):
        explain("--model", graph_model, "--data", collection, "--index", "2")


def test_graphs_of_other_features(explain, graph_model, graph_file):
    with pytest.raises(InputError, match=r"x is float32 \[14, 4\]; expected .*3\]"):
        explain("--model", graph_model, "--data", graph_file, "--index", "0")


def test_what_the_model_classifies(explain, loads, node_model, graph_model, graph_file, collection):
    with pytest.raises(InputError, match=r"--task-level is graph, but the model classifies nodes"):
        explain(
            *("--model", node_model, "--data", graph_file, "--index", "0"),
            *("--task-level", "graph"),
        )
    with pytest.raises(InputError, match=r"PATHS holds 5 graphs; expected one graph"):
        explain("--model", node_model, "--data", collection, "--index", "0")
    loads(node_model, GraphConv(4, 3))
    found = explain("--model", node_model, "--data", graph_file, "--index", "0")
    assert found.report["task_level"] == "node"
    with pytest.raises(InputError, match=r"output for one graph has 14 rows"):
        explain(
            *("--model", node_model, "--data", graph_file, "--index", "0"),
            *("--task-level", "graph"),
        )


def test_no_other_features(explain, node_model, folder):
    graph = ring()
    graph.x = torch.ones(NODES, 4)
    write_graph(graph, "same.npz")
    options = ("--model", node_model, "--data", "same.npz", "--index", "1", "--kind", "feature")
    with pytest.raises(InputError, match="no different row"):
        explain(*options)
    with pytest.warns(zoo.ZooWarning, match="zeros take its place"):
        found = explain(*options, "--fallback", "zeros")
    assert found.tensors["x_cf"].equal(torch.zeros(NODES, 4))
    assert found.report["settings"]["fallback"] == "zeros"


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["--set", "epochs"], InputError, "expected key=value"),
        (["--set", "=3"], InputError, "expected key=value"),
        (["--set", "seed=1", "--set", "seed=2"], InputError, "gives seed twice"),
        (["--set", "epoch=3"], ConfigError, "takes no argument 'epoch'.*epochs"),
        (["--set", "noise=-1"], InputError, "noise is -1"),
        (["--set", "noise=NaN"], InputError, "noise is nan"),
        (["--set", "objective=pnss"], InputError, "objective is 'pnss'"),
        (["--set", "pretrained=false"], InputError, "pretrained: that is no setting"),
        (["--set", "name=nseg"], InputError, "name: that is no setting"),
        (["--all"], InputError, "either --index"),
        (["--out", "."], SaveError, "working folder"),
        (["--out", ".."], SaveError, "working folder"),
        (["--out", ""], SaveError, "working folder"),
        (["--data", "nowhere"], InputError, "nowhere does not exist"),
        (["--data", "ba-shape"], InputError, "Did you mean ba-shapes"),
        (["--data", "."], InputError, "holds no NAME/raw/NAME_A.txt"),
        (["--data", "nodes/config.json"], InputError, r"config\.json is no \.npz file"),
        (["--data", "bad.npz"], InputError, r"bad\.npz cannot be read"),
        (["--model", "./nowhere"], UnknownNameError, "nowhere does not exist"),
        (["--model", "nseg"], ZooError, "nseg is of kind explainer; .*needs a model here"),
        (["--return-type", "probs"], InputError, "said to return probs"),
        (["--device", "nonsense"], ConfigError, "device 'nonsense' cannot be used"),
    ],
)
def test_refused_before_any_work(
    arguments, error, said, explain, node_model, graph_file, folder, monkeypatch
):
    (folder / "bad.npz").write_bytes(b"PK no zip")
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr("zoo_nseg.explainer.solve", lambda *_, **__: pytest.fail("it worked"))
    # Of an option that is given twice, the last counts.
    options = ["--model", node_model, "--data", graph_file, "--index", "0", *arguments]
    with pytest.raises(error, match=said) as raised:
        explain(*options, quick=False)
    assert str(raised.value).isprintable()
    assert sorted(folder.rglob("*")) == before


def test_neither_index_nor_all(explain, node_model, graph_file):
    with pytest.raises(InputError, match="give either --index"):
        explain("--model", node_model, "--data", graph_file)


def test_what_is_no_explainer_or_not_trained(explain, node_model, graph_file):
    options = ("--data", graph_file, "--index", "0")
    with pytest.raises(ZooError, match=r"kind model; zoo explain needs an explainer here"):
        explain("--model", node_model, *options, name=node_model)
    with pytest.raises(UnknownNameError, match="Did you mean"):
        explain("--model", node_model, *options, name="nsegg")
    config = Path(node_model) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "tensors": None}))
    with pytest.raises(ZooError, match="has no weights; train it"):
        explain("--model", node_model, *options)


def test_explainers_of_other_makers(explain, loads, node_model, graph_file):
    loads("nseg", nn.Identity())
    with pytest.raises(InputError, match="nseg is a Identity; expected an NSEGExplainer"):
        explain("--model", node_model, "--data", graph_file, "--index", "0", quick=False)


def test_a_saved_explainer(explain, node_model, graph_file):
    zoo.save(zoo.load("nseg-feature", epochs=3), "mine")
    options = ("--model", node_model, "--data", graph_file, "--index", "0")
    found = explain(*options, name="./mine", quick=False)
    assert found.report["settings"].items() >= {"kind": "feature", "epochs": 3}.items()


def test_pictures_without_matplotlib(explain, node_model, graph_file, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="matplotlib"):
        explain("--model", node_model, "--data", graph_file, "--index", "0", "--figure")


def test_errors_are_one_line_and_exit_with_2(node_model, graph_file, monkeypatch, capsys):
    arguments = ["explain", "nseg", "--model", node_model, "--data", graph_file, "--index", "99"]
    monkeypatch.setattr(sys, "argv", ["zoo", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "zoo: --index names node 99; expected nodes from 0 to 13.\n"
