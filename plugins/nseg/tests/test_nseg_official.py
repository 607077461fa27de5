"""Official checkpoints: read without running them, converted both ways, refused when damaged."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

import zoo
from zoo_core.cli import build
from zoo_core.errors import CheckpointError, InputError, WeightsMismatchError, ZooError
from zoo_nseg.graph_file import read_graph
from zoo_nseg.networks import GNN
from zoo_nseg.official import (
    config_of,
    convert_official_checkpoint,
    from_official,
    read_official,
    to_official,
)
from zoo_nseg.training import node_accuracy

FILES = {"GCN": "BA-Shapes", "GIN": "Tree-Cycles"}
ACCURACY = {"GCN": 0.9714, "GIN": 0.9392}
Write = Callable[..., Path]


def weights(conv: str, widths: tuple[int, ...] = (3, 5, 4), classes: int = 2) -> dict[str, Tensor]:
    """Random tensors in the official code's names and layout."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer, (width, following) in enumerate(itertools.pairwise(widths)):
        bias = torch.randn(following, generator=generator)
        if conv == "gcn":
            tensors[f"convs.{layer}.weight"] = torch.randn(width, following, generator=generator)
            tensors[f"convs.{layer}.bias"] = bias
        else:
            tensors[f"convs.{layer}.eps"] = torch.tensor([0.25 * layer])
            weight = torch.randn(following, width, generator=generator)
            tensors[f"convs.{layer}.apply_func.weight"] = weight
            tensors[f"convs.{layer}.apply_func.bias"] = bias
    tensors["classify.weight"] = torch.randn(classes, widths[-1], generator=generator)
    tensors["classify.bias"] = torch.randn(classes, generator=generator)
    return tensors


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a checkpoint with a graph in it as the official code does, DGL's objects included."""
    dgl = types.ModuleType("dgl")
    made = {
        name: type(name, (), {"__module__": "dgl", "__qualname__": name})
        for name in ("DGLHeteroGraph", "HeteroGraphIndex", "UnitGraph", "Frame")
    }
    vars(dgl).update(made)

    def with_state(name: str, state: Any) -> Any:
        made[name].__getstate__ = lambda self: self.held
        instance = made[name]()
        instance.held = state
        return instance

    def run(
        model_state: Any,
        edges: Any = ([0, 1, 2], [1, 0, 1]),
        num_nodes: Any = 4,
        **record: Any,
    ) -> Path:
        index = [torch.tensor(each) for each in edges]
        unit = with_state("UnitGraph", (2, bytearray(b"metagraph"), index))
        graph = with_state(
            "DGLHeteroGraph",
            {
                "_graph": with_state("HeteroGraphIndex", unit),
                "_node_frames": [with_state("Frame", {"_num_rows": num_nodes})],
            },
        )
        content = {
            "graph": graph,
            "features": torch.ones(4, 3),
            "labels": torch.tensor([0, 1, 1, 0]),
            "dim_input": 3,
            "dim_hidden": [5, 4],
            "num_classes": np.int64(2),
            "acc_train": torch.tensor(0.75, dtype=torch.float64),
        }
        content |= record
        path = tmp_path / "official.pth"
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "dgl", dgl)
            torch.save(
                {"model_state": model_state, "optimizer_state": {}, "cg_data": content}, path
            )
        return path

    return run


@pytest.fixture
def data() -> Path:
    root = os.environ.get("ZOO_DATA")
    if not root or not (folder := Path(root) / "nseg-synthetic").is_dir():
        pytest.skip("needs ZOO_DATA with nseg-synthetic")
    return folder


