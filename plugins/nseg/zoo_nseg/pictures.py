"""Pictures of explanations: graphs and molecules, the mask shown by width, strength and colour.

Artists bear a `gid` that says what they show: "edges", "arrows", "loops", "nodes", "explained",
"truth", "bonds", "atoms", "node_mask".
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import networkx as nx
import numpy as np
import torch

from zoo_core.cache import replacing, user_path
from zoo_core.errors import ConfigError, InputError, SaveError
from zoo_nseg.molecule_layout import Places, molecule_layout
from zoo_nseg.result import HARD
from zoo_nseg.settings import choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch_geometric.explain import Explanation

ATOMS: Final[Mapping[str, tuple[str, ...]]] = {
    "mutag": ("C", "N", "O", "F", "I", "Cl", "Br"),
    "mutagenicity": ("C", "O", "Cl", "H", "N", "F", "Br", "S", "P", "I"),
}
"""The element that each column of a data set's one-hot features stands for."""
COLOURS: Final[Mapping[str, str]] = {
    "C": "#4a4a4a",
    "H": "#ffffff",
    "N": "#3050f8",
    "O": "#e8200c",
    "F": "#90e050",
    "Cl": "#1fc81f",
    "Br": "#a62929",
    "I": "#940094",
    "S": "#f0d020",
    "P": "#ff8000",
}
"""Elements in the colours of Corey, Pauling and Koltun; others are `OTHER_COLOUR`."""
OTHER_COLOUR: Final = "#dd77ff"
_MASKED, _KEPT = np.array([0.62, 0.62, 0.62]), np.array([0.82, 0.28, 0.0])
_TRUTH = "#1b7837"
_SIDE = 5.0
_FORMATS: Final = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}
"""The suffixes of pictures, and what of each would differ from run to run."""


class _Edge(NamedTuple):
    """An edge to draw: both directions in one, with the larger mask, or the only one there is."""

    source: int
    target: int
    mask: float
    both: bool
    truth: bool


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
    edges = _edges(explanation, hard, truth)
    explained = _explained(explanation)
    values = _node_values(explanation, edges, hard, node_values)
    kept = list(range(len(values)))
    hops = explanation.get("khop_edge_ids")
    if only_neighbourhood and hops is not None:
        near = {tuple(sorted(pair)) for pair in explanation.edge_index[:, hops].T.tolist()}
        edges = [each for each in edges if tuple(sorted(each[:2])) in near]
        kept = sorted({node for pair in near for node in pair} | set(explained))
    texts = _texts(node_labels, len(values))
    places = _given_places(positions, kept, len(values))
    if places is None:
        places = np.zeros((len(values), 2))
        layout = nx.spring_layout(_graph(kept, edges), seed=seed)
        places[kept] = [layout[node] for node in kept]

    ax = _axes(ax)
    size = float(np.clip(9000 / max(len(kept), 1), 12, 260))
    _draw_edges(ax, edges, places, size)
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
            _write(ax, places[node], texts[node], min(9.0, 0.5 * size**0.5), ink)
    _finish(ax, places[kept], _title(explanation) if title is None else title)
    return ax


def draw_molecule(
    explanation: Explanation,
    ax: Axes | None = None,
    *,
    atoms: str | Sequence[str],
    hard: bool = False,
    truth: Any = None,
    positions: Any = None,
    title: str | None = None,
) -> Axes:
    """Draws the molecule of an explanation, atoms by symbol and in their usual colours.

    The larger a bond's mask, the wider and stronger it is; the larger an atom's `node_mask`, the
    stronger its halo. The same molecule is always laid out in the same way.

    Args:
        explanation: as of `draw_explanation`, with one-hot `x` [N, F].
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        atoms: the element of each column of x, or the name of a data set in `ATOMS`.
        hard: show the hard explanation, masks of at least 0.5 as 1 and others as 0.
        truth: [E] bool, bonds to mark by dashes; either direction will do.
        positions: [N, 2], or by node number; None for `molecule_layout`.
        title: None for the label and the bounds of the PNS.

    Raises:
        InputError: the explanation or an argument is not as above.
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    edges = _edges(explanation, hard, truth)
    symbols = _symbols(explanation, atoms)
    nodes = list(range(len(symbols)))
    places = _given_places(positions, nodes, len(nodes))
    if places is None:
        places = molecule_layout(len(nodes), [each[:2] for each in edges])

    ax = _axes(ax)
    size = float(np.clip(5200 / max(len(nodes), 1), 30, 240))
    x, y = places.T
    if explanation.get("node_mask") is not None:
        mask = _node_values(explanation, edges, hard, None)
        halo = ax.scatter(x, y, s=3.4 * size, c=[(*_KEPT, 0.6 * each) for each in mask], zorder=0)
        halo.set(gid="node_mask", linewidth=0)
    _draw_lines(ax, edges, places, "bonds", colors="#b8b8b8", linewidths=0.8, zorder=1)
    _draw_edges(ax, edges, places, size)
    sizes = [size * (0.55 if symbol == "H" else 1) for symbol in symbols]
    colours = [COLOURS.get(symbol, OTHER_COLOUR) for symbol in symbols]
    discs = ax.scatter(x, y, s=sizes, c=colours, zorder=3, edgecolors="#303030")
    discs.set(gid="atoms", linewidth=0.7)
    for place, symbol, area, colour in zip(places, symbols, sizes, colours, strict=True):
        _write(ax, place, symbol, 0.52 * area**0.5, _ink(colour))
    _finish(ax, places, _title(explanation) if title is None else title)
    return ax


def save_picture(
    path: str | os.PathLike[str],
    explanation: Explanation,
    *,
    size: tuple[float, float] = (_SIDE, _SIDE),
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

    ax = _axes(None, size)
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


def require_matplotlib() -> None:
    """Checks that pictures can be drawn, without importing what draws them.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "pictures are drawn by matplotlib, which is not installed: "
            "pip install 'zoo-nseg[pictures]'."
        )


