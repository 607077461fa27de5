"""What `zoo explain` explains: graphs read from where the user says, and which of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor
from torch_geometric.data import Data

from zoo_core.cache import user_path
from zoo_core.errors import InputError, enumeration, suggestion
from zoo_nseg import synthetic
from zoo_nseg.errors import IndexOutOfRangeError
from zoo_nseg.graph_file import read_graph
from zoo_nseg.molecules import ATOMS
from zoo_nseg.tu import mutagenicity_ground_truth, read_tu

SYNTHETIC: Final = {
    "ba-shapes": synthetic.ba_shapes,
    "tree-cycles": synthetic.tree_cycles,
    "tree-grid": synthetic.tree_grid,
}
_PART = re.compile(r"[0-9]{1,18}(-[0-9]{1,18})?")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Graphs to explain.

    Attributes:
        name: of the set or the file, without folders.
        graphs: one, or many.
        task_level: what is classified in it as a rule: "node" or "graph".
        atoms: the key of `ATOMS` that tells which elements its features stand for, if they do.
    """

    name: str
    graphs: tuple[Data, ...]
    task_level: str
    atoms: str | None = None


def read(data: str) -> DataSet:
    """Reads graphs.

    Args:
        data: an .npz file as of `read_graph`; the name of a synthetic set, which is generated from
            seed 0; or a folder in the layout of the TU collection: one that holds
            NAME/raw/NAME_A.txt and the others, or its NAME.

    Raises:
        InputError: it is none of these, or cannot be read.
    """
    if data in SYNTHETIC:
        return DataSet(name=data, graphs=(SYNTHETIC[data](),), task_level="node")
    path = user_path(data, "--data")
    if path.is_dir():
        return _collection(path)
    if path.suffix == ".npz":
        return DataSet(name=path.name, graphs=(read_graph(path),), task_level="node")
    what = "is no .npz file" if path.exists() else "does not exist"
    raise InputError(
        f"{data} {what}; expected an .npz file, a folder that holds NAME/raw/NAME_A.txt, or one of "
        f"{', '.join(SYNTHETIC)}.{suggestion(data, SYNTHETIC)}"
    )


def parsed(index: str) -> tuple[range, ...]:
    """Returns what text such as "3,7,10-20" names; the end of a range is included.

    Raises:
        InputError: it is no such text.
    """
    found = []
    for part in index.split(","):
        text = part.strip()
        first, _, last = text.partition("-")
        if not _PART.fullmatch(text) or int(last or first) < int(first):
            raise InputError(f"--index has {part!r}; expected numbers and ranges like 3,7,10-20.")
        found.append(range(int(first), int(last or first) + 1))
    return tuple(found)


def chosen(ranges: Sequence[range] | None, number: int, what: str) -> list[int]:
    """Returns the ids that ranges name, each once, in the order given.

    Args:
        ranges: as of `parsed`; None for all.
        number: how many there are.
        what: "node" or "graph".

    Raises:
        IndexOutOfRangeError: one that is not there.
    """
    if ranges is None:
        return list(range(number))
    for each in ranges:
        if each[-1] >= number:
            raise IndexOutOfRangeError(
                f"--index names {what} {each[-1]}; expected {what}s from 0 to {number - 1}."
            )
    return list(dict.fromkeys(place for each in ranges for place in each))


def truth(graph: Data, node: int | None) -> Tensor | None:
    """Returns the known true edges [E], bool, of a graph, or of the motif of a node.

    Args:
        graph: with or without `gt_edge_mask` [E] and `motif_id` [N].
        node: whose motif it is about; None for the whole graph.
    """
    marked: Tensor | None = graph.get("gt_edge_mask")
    if marked is None or node is None or graph.get("motif_id") is None:
        return marked
    return marked & (graph.motif_id[graph.edge_index[0]] == graph.motif_id[node])


def _collection(folder: Path) -> DataSet:
    name = folder.resolve().name
    if (folder / "raw").is_dir():
        folder = folder.resolve().parent
    else:
        names = sorted(
            each.name
            for each in folder.iterdir()
            if (each / "raw" / f"{each.name}_A.txt").is_file()
        )
        if len(names) != 1:
            held = f"holds {enumeration(names)}" if names else "holds no NAME/raw/NAME_A.txt"
            raise InputError(f"{folder} {held}; expected the folder of one set of graphs.")
        [name] = names
    graphs = read_tu(folder, name)
    if (folder / name / "raw" / f"{name}_edge_gt.txt").is_file() and name == "Mutagenicity":
        graphs = mutagenicity_ground_truth(folder, graphs)
    symbols = ATOMS.get(name.lower(), ())
    atoms = name.lower() if len(symbols) == graphs[0].x.shape[1] else None
    return DataSet(name=name, graphs=tuple(graphs), task_level="graph", atoms=atoms)
