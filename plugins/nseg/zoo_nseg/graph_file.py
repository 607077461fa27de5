"""A graph as an .npz file of plain arrays: `edge_index`, `x`, `y`, and what else is known of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from zoo_core.cache import replacing
from zoo_core.errors import InputError, SaveError, enumeration

_REQUIRED: Final = ("edge_index", "x")
_OPTIONAL: Final = {
    "y": (np.integer, "node"),
    "motif_id": (np.integer, "node"),
    "gt_edge_mask": (np.bool_, "edge"),
    "train_mask": (np.bool_, "node"),
    "test_mask": (np.bool_, "node"),
}
"""Name -> kind of number, and whether there is one a node or one an edge."""


def read_graph(path: str | os.PathLike[str]) -> Data:
    """Reads a graph; nothing in the file is run.

    Args:
        path: an .npz file with `edge_index` [2, E] and `x` [N, F], and any of `y` [N], `motif_id`
            [N], `gt_edge_mask` [E], `train_mask` [N] and `test_mask` [N].

    Returns:
        A `torch_geometric.data.Data` with these: `edge_index`, `y` and `motif_id` int64, `x`
        float32, or float64 where it was stored so, masks bool.

    Raises:
        InputError: there is no such file, it cannot be read, lacks an array, or holds one that
            does not fit the graph.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {
                name: np.asarray(stored[name])
                for name in (*_REQUIRED, *_OPTIONAL)
                if name in stored.files
            }
    except Exception as error:  # a corrupt file can fail numpy's reader in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path.name} cannot be read as an .npz file of plain arrays ({reason})."
        ) from error
    if absent := [name for name in _REQUIRED if name not in arrays]:
        raise InputError(f"{path.name} lacks {enumeration(absent)}; expected edge_index and x.")
    _check(arrays, path.name)
    return Data(**{name: _tensor(array) for name, array in arrays.items()})


def write_graph(graph: Data, path: str | os.PathLike[str]) -> None:
    """Writes a graph as `read_graph` reads it; a file of that name is replaced when it is complete.

    Args:
        graph: with `edge_index` and `x`, and any of the others; what else it holds is left out.
        path: the file.

    Raises:
        InputError: the graph lacks an array, or holds one that does not fit.
        SaveError: the file cannot be written.
    """
    arrays = {
        name: graph[name].detach().cpu().numpy()
        for name in (*_REQUIRED, *_OPTIONAL)
        if isinstance(graph.get(name), Tensor)
    }
    if absent := [name for name in _REQUIRED if name not in arrays]:
        raise InputError(f"the graph lacks {enumeration(absent)}; expected edge_index and x.")
    _check(arrays, "the graph")
    try:
        with replacing(Path(path)) as fresh, fresh.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        raise SaveError(f"cannot write {path}: {error.strerror or error}.") from error


def _check(arrays: dict[str, np.ndarray[Any, Any]], what: str) -> None:
    edges, x = arrays["edge_index"], arrays["x"]
    if edges.ndim != 2 or edges.shape[0] != 2 or not np.issubdtype(edges.dtype, np.integer):
        raise InputError(
            f"{what}: edge_index is {edges.dtype} {list(edges.shape)}; expected whole numbers "
            "[2, edges]."
        )
    if x.ndim != 2 or not np.issubdtype(x.dtype, np.floating):
        raise InputError(
            f"{what}: x is {x.dtype} {list(x.shape)}; expected floating-point [nodes, features]."
        )
    if not np.isfinite(x).all():
        raise InputError(f"{what}: x holds NaN or infinity; expected finite features.")
    if edges.size and not 0 <= edges.min() <= edges.max() < len(x):
        raise InputError(
            f"{what}: edge_index goes from {edges.min()} to {edges.max()}, but there are "
            f"{len(x)} nodes."
        )
    for name, (kind, each) in _OPTIONAL.items():
        if name not in arrays:
            continue
        array, length = arrays[name], len(x) if each == "node" else edges.shape[1]
        if array.shape != (length,) or not np.issubdtype(array.dtype, kind):
            expected = "bool" if kind is np.bool_ else "whole numbers"
            raise InputError(
                f"{what}: {name} is {array.dtype} {list(array.shape)}; expected "
                f"{expected} [{length}], one for each {each}."
            )


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    if np.issubdtype(array.dtype, np.integer):
        return torch.from_numpy(array.astype(np.int64))
    if np.issubdtype(array.dtype, np.floating) and array.dtype != np.float64:
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