def _edges(explanation: Explanation, hard: bool, truth: Any) -> list[_Edge]:
    """The edges to draw, the strongest last."""
    edge_index = explanation.get("edge_index")
    if not isinstance(edge_index, torch.Tensor) or edge_index.ndim != 2 or len(edge_index) != 2:
        raise InputError("the explanation has no edge_index [2, E]; give it that of its graph.")
    if explanation.get("edge_mask") is None and explanation.get("node_mask") is None:
        raise InputError("the explanation has neither edge_mask nor node_mask; nothing to draw.")
    number = edge_index.shape[1]
    mask = np.zeros(number)
    if explanation.get("edge_mask") is not None:
        mask = _fractions("edge_mask", explanation.edge_mask, number, "one an edge")
    if hard:
        mask = (mask >= HARD).astype(float)
    true = np.zeros(number) if truth is None else _fractions("truth", truth, number, "one an edge")
    found: dict[tuple[int, int], _Edge] = {}
    for (source, target), strength, is_true in zip(
        edge_index.T.tolist(), mask.tolist(), (true > 0).tolist(), strict=True
    ):
        key = (min(source, target), max(source, target))
        old = found.get(key, _Edge(source, target, 0.0, False, False))
        both = old.both or old.source != source
        found[key] = old._replace(
            mask=max(old.mask, strength), both=both, truth=old.truth or is_true
        )
    return sorted(found.values(), key=lambda each: each.mask)


def _explained(explanation: Explanation) -> list[int]:
    """The nodes whose prediction is explained; none where that of a graph is."""
    config, index = getattr(explanation, "_model_config", None), explanation.get("index")
    is_node = explanation.get("khop_edge_ids") is not None
    if config is not None:
        is_node = config.task_level.value == "node"
    if not is_node or index is None:
        return []
    return sorted(set(torch.as_tensor(index).reshape(-1).tolist()))


def _node_values(explanation: Explanation, edges: list[_Edge], hard: bool, given: Any) -> Places:
    number = int(explanation.num_nodes)
    if given is not None:
        return _fractions("node_values", given, number, "one a node")
    if explanation.get("node_mask") is not None:
        values = _fractions("node_mask", explanation.node_mask, number, "one a node")
        return (values >= HARD).astype(float) if hard else values
    values = np.zeros(number)
    for edge in edges:
        values[[edge.source, edge.target]] = np.maximum(
            values[[edge.source, edge.target]], edge.mask
        )
    return values


def _fractions(name: str, values: Any, number: int, each: str) -> Places:
    """`values` as [number] float64 in [0, 1]."""
    array = _array(name, values)
    if array.size != number or array.shape not in ((number,), (number, 1)):
        raise InputError(f"{name} has shape {array.shape}; expected {number} numbers, {each}.")
    array = array.reshape(number)
    outside = array[~((array >= 0) & (array <= 1))]
    if len(outside):
        raise InputError(f"{name} holds {outside[0]}; expected numbers in [0, 1].")
    return array


def _array(name: str, values: Any) -> Places:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {values!r}; expected numbers.") from error


def _texts(labels: Sequence[str] | Mapping[int, str] | None, number: int) -> dict[int, str]:
    if labels is None:
        return {}
    if isinstance(labels, Mapping):
        return {int(node): str(text) for node, text in labels.items()}
    if isinstance(labels, str) or len(labels) != number:
        raise InputError(f"node_labels are {len(labels)} texts; expected {number}, one a node.")
    return {node: str(text) for node, text in enumerate(labels)}


def _symbols(explanation: Explanation, atoms: str | Sequence[str]) -> list[str]:
    """The element of each node."""
    names = ATOMS[choice("atoms", atoms, tuple(ATOMS))] if isinstance(atoms, str) else tuple(atoms)
    x = explanation.get("x")
    if x is None or x.ndim != 2 or x.shape[1] != len(names):
        raise InputError(
            f"x has shape {None if x is None else tuple(x.shape)}; expected {len(names)} columns, "
            f"one each for {', '.join(names)}."
        )
    one_hot = ((x == 0) | (x == 1)).all(1) & (x.sum(1) == 1)
    if not bool(one_hot.all()):
        row = int((~one_hot).nonzero()[0])
        raise InputError(f"row {row} of x is not one-hot; atoms are read from one-hot features.")
    return [names[column] for column in x.argmax(1).tolist()]


