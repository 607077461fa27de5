"""`zoo explain` writes and prints what the explainer finds, and refuses before any work."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GINEConv, GraphConv

import zoo
from zoo_core.cli import build, main
from zoo_core.errors import ConfigError, InputError, SaveError, UnknownNameError, ZooError
from zoo_nseg import NSEGExplainer, explain_data, explain_report, pictures
from zoo_nseg.errors import IndexOutOfRangeError
from zoo_nseg.fidelity import fidelity_pm
from zoo_nseg.graph_file import write_graph
from zoo_nseg.training import initialised
from zoo_nseg.tu import read_tu

QUICK = {"epochs": 12, "lr": 0.1, "beta_e": 0.01, "beta_f": 0.01}
SET = [part for name, value in QUICK.items() for part in ("--set", f"{name}={value}")]
NODES = 14


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder: explanations are written below it."""
    for name in ("ZOO_PLUGINS", "ZOO_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(name: str, seed: int, **config) -> str:
    """A folder of zoo.save with random weights, neither too sure nor too unsure of its labels."""
    config = {"hidden_channels": [6, 5], "num_classes": 3, **config}
    model = initialised(seed, **config)
    with torch.no_grad():
        model.classify.weight.mul_({"node": 3.0, "graph": 0.3}[config["task_level"]])
    card = "nseg-gcn-ba-shapes" if config["task_level"] == "node" else "nseg-gin-mutag"
    zoo.save(model, name, name=card, config=config)
    return f"./{name}"


@pytest.fixture
def node_model(folder):
    return saved("nodes", 1, conv="gcn", in_channels=4, task_level="node")


@pytest.fixture
def graph_model(folder):
    return saved("graphs", 2, conv="gin", in_channels=3, task_level="graph")


def ring(nodes: int = NODES, features: int = 4) -> Data:
    """A ring in which each node has features of its own, both directions of every edge."""
    ends = torch.arange(nodes)
    there = torch.stack([ends, (ends + 1) % nodes])
    generator = torch.Generator().manual_seed(0)
    return Data(
        x=torch.rand(nodes, features, generator=generator),
        edge_index=torch.cat([there, there.flip(0)], dim=1),
    )


@pytest.fixture
def graph_file(folder):
    """An .npz with labels, two motifs and their edges."""
    graph = ring()
    graph.y = torch.arange(NODES) % 3
    graph.motif_id = torch.tensor([0] * 4 + [1] * 4 + [-1] * (NODES - 8))
    source, target = graph.motif_id[graph.edge_index]
    graph.gt_edge_mask = (source == target) & (source >= 0)
    write_graph(graph, "ring.npz")
    return "ring.npz"


def write_collection(root: Path, name: str, edge_truth: bool = False) -> Path:
    """Five molecules of three elements in the TU layout: paths of 3 to 7 nodes."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    edges, graph_of, elements, bonds, first = [], [], [], [], 1
    for graph, size in enumerate((3, 4, 5, 6, 7), start=1):
        for node in range(first, first + size - 1):
            edges += [(node, node + 1), (node + 1, node)]
            bonds += [node % 2, node % 2]
        graph_of += [graph] * size
        elements += [graph % 3] + [int(graph < 5)] * (size - 1)
        first += size
    tables = {
        "A": [f"{u}, {v}" for u, v in edges],
        "graph_indicator": graph_of,
        "graph_labels": [1, -1, 1, -1, 1],
        "node_labels": elements,
        "edge_labels": bonds,
    }
    if edge_truth:
        tables["edge_gt"] = [int(bond == 1) for bond in bonds]
    for part, lines in tables.items():
        (raw / f"{name}_{part}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root


@pytest.fixture
def collection(folder):
    return str(write_collection(folder / "data", "PATHS"))


@pytest.fixture
def explain(capsys):
    """Runs the command quickly; returns its folder, the report, and the printed rows."""

    def run(*arguments, out="explanations", name="nseg", quick=True):
        default = [] if out == "explanations" else ["--out", out]
        options = [*arguments, *default, *(SET if quick else [])]
        build()(["explain", name, *options], standalone_mode=False)
        printed = capsys.readouterr().out
        report = json.loads((Path(out) / "report.json").read_text())
        return SimpleNamespace(
            folder=Path(out),
            report=report,
            tensors=load_file(Path(out) / "masks.safetensors"),
            rows=[line.split("\t") for line in printed.splitlines()],
            printed=printed,
        )

    return run


@pytest.fixture
def loads(monkeypatch):
    """Lets a name load a network of the test's own."""

    def instead(name, network):
        real = zoo.load
        network.eval().zoo = SimpleNamespace(name="a/network", weights=None, config={})

        def found(given, **options):
            return network if given == name else real(given, **options)

        monkeypatch.setattr("zoo_core.loading.load", found)

    return instead


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


def test_the_report_says_what_it_was_made_with(explain, graph_model, collection):
    found = explain(
        *("--model", graph_model, "--data", collection, "--index", "0"),
        *("--set", "objective=ps", "--set", "n_samples=[1, 3, 1]", "--set", "symmetric=True"),
    )
    report = found.report
    assert report["explainer"] == "nseg/nseg"
    assert report["settings"].items() >= {**QUICK, "objective": "ps", "symmetric": True}.items()
    assert report["settings"]["n_samples"] == [1, 3, 1]
    assert report["settings"]["fallback"] == "error"
    assert report["model"]["name"] == "nseg/nseg-gin-mutag"
    assert report["model"]["config"]["hidden_channels"] == [6, 5]
    assert report["environment"]["zoo-nseg"]
    assert report["environment"]["packages"]["torch"] == torch.__version__
    assert report["files"] == ["masks.safetensors", "report.json"]
    assert str(Path.cwd()) not in json.dumps(report)


def test_what_is_printed_is_what_is_written(explain, graph_model, collection, folder):
    options = ("--model", graph_model, "--data", collection, "--all", "--kind", "joint")
    shown = explain(*options)
    report = shown.report
    assert [entry["index"] for entry in report["instances"]] == [0, 1, 2, 3, 4]
    for entry, row in zip(report["instances"], shown.rows[:5], strict=True):
        assert row == [
            str(entry["index"]),
            str(entry["label"]),
            *(f"{entry[name]:.3f}" for name in ("p_full", "p_suff", "p_nec")),
            f"{entry['pns_lower']:.3f} to {entry['pns_upper']:.3f}",
            f"{entry['edges_kept']} of {entry['edges']}",
            str(entry["nodes_kept"]),
        ]
    assert shown.rows[5][:3] == ["mean", "", f"{report['means']['p_full']:.3f}"]
    assert shown.rows[5][6:] == [
        f"{report['means'][name]:.1f}" for name in ("edges_kept", "nodes_kept")
    ]
    hard, soft = report["fidelity"]["hard"], report["fidelity"]["soft"]
    assert shown.rows[6:] == [
        [label, f"{hard[name]:.3f}", f"{soft[name]:.3f}"]
        for label, name in (
            ("fidelity+", "plus"),
            ("fidelity-", "minus"),
            ("charact", "charact"),
            ("kept by the empty graph", "empty"),
        )
    ]
    as_json = explain(*options, "--json")
    assert json.loads(as_json.printed) == report == as_json.report


def test_pictures_are_drawn_with_the_truth_of_the_motif(
    explain, node_model, graph_file, monkeypatch
):
    drawn = {}
    real = pictures.save_picture

    def spied(path, explanation, **options):
        drawn[path.name] = options
        real(path, explanation, **options)

    monkeypatch.setattr(pictures, "save_picture", spied)
    found = explain(*("--model", node_model, "--data", graph_file, "--index", "2,5,12", "--figure"))
    assert found.report["files"] == [
        *("masks.safetensors", "report.json", "2.png", "5.png", "12.png")
    ]
    for name in ("2.png", "5.png", "12.png"):
        assert (found.folder / name).read_bytes().startswith(b"\x89PNG")
    graph = explain_data.read(graph_file).graphs[0]
    for name, motif in (("2.png", range(4)), ("5.png", range(4, 8)), ("12.png", ())):
        ends = graph.edge_index.T.tolist()
        expected = [u in motif and v in motif for u, v in ends]
        assert drawn[name]["truth"].tolist() == expected
        assert "atoms" not in drawn[name]


def test_molecules_are_drawn_as_such(explain, folder, monkeypatch):
    write_collection(folder / "data", "Mutagenicity", edge_truth=True)
    model = saved("molecules", 3, conv="gin", in_channels=3, task_level="graph")
    monkeypatch.setattr(explain_data, "ATOMS", {"mutagenicity": ("C", "O", "N")})
    drawn = []
    monkeypatch.setattr(pictures, "save_picture", lambda *given, **options: drawn.append(options))
    explain("--model", model, "--data", "data/Mutagenicity", "--index", "3,0", "--figure")
    assert [each["atoms"] for each in drawn] == ["mutagenicity"] * 2
    first = 1 + 3 + 4 + 5  # of graph 3, which the text files number from 1
    expected = [(first + bond) % 2 == 1 for bond in range(5) for _ in range(2)]
    graph = explain_data.read("data").graphs[3]
    listed = sorted(
        zip([e for b in range(5) for e in ((b, b + 1), (b + 1, b))], expected, strict=True)
    )
    assert [tuple(pair) for pair in graph.edge_index.T.tolist()] == [pair for pair, _ in listed]
    assert drawn[0]["truth"].tolist() == [true for _, true in listed]
    assert drawn[1]["truth"].shape == (4,)
    assert not drawn[1]["truth"].any()  # a graph of the other class has no marks


def test_features_of_other_widths_are_no_molecules(folder):
    write_collection(folder / "data", "MUTAG")
    assert explain_data.read("data").atoms is None


def test_real_molecules(explain, folder):
    if "ZOO_DATA" not in os.environ:
        pytest.skip("needs nseg-mutag in the folder that ZOO_DATA names")
    data = Path(os.environ["ZOO_DATA"]) / "nseg-mutag"
    model = saved("mutag", 0, conv="gin", in_channels=7, task_level="graph", num_classes=2)
    found = explain("--model", model, "--data", str(data), "--index", "0,187", "--figure")
    assert explain_data.read(str(data)).atoms == "mutag"
    assert [entry["edges"] for entry in found.report["instances"]] == [
        read_tu(data, "MUTAG")[index].num_edges for index in (0, 187)
    ]
    assert {"0.png", "187.png"} <= {path.name for path in found.folder.iterdir()}


def test_synthetic_sets_by_name(explain, folder):
    model = saved("ba", 0, conv="gcn", in_channels=10, task_level="node", num_classes=4)
    found = explain("--model", model, "--data", "ba-shapes", "--index", "300")
    assert found.report["instances"][0]["true_label"] == 1
    assert found.tensors["edge_index"].shape == (2, 4110)
    for name, nodes in (("tree-cycles", 871), ("tree-grid", 1231)):
        assert explain_data.read(name).graphs[0].num_nodes == nodes


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", [3]), ("3,7,10-12", [3, 7, 10, 11, 12]), (" 2 , 0-3", [2, 0, 1, 3]), ("4,4-4", [4])],
)
def test_indices_in_the_order_given_each_once(text, expected):
    assert explain_data.chosen(explain_data.parsed(text), 13, "node") == expected