@pytest.mark.parametrize("conv", FILES)
def test_golden_logits_of_the_official_files(conv: str, data: Path) -> None:
    state, graph, meta = convert_official_checkpoint(data / f"{conv}_{FILES[conv]}.pth")
    golden = np.load(data / "golden.npz")
    w, full, masked = (
        torch.from_numpy(golden[f"logits/{conv}/{FILES[conv]}/{name}"]).float()
        for name in ("w", "full", "masked")
    )
    model = GNN(**config_of(state)).eval()
    model.load_state_dict(state)
    torch.testing.assert_close(model(graph.x, graph.edge_index), full, rtol=0, atol=1e-4)
    set_masks(model, w, graph.edge_index, apply_sigmoid=False)
    torch.testing.assert_close(model(graph.x, graph.edge_index), masked, rtol=0, atol=1e-4)
    clear_masks(model)
    assert node_accuracy(model, graph) == pytest.approx(ACCURACY[conv], abs=5e-5)
    assert meta["dim_hidden"] == [16, 32, 16]
    assert meta["epoch"] == 2000
    assert 0.9 < meta["acc_test"] < meta["acc_train"] < 1


@pytest.mark.parametrize("conv", FILES)
def test_the_graph_inside_is_the_one_that_was_taken_out(conv: str, data: Path) -> None:
    graph = read_official(data / f"{conv}_{FILES[conv]}.pth").graph
    expected = read_graph(data / f"{FILES[conv]}.npz")
    assert torch.equal(graph.x, expected.x)
    assert torch.equal(graph.y, expected.y)
    pairs = [set(map(tuple, each.edge_index.T.tolist())) for each in (graph, expected)]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize("conv", FILES)
def test_safetensors_hold_the_same_tensors(conv: str, data: Path) -> None:
    pickled = read_official(data / f"{conv}_{FILES[conv]}.pth").state_dict
    found = read_official(data / f"{conv}_{FILES[conv]}.safetensors")
    assert found.graph is None
    assert found.meta == {}
    assert found.state_dict.keys() == pickled.keys()
    assert all(torch.equal(found.state_dict[name], pickled[name]) for name in pickled)


@pytest.mark.parametrize("conv", ["gcn", "gin"])
def test_there_and_back(conv: str) -> None:
    tensors = weights(conv)
    ours = from_official({"model_state": tensors, "optimizer_state": {"state": {}}})
    assert config_of(ours) == {
        "conv": conv,
        "in_channels": 3,
        "hidden_channels": [5, 4],
        "num_classes": 2,
    }
    GNN(**config_of(ours)).load_state_dict(ours)
    back = to_official(ours)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_square_weights_are_transposed_too() -> None:
    tensors = weights("gcn", (3, 3, 3))
    ours = from_official(tensors)
    assert torch.equal(ours["convs.1.lin.weight"], tensors["convs.1.weight"].T)


@pytest.mark.parametrize("conv", ["gcn", "gin"])
def test_a_file_with_graph_and_numbers(conv: str, write: Write) -> None:
    found = read_official(write(weights(conv), time=1.5, loss_test=torch.tensor(0.5)))
    assert found.graph.edge_index.tolist() == [[0, 1, 2], [1, 0, 1]]
    assert found.graph.y.tolist() == [0, 1, 1, 0]
    assert found.meta == {
        "acc_train": 0.75,
        "loss_test": 0.5,
        "time": 1.5,
        "dim_input": 3,
        "num_classes": 2,
        "dim_hidden": [5, 4],
    }
    assert type(found.meta["num_classes"]) is int


