"""The numbers of the official implementation: its networks' logits, its losses and masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.explain.config import (
    ExplainerConfig,
    ModelConfig,
    ModelMode,
    ModelReturnType,
    ModelTaskLevel,
)

from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_core.threads import one_thread
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.graph_file import read_graph
from zoo_nseg.networks import GNN
from zoo_nseg.official import config_of, convert_official_checkpoint, from_official
from zoo_nseg.settings import OBJECTIVES

FOLDER: Final = "nseg-synthetic"
NETWORKS: Final = {"GCN BA-Shapes": "BA-Shapes", "GIN Tree-Cycles": "Tree-Cycles"}
"""Network -> its graph."""
_FILES: Final = (".pth", ".safetensors")
_TYPES: Final = {"edge": "e", "feature": "f", "joint": "ef"}
_MASKS: Final[dict[str, tuple[str, ...]]] = {
    "edge": ("edge_mask",),
    "feature": ("node_mask",),
    "joint": ("edge_mask", "node_mask"),
}
_GOLDEN: Final = {"edge_mask": "mask_e", "node_mask": "mask_f"}
_CASE: Final = "graph/GCN/7"
_SETTINGS: Final[dict[str, Any]] = {
    "epochs": 150,
    "lr": 0.05,
    "alpha_e": 1e-4,
    "beta_e": 1e-3,
    "alpha_f": 2e-4,
    "beta_f": 2e-3,
    "noise": 0.0,
}
_LIMITS: Final = {"logits": 1e-4, "losses": 1e-5, "masks": 1e-5}
_SINGLE_MASKS: Final = 3e-5
"""In float32, where Adam amplifies the rounding of gradients that are almost zero."""


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Compares logits of two checkpoints, each from two files, and nine searches in two dtypes."""
    folder = context.data(FOLDER)
    with np.load(folder / "golden.npz", allow_pickle=False) as stored:
        golden = {name: torch.from_numpy(stored[name]) for name in stored.files}
    with one_thread():
        for name, graph in NETWORKS.items():
            for suffix in _FILES:
                yield _network(folder, name, graph, suffix, golden)
        cases = [
            (kind, objective, dtype)
            for kind in _TYPES
            for objective in OBJECTIVES
            for dtype in (torch.float32, torch.float64)
        ]
        for kind, objective, dtype in context.progress(cases, "searching"):
            yield _search(golden, kind, objective, dtype)


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether all differences are those of rounding."""
    worst = {
        (measure, dtype): max(values(found, measure))
        for dtype in ("float32", "float64")
        for measure in _LIMITS
        if (found := [r for r in rows if r["dtype"] == dtype and r[measure] is not None])
    }
    limits = {
        key: _SINGLE_MASKS if key == ("masks", "float32") else _LIMITS[key[0]] for key in worst
    }
    return (
        all(worst[key] <= limits[key] for key in worst),
        "largest differences: "
        + ", ".join(
            f"{measure} in {dtype} {number:.1e} (limit {limits[measure, dtype]:.0e})"
            for (measure, dtype), number in worst.items()
        ),
    )


def _network(
    folder: Path, name: str, data: str, suffix: str, golden: dict[str, Tensor]
) -> dict[str, Any]:
    path = folder / f"{name.replace(' ', '_')}{suffix}"
    tensors, inside, _ = convert_official_checkpoint(path)
    graph = read_graph(folder / f"{data}.npz") if inside is None else inside
    network = GNN(**config_of(tensors)).eval()
    network.load_state_dict(tensors)
    key = f"logits/{name.replace(' ', '/')}"
    with torch.no_grad():
        full = network(graph.x, graph.edge_index)
        set_masks(network, golden[f"{key}/w"], graph.edge_index, apply_sigmoid=False)
        masked = network(graph.x, graph.edge_index)
        clear_masks(network)
    logits = max(_distance(full, golden[f"{key}/full"]), _distance(masked, golden[f"{key}/masked"]))
    return {**_place(f"{name}{suffix}", None, None, "float32"), "logits": logits} | _nothing(
        "losses", "masks"
    )


def _search(
    golden: dict[str, Tensor], kind: str, objective: str, dtype: torch.dtype
) -> dict[str, Any]:
    state = from_official(
        {
            name.removeprefix(f"{_CASE}/sd/"): tensor
            for name, tensor in golden.items()
            if name.startswith(f"{_CASE}/sd/")
        }
    )
    network = GNN(**config_of(state), task_level="graph").eval()
    network.load_state_dict(state)
    network.to(dtype)

    def given(name: str) -> Tensor:
        return golden[f"{_CASE}/{name}"].to(dtype)

    x, edge_index = given("x"), golden[f"{_CASE}/edge_index"]
    output = network(x, edge_index).detach()
    explainer = NSEGExplainer(**_SETTINGS, objective=objective)
    explainer.connect(
        ExplainerConfig(
            explanation_type="model",
            node_mask_type=None if kind == "edge" else "object",
            edge_mask_type=None if kind == "feature" else "object",
        ),
        ModelConfig(ModelMode.multiclass_classification, ModelTaskLevel.graph, ModelReturnType.raw),
    )
    found = explainer(
        network,
        x,
        edge_index,
        target=output.argmax(-1),
        x_cf=None if kind == "edge" else given("x_cf"),
        edge_logits=None if kind == "feature" else given("theta_e0"),
        node_logits=None if kind == "edge" else given("theta_f0"),
    )
    expected = f"{_CASE}/{_TYPES[kind]}/{objective}"
    masks = max(
        _distance(found[name].flatten(), golden[f"{expected}/{_GOLDEN[name]}"])
        for name in _MASKS[kind]
    )
    return {
        **_place("search", kind, objective, str(dtype).removeprefix("torch.")),
        "logits": _distance(output, golden[f"{_CASE}/logits"]),
        "losses": _distance(found.loss_history, golden[f"{expected}/loss"]),
        "masks": masks,
    }


def _place(what: str, kind: str | None, objective: str | None, dtype: str) -> dict[str, Any]:
    return {"what": what, "type": kind, "objective": objective, "dtype": dtype}


def _nothing(*measures: str) -> dict[str, None]:
    return dict.fromkeys(measures)


def _distance(ours: Tensor, theirs: Tensor) -> float:
    return (ours.double() - theirs.double()).abs().max().item()
