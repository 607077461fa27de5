"""Checkpoints of the official code: read without running them, turned into ours and back."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from torch import Tensor
from torch_geometric.data import Data

from zoo_core.checkpoint import Checkpoint, converter
from zoo_core.errors import CheckpointError, WeightsMismatchError, enumeration
from zoo_core.foreign import read_foreign
from zoo_nseg.official_record import graph_of, meta_of

_NAMES: Final = {
    "gcn": (("weight", "lin.weight"), ("bias", "bias")),
    "gin": (("eps", "eps"), ("apply_func.weight", "nn.weight"), ("apply_func.bias", "nn.bias")),
}
"""What a layer's tensors are called, by the official code and by us."""
_CLASSIFIER: Final = ("classify.weight", "classify.bias")
_TRANSPOSED: Final = "lin.weight"
_LAYER: Final = re.compile(r"convs\.(0|[1-9]\d{0,3})\.(.+)")


class Official(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        state_dict: name -> tensor.
        graph: `x`, `edge_index` and `y` of the graph that it was trained on; None where the file
            has none, or a set of graphs.
        meta: what was recorded of the training: of acc_train, acc_test, loss_train, loss_test,
            epoch, weight_decay, time, dim_input, dim_hidden, num_classes and num_layers those
            that the file has, as plain numbers and lists of them.
    """

    state_dict: dict[str, Tensor]
    graph: Data | None
    meta: dict[str, Any]


def read_official(path: str | os.PathLike[str]) -> Official:
    """Reads a checkpoint; its tensors keep the official code's names.

    Args:
        path: a .pth of the official code, whose pickle is not executed, or a .safetensors file
            with the same names, which has neither graph nor meta.

    Raises:
        CheckpointError: there is no such file, it cannot be read, or its graph is damaged.
        WeightsMismatchError: not a GCN or GIN of the official code, or the graph and what was
            recorded do not fit the tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}.")
    if path.name.endswith(".safetensors"):
        content: Any = dict(Checkpoint(path).tensors())
    else:
        content = read_foreign(path)
    tensors = _weights(content)
    config = config_of(from_official(tensors))
    record = content.get("cg_data", {})
    return Official(tensors, graph_of(record, config), meta_of(record, config))


def convert_official_checkpoint(path: str | os.PathLike[str]) -> Official:
    """Reads a checkpoint as `read_official`, its tensors in the names of `GNN`.

    Returns:
        (state_dict, graph, meta); the state dict is that of `GNN(**config_of(state_dict))`.
    """
    found = read_official(path)
    return found._replace(state_dict=from_official(found.state_dict))


