"""Pictures of molecules: atoms by symbol and in their usual colours, masks by bonds and halos.

Artists bear a `gid` that says what they show: those of `zoo_nseg.drawing`, "bonds", "atoms" and
"node_mask".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from zoo_core.errors import InputError
from zoo_nseg.drawing import (
    KEPT,
    axes_or_new,
    draw_edges,
    draw_lines,
    finish,
    require_matplotlib,
    write,
)
from zoo_nseg.molecule_layout import molecule_layout
from zoo_nseg.picture_data import edges_to_draw, given_places, title_of, values_of_nodes
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
    edges = edges_to_draw(explanation, hard, truth)
    symbols = _symbols(explanation, atoms)
    nodes = list(range(len(symbols)))
    places = given_places(positions, nodes, len(nodes))
    if places is None:
        places = molecule_layout(len(nodes), [each[:2] for each in edges])

    ax = axes_or_new(ax)
    size = float(np.clip(5200 / max(len(nodes), 1), 30, 240))
    x, y = places.T
    if explanation.get("node_mask") is not None:
        mask = values_of_nodes(explanation, edges, hard, None)
        halo = ax.scatter(x, y, s=3.4 * size, c=[(*KEPT, 0.6 * each) for each in mask], zorder=0)
        halo.set(gid="node_mask", linewidth=0)
    draw_lines(ax, edges, places, "bonds", colors="#b8b8b8", linewidths=0.8, zorder=1)
    draw_edges(ax, edges, places, size)
    sizes = [size * (0.55 if symbol == "H" else 1) for symbol in symbols]
    colours = [COLOURS.get(symbol, OTHER_COLOUR) for symbol in symbols]
    discs = ax.scatter(x, y, s=sizes, c=colours, zorder=3, edgecolors="#303030")
    discs.set(gid="atoms", linewidth=0.7)
    for place, symbol, area, colour in zip(places, symbols, sizes, colours, strict=True):
        write(ax, place, symbol, 0.52 * area**0.5, _ink(colour))
    finish(ax, places, title_of(explanation) if title is None else title)
    return ax


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


def _ink(colour: str) -> str:
    """Black on light colours, white on dark ones."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