def test_a_file_with_several_graphs_or_none(write: Write) -> None:
    assert read_official(write(weights("gcn"), graph=[1, 2])).graph is None
    assert read_official(write(weights("gcn"), graph=None)).graph is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": ([0, 4], [1, 0])}, "edges name nodes from 0 to 4; expected 0 to 3"),
        ({"edges": ([0, -1], [1, 0])}, "edges name nodes from -1 to 1"),
        ({"edges": ([0, 1], [1])}, "not as many sources as destinations"),
        ({"edges": ([0.0, 1.0], [1.0, 0.0])}, "edges are not two lists of nodes"),
        ({"edges": ([0], [1], [0])}, "edges are not two lists of nodes"),
        ({"num_nodes": 5}, "5 nodes, 4 rows of features and 4 labels"),
        ({"num_nodes": "four"}, "four nodes"),
        ({"graph": {"_graph": 1}}, "the graph, a dict, is not laid out"),
        ({"features": torch.full((4, 3), torch.nan)}, "features are not a matrix of finite"),
        ({"features": None}, "features are not a matrix"),
        ({"features": torch.ones(3, 3)}, "3 rows of features"),
        ({"labels": torch.ones(4)}, "labels are not whole numbers"),
        ({"labels": torch.tensor([0, 1, 2, 0])}, "labels are classes from 0 to 2; expected 0 to 1"),
        ({"acc_train": "high"}, "acc_train is a str; expected a number"),
        ({"acc_train": torch.ones(2)}, "acc_train is a Tensor"),
        ({"num_classes": np.array([2])}, "num_classes is a Inert; expected a number"),
        ({"dim_hidden": 16}, "dim_hidden is a int; expected a list"),
    ],
)
def test_damaged_records(changes: dict[str, Any], message: str, write: Write) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_official(write(weights("gcn"), **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": torch.ones(4, 2)}, "2 features a node, but the tensors are for 3"),
        ({"dim_hidden": [5, 5]}, r"states dim_hidden \[5, 5\], but its tensors are for \[5, 4\]"),
        ({"num_classes": np.int64(3)}, "states num_classes 3"),
        ({"num_layers": 3}, "states num_layers 3, but its tensors are for 2"),
    ],
)
def test_records_that_contradict_the_tensors(
    changes: dict[str, Any], message: str, write: Write
) -> None:
    with pytest.raises(WeightsMismatchError, match=message):
        read_official(write(weights("gcn"), **changes))


def test_a_record_that_is_no_dict(tmp_path: Path) -> None:
    torch.save({"model_state": weights("gcn"), "cg_data": [1]}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="cg_data is a list; expected a dict"):
        read_official(tmp_path / "file.pth")


def _changed(conv: str, **changes: Any) -> dict[str, Any]:
    tensors = {**weights(conv), **{name.replace("__", "."): it for name, it in changes.items()}}
    return {name: value for name, value in tensors.items() if value is not None}


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ([1], "a list without tensors"),
        ({}, "a dict without tensors"),
        ({"model_state": {}}, "without tensors"),
        (_changed("gcn", convs__0__weight="text"), "other values, under convs.0.weight"),
        (_changed("gcn", convs__0__weight=None), "GCN of .*; missing: convs.0.weight"),
        (_changed("gcn", convs__1__bias=None), "missing: convs.1.bias"),
        (_changed("gcn", classify__bias=None), "missing: classify.bias"),
        (_changed("gcn", norm__weight=torch.ones(1)), "unknown: norm.weight"),
        (_changed("gcn", convs__0__eps=torch.ones(1)), "GCN of .*; unknown: convs.0.eps"),
        (_changed("gin", convs__0__eps=None), "GIN of .*; missing: convs.0.eps"),
        (_changed("gin", convs__0__weight=torch.ones(1)), "GIN of .*; unknown: convs.0.weight"),
        (_changed("gcn", convs__7__weight=torch.ones(4, 4)), "missing: convs.2.weight, convs.2"),
        (_changed("gcn", convs__00__weight=torch.ones(4, 4)), "unknown: convs.00.weight"),
        (_changed("gcn", convs__1__weight=torch.ones(6, 4)), r"convs.1.lin.weight \[4, 6\] inst"),
        (_changed("gcn", convs__0__weight=torch.ones(3)), "of another rank: convs.0.lin.weight"),
        (_changed("gcn", convs__0__bias=torch.ones(4)), r"convs.0.bias \[4\] instead of \[5\]"),
        (_changed("gin", convs__0__eps=torch.ones(2)), r"convs.0.eps \[2\] instead of \[1\]"),
        (_changed("gcn", classify__weight=torch.ones(2, 5)), r"classify.weight \[2, 5\] instead"),
        (_changed("gcn", convs__0__weight=torch.ones(0, 5)), "without values: convs.0.lin.weight"),
        (_changed("gcn", classify__bias=torch.ones(2).double()), "torch.float32, torch.float64"),
        ({name: it.long() for name, it in weights("gcn").items()}, "are of torch.int64"),
    ],
)
def test_tensors_that_are_no_official_network(checkpoint: Any, message: str) -> None:
    with pytest.raises(WeightsMismatchError, match=message):
        from_official(checkpoint)