def _given_places(positions: Any, nodes: list[int], number: int) -> Places | None:
    """`positions` as [number, 2], nan where none is needed."""
    if positions is None:
        return None
    places = np.full((number, 2), np.nan)
    if isinstance(positions, Mapping):
        for node in nodes:
            places[node] = positions.get(node, np.nan)
    else:
        given = _array("positions", positions)
        if given.shape != (number, 2):
            raise InputError(f"positions have shape {given.shape}; expected [{number}, 2].")
        places[:] = given
    lacking = [node for node in nodes if not np.isfinite(places[node]).all()]
    if lacking:
        raise InputError(
            f"positions have no finite place for node {lacking[0]}; give it two numbers."
        )
    return places


def _graph(nodes: list[int], edges: list[_Edge]) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(each[:2] for each in edges if each.source != each.target)
    return graph


def _draw_edges(ax: Axes, edges: list[_Edge], places: Places, size: float) -> None:
    """Draws the masks: lines, arrows where there is one direction only, circles for self-loops."""
    from matplotlib.patches import Circle, FancyArrowPatch

    lines, radius = [each for each in edges if each.both], size**0.5 / 2
    _draw_lines(
        ax,
        lines,
        places,
        "edges",
        colors=[_colour(each.mask) for each in lines],
        linewidths=[_width(each.mask) for each in lines],
        zorder=1.5,
    )
    for each in edges:
        style = {"edgecolor": _colour(each.mask), "linewidth": _width(each.mask), "zorder": 1.5}
        if each.source == each.target:
            span = 0.06 * float(np.ptp(places, axis=0).max()) or 0.1
            centre = places[each.source] + [0.0, 0.8 * span]
            ax.add_patch(Circle(tuple(centre), span, fill=False, gid="loops", **style))
        elif not each.both:
            ends = [tuple(places[node]) for node in each[:2]]
            arrow = FancyArrowPatch(
                *ends, arrowstyle="-|>", mutation_scale=9, shrinkA=radius, shrinkB=radius, **style
            )
            arrow.set(gid="arrows", facecolor=style["edgecolor"])
            ax.add_patch(arrow)
    true = [each for each in edges if each.truth]
    if true:
        _draw_lines(
            ax, true, places, "truth", colors=_TRUTH, linewidths=1.4, linestyles="--", zorder=2.5
        ).set_label("ground truth")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), fontsize="small", frameon=False)


def _draw_lines(ax: Axes, edges: list[_Edge], places: Places, gid: str, **style: Any) -> Any:
    from matplotlib.collections import LineCollection

    segments = [places[[each.source, each.target]] for each in edges]
    lines = LineCollection(segments, **style)
    lines.set_gid(gid)
    return ax.add_collection(lines)


def _colour(mask: float) -> tuple[float, ...]:
    """Grey and faint at 0, strong at 1."""
    return (*(_MASKED + mask * (_KEPT - _MASKED)), 0.35 + 0.65 * mask)


def _width(mask: float) -> float:
    """In points."""
    return 0.8 + 4.2 * mask


def _ink(colour: str) -> str:
    """Black on light colours, white on dark ones."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def _axes(ax: Axes | None, size: tuple[float, float] = (_SIDE, _SIDE)) -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").subplots() if ax is None else ax


def _write(ax: Axes, place: Places, text: str, size: float, colour: str) -> None:
    ax.text(
        *place,
        text,
        fontsize=size,
        color=colour,
        ha="center",
        va="center_baseline",
        zorder=4,
        parse_math=False,
        usetex=False,
    )


def _finish(ax: Axes, places: Places, title: str) -> None:
    if title:
        ax.set_title(title, fontsize="medium", parse_math=False, usetex=False)
    ax.set_aspect("equal")
    if len(places):
        # As much room on every side: margins in proportion cut what lies along a line.
        low, high = places.min(axis=0), places.max(axis=0)
        room = 0.12 * float((high - low).max()) or 0.5
        ax.set_xlim(low[0] - room, high[0] + room)
        ax.set_ylim(low[1] - room, high[1] + room)
    ax.set_axis_off()


def _title(explanation: Explanation) -> str:
    """The explained labels, and the bounds of the PNS, as far as the explanation has them."""
    parts = []
    label = explanation.get("label")
    if label is not None:
        labels = [str(each) for each in torch.as_tensor(label).reshape(-1).tolist()]
        parts.append(f"label {', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}")
    lower, upper = explanation.get("pns_lower"), explanation.get("pns_upper")
    if lower is not None and upper is not None:
        parts.append(f"PNS in [{float(lower):.2f}, {float(upper):.2f}]")
    return "; ".join(parts)