@pytest.mark.parametrize("text", ["", ",", "3,", "-1", "5-3", "1-2-3", "a", "1.5", "٣", "9" * 30])
def test_indices_that_are_none(text):
    with pytest.raises(InputError, match=r"--index has .* expected numbers and ranges"):
        explain_data.parsed(text)


@pytest.mark.parametrize("text", ["5", "2-5", f"0-{10**17}"])
def test_indices_that_are_not_there(text, explain, graph_model, collection, folder):
    with pytest.raises(IndexOutOfRangeError, match=r"expected graphs from 0 to 4"):
        explain("--model", graph_model, "--data", collection, "--index", text)
    assert not (folder / "explanations").exists()


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
    with pytest.raises(InputError, match=r"a Bonds, does not run on these graphs \(TypeError"):
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


class Interrupt(BaseException):
    """As a KeyboardInterrupt, which typer would turn into an exit code."""


class TestFolder:
    """What becomes of the folder that is written."""

    @pytest.fixture
    def options(self, node_model, graph_file):
        return ("--model", node_model, "--data", graph_file, "--index")

    def test_an_empty_one_and_one_of_ours_are_taken(self, options, explain, folder):
        (folder / "o").mkdir()
        explain(*options, "1,3", "--figure", out="o")
        assert sorted(path.name for path in (folder / "o").iterdir()) == [
            *("1.png", "3.png", "masks.safetensors", "report.json")
        ]
        found = explain(*options, "2", out="o")
        assert sorted(path.name for path in (folder / "o").iterdir()) == [
            *("masks.safetensors", "report.json")
        ]
        assert set(found.tensors) == {"2.edge_mask", "edge_index"}
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("report.json", "{}"),
            ("report.json", '{"made_by": "zoo explain", "files": 3}'),
            ("report.json", '{"made_by": "someone", "files": ["report.json"]}'),
            ("report.json", "not JSON"),
            ("report.json", "[" * 100_000),
            ("notes.txt", "mine"),
        ],
    )
    def test_one_of_others_is_left_alone(self, name, content, options, explain, folder):
        (folder / "o").mkdir()
        (folder / "o" / name).write_text(content)
        with pytest.raises(SaveError, match=rf"o holds {name}, which is not of zoo explain"):
            explain(*options, "1", out="o")
        assert (folder / "o" / name).read_text() == content

    def test_a_file_of_the_users_among_ours_is_not_lost(self, options, explain, folder):
        explain(*options, "1", out="o")
        (folder / "o" / "notes.txt").write_text("mine")
        with pytest.raises(SaveError, match=r"o holds notes\.txt"):
            explain(*options, "1", out="o")
        assert (folder / "o" / "notes.txt").read_text() == "mine"

    def test_a_file_or_a_place_below_one(self, options, explain, folder):
        (folder / "file").write_text("mine")
        with pytest.raises(SaveError, match="file exists and is not a folder"):
            explain(*options, "1", out="file")
        with pytest.raises(SaveError, match=r"cannot write .*Name a folder with --out"):
            explain(*options, "1", out="file/below")
        assert (folder / "file").read_text() == "mine"

    def test_a_link_is_followed(self, options, explain, folder):
        (folder / "real").mkdir()
        (folder / "link").symlink_to("real")
        explain(*options, "1", out="link")
        assert (folder / "link").is_symlink()
        assert (folder / "real" / "report.json").is_file()

    @pytest.mark.parametrize("error", [Interrupt, OSError, RuntimeError])
    @pytest.mark.parametrize("where", ["described", "write"])
    def test_an_interrupted_run_leaves_the_last_one(
        self, error, where, options, explain, folder, monkeypatch
    ):
        explain(*options, "1", out="o")
        before = {path.name: path.read_bytes() for path in (folder / "o").iterdir()}

        def fail(*_, **__):
            raise error

        monkeypatch.setattr(explain_report, where, fail)
        with pytest.raises(SaveError if error is OSError else error):
            explain(*options, "2", out="o")
        assert {path.name: path.read_bytes() for path in (folder / "o").iterdir()} == before
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]

    def test_others_may_read_what_is_written(self, options, explain, folder):
        found = explain(*options, "1", out="o")
        (folder / "usual").touch()
        usual = (folder / "usual").stat().st_mode
        assert {path.stat().st_mode for path in found.folder.iterdir()} == {usual}


def test_errors_are_one_line_and_exit_with_2(node_model, graph_file, monkeypatch, capsys):
    arguments = ["explain", "nseg", "--model", node_model, "--data", graph_file, "--index", "99"]
    monkeypatch.setattr(sys, "argv", ["zoo", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "zoo: --index names node 99; expected nodes from 0 to 13.\n"


def test_the_masks_do_not_share_memory_with_the_matcher():
    """Rows of one tensor, as the matcher gives for several graphs, are saved each by itself."""
    rows = torch.arange(6.0).reshape(6, 1)
    explanations = [{"x_cf": part, "edge_mask": part[:, 0]} for part in rows.split([2, 4])]
    found = explain_report.tensors([7, 8], explanations, shared=False)
    assert set(found) == {"7.x_cf", "7.edge_mask", "8.x_cf", "8.edge_mask"}
    starts = {each.untyped_storage().data_ptr() for each in found.values()}
    assert len(starts) == 4
    assert found["8.x_cf"].untyped_storage().nbytes() == 16
