"""Pictures of explanations: as graphs here, as molecules in `zoo_nseg.molecules`; and their files.

Artists bear a `gid` that says what they show: those of `zoo_nseg.drawing`, "nodes" and "explained".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import networkx as nx
import numpy as np

from zoo_core.cache import replacing, user_path
from zoo_core.errors import InputError, SaveError
from zoo_nseg.drawing import SIDE, axes_or_new, draw_edges, finish, require_matplotlib, write
from zoo_nseg.molecules import draw_molecule
from zoo_nseg.picture_data import (
    Edge,
    edges_to_draw,
    explained_nodes,
    given_places,
    title_of,
    values_of_nodes,
)
from zoo_nseg.settings import choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch_geometric.explain import Explanation

_FORMATS: Final = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}
"""The suffixes of pictures, and what of each would differ from run to run."""


def draw_explanation(
    explanation: Explanation,
    ax: Axes | None = None,
    *,
    hard: bool = False,
    node_labels: Sequence[str] | Mapping[int, str] | None = None,
    node_values: Any = None,
    truth: Any = None,
    positions: Any = None,
    seed: int = 0,
    only_neighbourhood: bool = True,
    title: str | None = None,
) -> Axes:
    """Draws the graph of an explanation: the larger an edge's mask, the wider and stronger it is.

    Args:
        explanation: with `edge_index` and at least one of `edge_mask` [E] and `node_mask` [N, 1],
            in [0, 1].
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        hard: show the hard explanation, masks of at least 0.5 as 1 and others as 0.
        node_labels: a text a node, or for some of them by their number.
        node_values: [N] in [0, 1], the nodes' colours; None for `node_mask` or, without it, the
            largest mask among a node's edges.
        truth: [E] bool, edges to mark by dashes; either direction will do.
        positions: [N, 2], or by node number; None for a spring layout.
        seed: of the spring layout.
        only_neighbourhood: leave out what is too far from the explained node to matter to it.
        title: None for the label and the bounds of the PNS.

    Raises:
        InputError: the explanation or an argument is not as above.
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    edges = edges_to_draw(explanation, hard, truth)
    explained = explained_nodes(explanation)
    values = values_of_nodes(explanation, edges, hard, node_values)
    kept = list(range(len(values)))
    hops = explanation.get("khop_edge_ids")
    if only_neighbourhood and hops is not None:
        near = {tuple(sorted(pair)) for pair in explanation.edge_index[:, hops].T.tolist()}
        edges = [each for each in edges if tuple(sorted(each[:2])) in near]
        kept = sorted({node for pair in near for node in pair} | set(explained))
    texts = _texts(node_labels, len(values))
    places = given_places(positions, kept, len(values))
    if places is None:
        places = np.zeros((len(values), 2))
        layout = nx.spring_layout(_graph(kept, edges), seed=seed)
        places[kept] = [layout[node] for node in kept]

    ax = axes_or_new(ax)
    size = float(np.clip(9000 / max(len(kept), 1), 12, 260))
    draw_edges(ax, edges, places, size)
    x, y = places[kept].T
    nodes = ax.scatter(
        x, y, s=size, c=values[kept], cmap="OrRd", vmin=0, vmax=1, zorder=3, edgecolors="#303030"
    )
    nodes.set(gid="nodes", linewidth=0.7)
    if explained:
        x, y = places[explained].T
        ring = ax.scatter(x, y, s=3.2 * size, facecolors="none", edgecolors="#08306b", zorder=2)
        ring.set(gid="explained", linewidth=2.2)
    for node in kept:
        if node in texts:
            ink = "white" if values[node] > 0.65 else "black"
            write(ax, places[node], texts[node], min(9.0, 0.5 * size**0.5), ink)
    finish(ax, places[kept], title_of(explanation) if title is None else title)
    return ax


def save_picture(
    path: str | os.PathLike[str],
    explanation: Explanation,
    *,
    size: tuple[float, float] = (SIDE, SIDE),
    dpi: float = 150,
    **options: Any,
) -> None:
    """Draws an explanation into a file: by `draw_molecule` if `atoms` is given, else as a graph.

    Args:
        path: a PNG, SVG or PDF, by its suffix; its folder is made.
        explanation: as of `draw_explanation`.
        size: in inches, before empty margins are cut off.
        dpi: dots an inch.
        options: as of `draw_molecule` or `draw_explanation`.

    Raises:
        InputError: another suffix; as these do.
        SaveError: the file cannot be written.
        ConfigError: matplotlib is not installed.
    """
    target = user_path(path, "the picture's path")
    suffix = choice("the picture's suffix", target.suffix.lower(), tuple(_FORMATS))
    require_matplotlib()
    import matplotlib as mpl

    ax = axes_or_new(None, size)
    (draw_molecule if "atoms" in options else draw_explanation)(explanation, ax, **options)
    try:
        with replacing(target) as fresh, mpl.rc_context({"svg.hashsalt": "zoo-nseg"}):
            ax.figure.savefig(
                fresh,
                format=suffix[1:],
                dpi=dpi,
                bbox_inches="tight",
                metadata={_FORMATS[suffix]: None},
            )
    except OSError as error:
        raise SaveError(f"cannot write {target}: {error.strerror or error}.") from error


def _texts(labels: Sequence[str] | Mapping[int, str] | None, number: int) -> dict[int, str]:
    if labels is None:
        return {}
    if isinstance(labels, Mapping):
        return {int(node): str(text) for node, text in labels.items()}
    if isinstance(labels, str) or len(labels) != number:
        raise InputError(f"node_labels are {len(labels)} texts; expected {number}, one a node.")
    return {node: str(text) for node, text in enumerate(labels)}


def _graph(nodes: list[int], edges: list[Edge]) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(each[:2] for each in edges if each.source != each.target)
    return graph
