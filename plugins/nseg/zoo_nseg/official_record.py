"""What an official checkpoint records beside the tensors: its graph, and how training went.

DGL's graphs are pickled as objects of DGL's classes, which are read as `Inert` ones: the edges are
two tensors, sources and destinations, deep inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from zoo_core.errors import CheckpointError, WeightsMismatchError
from zoo_core.foreign import Inert

_NUMBERS: Final = (
    "acc_train",
    "acc_test",
    "loss_train",
    "loss_test",
    "epoch",
    "weight_decay",
    "time",
    "dim_input",
    "num_classes",
    "num_layers",
)


def meta_of(record: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what was recorded of the training, as plain numbers and lists of them.

    Args:
        record: the checkpoint's `cg_data`.
        config: the arguments of `GNN` that its tensors tell.

    Raises:
        CheckpointError: not a dict, or an entry of another kind.
        WeightsMismatchError: sizes that are not those of the tensors.
    """
    _require(isinstance(record, Mapping), f"cg_data is a {_origin(record)}; expected a dict.")
    meta = {name: _number(name, record[name]) for name in _NUMBERS if name in record}
    if "dim_hidden" in record:
        widths = record["dim_hidden"]
        if not isinstance(widths, (list, tuple)):
            raise CheckpointError(f"dim_hidden is a {type(widths).__name__}; expected a list.")
        meta["dim_hidden"] = [_number("dim_hidden", width) for width in widths]
    _check_meta(meta, config)
    return meta


def _number(name: str, value: Any) -> int | float:
    """A number as such, a tensor's, or one of numpy's, which come as bytes."""
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.item()
    elif isinstance(value, Inert) and value.origin.endswith(".multiarray.scalar"):
        value = _scalar(value)
    if type(value) not in (int, float):
        raise CheckpointError(f"{name} is a {type(value).__name__}; expected a number.")
    number: int | float = value
    return number


def _scalar(value: Inert) -> Any:
    if len(value.args) != 2:
        return value
    dtype, content = value.args
    code = dtype.args[0] if isinstance(dtype, Inert) and dtype.args else None
    if code not in ("i4", "i8", "f4", "f8") or not isinstance(content, bytes):
        return value
    if len(content) != int(code[1]):
        return value
    # Every machine that runs torch is little-endian.
    return np.frombuffer(content, dtype=f"<{code}")[0].item()


def _check_meta(meta: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    stated = {
        "dim_input": config["in_channels"],
        "dim_hidden": config["hidden_channels"],
        "num_classes": config["num_classes"],
        "num_layers": len(config["hidden_channels"]),
    }
    for name, actual in stated.items():
        if name in meta and meta[name] != actual:
            raise WeightsMismatchError(
                f"the checkpoint states {name} {meta[name]}, but its tensors are for {actual}."
            )


def graph_of(record: Any, config: Mapping[str, Any]) -> Data | None:
    """Returns the graph in a checkpoint.

    Args:
        record: the checkpoint's `cg_data`.
        config: the arguments of `GNN` that its tensors tell.

    Returns:
        `x`, `edge_index` and `y`; None where there is no graph, or a list of them.

    Raises:
        CheckpointError: not one graph with one type of edges, or one that is damaged.
        WeightsMismatchError: its features are not as wide as the network's input.
    """
    _require(isinstance(record, Mapping), f"cg_data is a {_origin(record)}; expected a dict.")
    stored = record.get("graph")
    if stored is None or isinstance(stored, (list, tuple)):
        return None
    x, y = record.get("features"), record.get("labels")
    try:
        index = stored.state["_graph"].state.state[2]
        num_nodes = stored.state["_node_frames"][0].state["_num_rows"]
    except Exception as error:  # a foreign file can hold anything there
        raise CheckpointError(
            f"the graph, a {_origin(stored)}, is not laid out as those of DGL before 1.0."
        ) from error
    _require(
        isinstance(index, list) and len(index) == 2 and all(map(_is_index, index)),
        "the graph's edges are not two lists of nodes; expected one graph with one type of edges.",
    )
    source, destination = index
    _require(len(source) == len(destination), "the graph has not as many sources as destinations.")
    _require(
        isinstance(x, Tensor) and x.ndim == 2 and x.is_floating_point() and x.isfinite().all(),
        "the features are not a matrix of finite numbers.",
    )
    _require(_is_index(y), "the labels are not whole numbers, one a node.")
    _require(
        type(num_nodes) is int and num_nodes == len(x) == len(y),
        f"the graph has {num_nodes} nodes, {len(x)} rows of features and {len(y)} labels.",
    )
    edge_index = torch.stack([source, destination])
    for values, limit, what in (
        (edge_index, num_nodes, "edges name nodes"),
        (y, config["num_classes"], "labels are classes"),
    ):
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < limit:
            raise CheckpointError(
                f"the graph's {what} from {int(values.min())} to {int(values.max())}; expected 0 "
                f"to {limit - 1}."
            )
    if x.shape[1] != config["in_channels"]:
        raise WeightsMismatchError(
            f"the graph has {x.shape[1]} features a node, but the tensors are for "
            f"{config['in_channels']}."
        )
    return Data(x=x.clone(), edge_index=edge_index, y=y.clone())


def _is_index(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 1 and value.dtype == torch.int64


def _require(holds: Any, otherwise: str) -> None:
    if not holds:
        raise CheckpointError(otherwise)


def _origin(stored: Any) -> str:
    return stored.origin if isinstance(stored, Inert) else type(stored).__name__
