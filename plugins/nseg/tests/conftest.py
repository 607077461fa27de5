from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import zoo
from zoo_core.cli import build
from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_nseg.experiments import msrc21, mutag, mutagenicity
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.graph_file import write_graph
from zoo_nseg.networks import GNN


def _load(name: str) -> ModuleType:
    """Makes a module beside this file one that tests import by its name: they are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


for _name in ("nseg_artists", "nseg_small"):
    _load(_name)
_experiment, _explaining = _load("nseg_experiment"), _load("nseg_explaining")


@pytest.fixture(scope="session", autouse=True)
def single_thread():
    """On one thread runs can be repeated to the bit."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The slow reference of the method: nseg_reference.py."""
    return _load("nseg_reference")


@pytest.fixture(scope="session")
def network():
    """Builds a GNN in float64 whose output moves when messages do, biases included."""

    def build(conv: str, level: str, seed: int = 0, classes: int = 3, scale: float = 1.0) -> GNN:
        model = GNN(conv, 4, (8, 8, 8), classes, level).double().eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                if name == "classify.weight":
                    # Sums over a graph's nodes, and over neighbours, would saturate the softmax.
                    scale *= {"node": 1.0, "graph": 0.12}[level] * {"gcn": 1.0, "gin": 0.08}[conv]
                    parameter.copy_(scale * drawn)
                elif parameter.ndim > 1:
                    parameter.copy_(drawn * (2 / parameter.shape[1]) ** 0.5)
                else:
                    parameter.copy_(0.2 * drawn)
        return model

    return build


@pytest.fixture(scope="session")
def ring():
    """Builds a ring with chords, a parallel edge, a self-loop and one-way edges: x, edge_index.

    It is wide enough for nodes that lie beyond three hops of each other.
    """

    def build(nodes: int = 22, chords: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        around = [(node, (node + 1) % nodes) for node in range(nodes)]
        starts = torch.randperm(nodes, generator=generator)[:chords].tolist()
        short = [(start, (start + 2) % nodes) for start in starts]
        both = [*around, *short]
        both += [(target, source) for source, target in both]
        one_way = [(0, 3), (5, 5), (0, 1)]
        edges = torch.tensor([*both, *one_way])
        order = torch.randperm(len(edges), generator=generator)
        x = torch.randn(nodes, 4, generator=generator, dtype=torch.float64)
        return x, edges[order].T.contiguous()

    return build


@pytest.fixture(scope="session")
def connected():
    """Builds an explainer that is connected to a configuration, as `Explainer` would connect it."""
    masks = {
        "edge": {"edge_mask_type": "object"},
        "feature": {"node_mask_type": "object"},
        "joint": {"node_mask_type": "object", "edge_mask_type": "object"},
    }

    def build(
        kind: str,
        level: str,
        *,
        mode: str = "multiclass_classification",
        return_type: str = "raw",
        **settings: object,
    ) -> NSEGExplainer:
        explainer = NSEGExplainer(**settings)
        explainer.connect(
            {"explanation_type": "model", **masks[kind]},
            {"mode": mode, "task_level": level, "return_type": return_type},
        )
        return explainer

    return build


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Of `zoo reproduce`: two seeds, and small data sets in the files of the real ones."""
    _experiment.write_tu(tmp_path / mutag.FOLDER, "MUTAG", 7)
    _experiment.write_tu(tmp_path / mutagenicity.FOLDER, "Mutagenicity", 10)
    _experiment.write_tu(tmp_path / msrc21.FOLDER, "MSRC_21", 5)
    return Context(seeds=(0, 1), folder=tmp_path / "out", data_root=tmp_path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of `zoo explain`: explanations are written below it."""
    for name in ("ZOO_PLUGINS", "ZOO_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def node_model(folder):
    """The folder of a classifier of the nodes of `graph_file`."""
    return _explaining.saved("nodes", 1, conv="gcn", in_channels=4, task_level="node")


@pytest.fixture
def graph_model(folder):
    """The folder of a classifier of the graphs of `collection`."""
    return _explaining.saved("graphs", 2, conv="gin", in_channels=3, task_level="graph")


@pytest.fixture
def graph_file(folder):
    """An .npz with labels, two motifs and their edges."""
    graph = _explaining.ring()
    graph.y = torch.arange(_explaining.NODES) % 3
    graph.motif_id = torch.tensor([0] * 4 + [1] * 4 + [-1] * (_explaining.NODES - 8))
    source, target = graph.motif_id[graph.edge_index]
    graph.gt_edge_mask = (source == target) & (source >= 0)
    write_graph(graph, "ring.npz")
    return "ring.npz"


@pytest.fixture
def collection(folder):
    """A folder of five molecules."""
    return str(_explaining.write_collection(folder / "data", "PATHS"))


@pytest.fixture
def explain(capsys, folder):
    """Runs the command quickly; returns its folder, the report, and the printed rows."""

    def run(*arguments, out="explanations", name="nseg", quick=True):
        default = [] if out == "explanations" else ["--out", out]
        options = [*arguments, *default, *(_explaining.SET if quick else [])]
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