def config_of(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Infers the arguments of `GNN` that the shapes of its tensors tell: all but the task level.

    Args:
        tensors: the names of a `GNN` -> anything with a `shape`.

    Returns:
        conv, in_channels, hidden_channels and num_classes.

    Raises:
        WeightsMismatchError: not the tensors of a `GNN`.
    """
    conv = "gcn" if any(name.endswith("." + _TRANSPOSED) for name in tensors) else "gin"
    weight = "lin.weight" if conv == "gcn" else "nn.weight"
    depth = len({name for name in tensors if re.fullmatch(rf"convs\.\d+\.{weight}", name)})
    needed = [f"convs.{layer}.{weight}" for layer in range(depth)] + [_CLASSIFIER[0]]
    unfit = [name for name in needed if name not in tensors or len(tensors[name].shape) != 2]
    if not depth or unfit:
        raise WeightsMismatchError(
            "the tensors are not those of a GNN; missing or of another rank: "
            f"{enumeration(unfit or ['convs.0.' + weight])}."
        )
    shapes = [tuple(tensors[name].shape) for name in needed]
    return {
        "conv": conv,
        "in_channels": shapes[0][1],
        "hidden_channels": [shape[0] for shape in shapes[:-1]],
        "num_classes": shapes[-1][0],
    }


@converter(version=1, config=config_of)
def from_official(checkpoint: Any) -> dict[str, Tensor]:
    """Converts a checkpoint's tensors to the names and layout of `GNN`.

    Args:
        checkpoint: what the file holds: a dict with the tensors under `model_state`, or the
            tensors themselves. They keep their dtype; GCN's weights are transposed.

    Returns:
        The state dict of `GNN(**config_of(...))`.

    Raises:
        WeightsMismatchError: not a GCN or GIN of the official code, tensors missing, unknown or
            of a shape that does not fit the others, or not all of one floating-point dtype.
    """
    tensors = _weights(checkpoint)
    conv = "gin" if any(".apply_func." in name for name in tensors) else "gcn"
    names = dict(_NAMES[conv])
    converted, unknown, layers = {}, [], set()
    for name, tensor in tensors.items():
        match = _LAYER.fullmatch(name)
        if name in _CLASSIFIER:
            converted[name] = tensor
        elif match and match[2] in names:
            layers.add(int(match[1]))
            own = names[match[2]]
            converted[f"convs.{match[1]}.{own}"] = _transposed(own, tensor)
        else:
            unknown.append(name)
    expected = [
        f"convs.{layer}.{name}" for layer in range(max(layers, default=0) + 1) for name in names
    ]
    missing = [name for name in (*expected, *_CLASSIFIER) if name not in tensors]
    if missing or unknown:
        raise WeightsMismatchError(
            f"the checkpoint is not a {conv.upper()} of the official code"
            + (f"; missing: {enumeration(missing)}" if missing else "")
            + (f"; unknown: {enumeration(unknown)}" if unknown else "")
            + "."
        )
    _check_shapes(converted, config_of(converted))
    return converted


def to_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts the state dict of a `GNN` to the names and layout of the official code.

    Raises:
        WeightsMismatchError: not the tensors of a `GNN`.
    """
    names = {own: official for pairs in _NAMES.values() for official, own in pairs}
    converted, unknown = {}, []
    for name, tensor in state_dict.items():
        match = _LAYER.fullmatch(name)
        if name in _CLASSIFIER:
            converted[name] = tensor
        elif match and match[2] in names:
            converted[f"convs.{match[1]}.{names[match[2]]}"] = _transposed(match[2], tensor)
        else:
            unknown.append(name)
    if unknown:
        raise WeightsMismatchError(f"not names of a GNN: {enumeration(unknown)}.")
    _check_shapes(dict(state_dict), config_of(state_dict))
    return converted


def _weights(checkpoint: Any) -> dict[str, Tensor]:
    """The tensors, by their official names."""
    if isinstance(checkpoint, Mapping):
        checkpoint = checkpoint.get("model_state", checkpoint)
    if not isinstance(checkpoint, Mapping) or not checkpoint:
        raise WeightsMismatchError(
            f"the checkpoint is a {type(checkpoint).__name__} without tensors; expected a dict of "
            "tensors, or one with them under model_state."
        )
    others = [str(name) for name, value in checkpoint.items() if not isinstance(value, Tensor)]
    if others:
        raise WeightsMismatchError(
            f"the checkpoint holds no tensors, but other values, under {enumeration(others)}."
        )
    return {str(name): tensor for name, tensor in checkpoint.items()}


def _transposed(own: str, tensor: Tensor) -> Tensor:
    """GCN's weights are [in, out] in the official code and [out, in] here."""
    return tensor.t().contiguous() if own == _TRANSPOSED and tensor.ndim == 2 else tensor


def _check_shapes(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Checks that each layer takes what the one before it gives."""
    widths = [config["in_channels"], *config["hidden_channels"]]
    weight = "lin.weight" if config["conv"] == "gcn" else "nn.weight"
    bias = "bias" if config["conv"] == "gcn" else "nn.bias"
    shapes = {_CLASSIFIER[0]: (config["num_classes"], widths[-1])}
    shapes[_CLASSIFIER[1]] = (config["num_classes"],)
    for layer, (width, following) in enumerate(itertools.pairwise(widths)):
        shapes[f"convs.{layer}.{weight}"] = (following, width)
        shapes[f"convs.{layer}.{bias}"] = (following,)
        if config["conv"] == "gin":
            shapes[f"convs.{layer}.eps"] = (1,)
    missing = [name for name in shapes if name not in tensors]
    unfit = [
        f"{name} {list(tensors[name].shape)} instead of {list(shape)}"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    surplus = [name for name in tensors if name not in shapes]
    empty = [name for name, shape in shapes.items() if 0 in shape]
    if missing or unfit or surplus or empty:
        raise WeightsMismatchError(
            "the tensors do not make a GNN"
            + (f"; missing: {enumeration(missing)}" if missing else "")
            + (f"; of another shape: {enumeration(unfit)}" if unfit else "")
            + (f"; not of a {config['conv'].upper()}: {enumeration(surplus)}" if surplus else "")
            + (f"; without values: {enumeration(empty)}" if empty else "")
            + "."
        )
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if len(dtypes) > 1 or not next(iter(dtypes)).is_floating_point:
        raise WeightsMismatchError(
            f"the tensors are of {enumeration(sorted(map(str, dtypes)))}; expected one "
            "floating-point dtype, in which the network can run."
        )
