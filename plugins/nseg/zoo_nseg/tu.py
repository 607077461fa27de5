"""Graph data sets of the TU collection from their raw text files, which are only ever read."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.io import read_tu_data

from zoo_core.errors import InputError

_NEEDED = ("A", "graph_indicator", "graph_labels")
_MUTAGENICITY = "Mutagenicity"
_MUTAGEN = 0


def read_tu(folder: str | os.PathLike[str], name: str) -> list[Data]:
    """Reads a data set, as `torch_geometric.datasets.TUDataset` gives it, without writing anything.

    Args:
        folder: the folder that holds NAME/raw/NAME_A.txt and the others.
        name: of the data set, such as "MUTAG".

    Returns:
        The graphs in the file's order: `x` [N, F] float, the one-hot node labels, `edge_index`
        [2, E] sorted by (row, column), `y` [1], the classes renumbered from 0 in ascending order,
        and `edge_attr` [E, D], the one-hot edge labels, where the data set has some.

    Raises:
        InputError: a file is missing, cannot be read, or does not fit the others.
    """
    raw = Path(folder) / name / "raw"
    for part in _NEEDED:
        if not (raw / f"{name}_{part}.txt").is_file():
            raise InputError(f"there is no file {raw / f'{name}_{part}.txt'}.")
    try:
        graph_of = _whole_numbers(raw / f"{name}_graph_indicator.txt")
        whole, slices, sizes = read_tu_data(str(raw), name)
    except InputError:
        raise
    except Exception as error:  # foreign text can fail the reader in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"the files of {name} cannot be read: {reason}.") from error
    starts = [int(start) for start in slices["edge_index"]]
    labelled = sizes["num_node_labels"] and len(whole.x) == len(graph_of)
    if not labelled or graph_of[0] != 1 or not np.isin(np.diff(graph_of), (0, 1)).all():
        raise InputError(
            f"{name}: expected node labels, and nodes listed graph by graph, from graph 1 on."
        )
    counts = np.bincount(graph_of)[1:]
    if len(whole.y) != len(counts) or starts[-1] != whole.edge_index.shape[1]:
        raise InputError(f"{name} has {len(whole.y)} graph labels for {len(counts)} graphs.")
    # The reader stops at the last graph that has edges.
    starts += starts[-1:] * (len(counts) + 1 - len(starts))
    ends = np.cumsum(counts).tolist()
    graphs = []
    for number, (count, end) in enumerate(zip(counts.tolist(), ends, strict=True)):
        edges = slice(starts[number], starts[number + 1])
        graph = Data(
            x=whole.x[end - count : end, sizes["num_node_attributes"] :],
            edge_index=whole.edge_index[:, edges],
            y=whole.y[number : number + 1],
        )
        if whole.edge_attr is not None:
            graph.edge_attr = whole.edge_attr[edges, sizes["num_edge_attributes"] :]
        if ((graph.edge_index < 0) | (graph.edge_index >= count)).any():
            raise InputError(f"{name}: an edge of graph {number + 1} leads to another graph.")
        graphs.append(graph)
    return graphs


def mutagenicity_ground_truth(folder: str | os.PathLike[str], graphs: Sequence[Data]) -> list[Data]:
    """Marks the edges of known toxicophores in the subset of Mutagenicity that CF^2 published.

    Args:
        folder: the folder that holds Mutagenicity/raw/Mutagenicity_edge_gt.txt and the others.
        graphs: all graphs that `read_tu` gave, in their order.

    Returns:
        Copies of the graphs, which share their tensors, with `gt_edge_mask` bool [E] besides.
        Marks in graphs of class 1, which are no mutagens, are ignored.

    Raises:
        InputError: a file is missing or cannot be read, or these are not the graphs of the files.
    """
    raw = Path(folder) / _MUTAGENICITY / "raw"
    listed = _whole_numbers(raw / f"{_MUTAGENICITY}_A.txt", columns=2) - 1
    marks = _whole_numbers(raw / f"{_MUTAGENICITY}_edge_gt.txt")
    if len(marks) != len(listed) or not np.isin(marks, (0, 1)).all():
        raise InputError(
            f"{_MUTAGENICITY}_edge_gt.txt has {len(marks)} lines; expected a 0 or 1 for each of "
            f"the {len(listed)} edges."
        )
    if not graphs:
        raise InputError("there are no graphs; expected all that read_tu gives.")
    sizes = [graph.num_nodes for graph in graphs]
    offsets = np.repeat(np.cumsum([0, *sizes])[:-1], [graph.num_edges for graph in graphs])
    ends = np.concatenate([graph.edge_index.numpy() for graph in graphs], axis=1) + offsets
    # The reader sorts the edges, so that a mark is found by its edge and not by its place.
    keys = ends[0] * sum(sizes) + ends[1]
    listed_keys = listed[:, 0] * sum(sizes) + listed[:, 1]
    if not np.array_equal(np.unique(listed_keys), np.sort(keys)):
        raise InputError(
            f"the graphs are not those of {_MUTAGENICITY}_A.txt; expected all that read_tu gives, "
            "in their order."
        )
    marked = torch.from_numpy(np.isin(keys, listed_keys[marks == 1]))
    result = []
    parts = marked.split([graph.num_edges for graph in graphs])
    for graph, mask in zip(graphs, parts, strict=True):
        result.append(copy.copy(graph))
        result[-1].gt_edge_mask = mask & (graph.y == _MUTAGEN)
    return result


def split(n: int, seed: int, test: float = 0.2) -> tuple[Tensor, Tensor]:
    """Splits n items at random.

    Args:
        n: how many there are.
        seed: of the order in which they are taken.
        test: the share held out, rounded up to whole items.

    Returns:
        The indices for training and those for testing, int64, each in ascending order.

    Raises:
        InputError: an argument out of range, or one part would be empty.
    """
    for name, value in (("n", n), ("seed", seed)):
        if not isinstance(value, Integral) or isinstance(value, bool) or not 0 <= value < 2**63:
            raise InputError(f"{name} is {value!r}; expected a whole number, 0 or more.")
    if not isinstance(test, Real) or isinstance(test, bool) or not 0 < test < 1:
        raise InputError(f"test is {test!r}; expected a share between 0 and 1.")
    held = math.ceil(round(n * test, 9))
    if not 0 < held < n:
        raise InputError(f"a share of {test} of {n} items leaves one part empty.")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(int(seed)))
    return order[held:].sort().values, order[:held].sort().values


def _whole_numbers(path: Path, columns: int = 1) -> np.ndarray:
    """The numbers of a text file, [lines], or [lines, columns]."""
    if not path.is_file():
        raise InputError(f"there is no file {path}.")
    try:
        numbers = np.loadtxt(path, dtype=np.int64, delimiter=",", ndmin=2)
    except ValueError as error:
        raise InputError(f"{path.name} is not a table of whole numbers: {error}.") from error
    if numbers.shape[1] != columns:
        raise InputError(f"{path.name} has {numbers.shape[1]} columns; expected {columns}.")
    return numbers if columns > 1 else numbers[:, 0]