def test_names_that_are_not_ours() -> None:
    with pytest.raises(WeightsMismatchError, match=r"not names of a GNN: convs\.0\.weight, conv"):
        to_official(weights("gcn"))
    ours = from_official(weights("gin"))
    del ours["convs.1.eps"]
    with pytest.raises(WeightsMismatchError, match=r"missing: convs\.1\.eps"):
        to_official(ours)


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_nothing_in_a_file_is_run(write: Write, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    with pytest.raises(CheckpointError, match="acc_test is a"):
        read_official(write(weights("gcn"), acc_test=_Trap(trap)))
    with pytest.raises(CheckpointError, match="the graph, a "):
        read_official(write(weights("gcn"), graph=_Trap(trap)))
    with pytest.raises(WeightsMismatchError, match=r"other values, under convs\.0\.bias"):
        read_official(write({**weights("gcn"), "convs.0.bias": _Trap(trap)}))
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(_Trap(trap)))
    with pytest.raises(ZooError):
        read_official(tmp_path / "bare.pth")
    assert not trap.exists()


def test_files_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        read_official(tmp_path / "absent.pth")
    path = write(weights("gcn"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"official\.pth"):
        read_official(path)


@pytest.mark.parametrize("conv", ["gcn", "gin"])
@pytest.mark.parametrize("task_level", ["node", "graph"])
def test_the_command_writes_a_folder_that_loads(
    conv: str, task_level: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(weights(conv), acc_test=0.5), tmp_path / "out"
    arguments = ["nseg-convert", str(path), str(out), "--task-level", task_level]
    build()(arguments, standalone_mode=False)
    rows = dict(line.split("\t", 1) for line in capsys.readouterr().out.splitlines())
    assert rows["conv"] == conv
    assert rows["task_level"] == task_level
    assert rows["test accuracy (%)"] == "50.00"
    assert rows["graph.npz"] == "4 nodes, 3 directed edges"
    model = zoo.load(out)
    assert isinstance(model, GNN)
    assert model.task_level == task_level
    assert model.zoo.weights.license == "unknown"
    assert model.zoo.weights.metrics == {"train accuracy (%)": 75.0, "test accuracy (%)": 50.0}
    expected = from_official(weights(conv))
    assert all(torch.equal(it, expected[name]) for name, it in model.state_dict().items())
    graph = read_graph(out / "graph.npz")
    assert graph.edge_index.tolist() == [[0, 1, 2], [1, 0, 1]]
    with pytest.raises(InputError, match=r"holds config\.json already"):
        build()(arguments, standalone_mode=False)


def test_the_command_reads_safetensors(tmp_path: Path) -> None:
    save_file(weights("gcn"), tmp_path / "file.safetensors")
    out = tmp_path / "out"
    arguments = ["nseg-convert", str(tmp_path / "file.safetensors"), str(out)]
    build()([*arguments, "--name", "nseg-gcn-mutag"], standalone_mode=False)
    model = zoo.load(out)
    assert model.zoo.name == "nseg/nseg-gcn-mutag"
    assert (model.task_level, model.zoo.weights.metrics) == ("node", {})
    assert not (out / "graph.npz").exists()
