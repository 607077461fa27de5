"""How masks are drawn, in graphs and in molecules alike: by width, strength and colour.

Artists bear a `gid` that says what they show: here "edges", "arrows", "loops" and "truth".
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from zoo_core.errors import ConfigError
from zoo_nseg.molecule_layout import Places
from zoo_nseg.picture_data import Edge

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEPT: Final = np.array([0.82, 0.28, 0.0])
"""The colour of a mask of 1."""
SIDE: Final = 5.0
"""The side of a new figure, in inches."""
_MASKED: Final = np.array([0.62, 0.62, 0.62])
_TRUTH: Final = "#1b7837"


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


def axes_or_new(ax: Axes | None, size: tuple[float, float] = (SIDE, SIDE)) -> Axes:
    """Returns the axes given or, for None, those of a new figure of `size` in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").subplots() if ax is None else ax


def draw_edges(ax: Axes, edges: list[Edge], places: Places, size: float) -> None:
    """Draws the masks: lines, arrows where there is one direction only, circles for self-loops.

    Args:
        ax: where to draw.
        edges: the strongest last, so that it lies on top.
        places: [N, 2] of the nodes.
        size: of a node's disc, in square points: arrows end at its border.
    """
    from matplotlib.patches import Circle, FancyArrowPatch

    lines, radius = [each for each in edges if each.both], size**0.5 / 2
    draw_lines(
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
        draw_lines(
            ax, true, places, "truth", colors=_TRUTH, linewidths=1.4, linestyles="--", zorder=2.5
        ).set_label("ground truth")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), fontsize="small", frameon=False)


def draw_lines(ax: Axes, edges: list[Edge], places: Places, gid: str, **style: Any) -> Any:
    """Draws edges as straight lines in one collection, which it returns.

    Args:
        ax: where to draw.
        edges: what to draw.
        places: [N, 2] of the nodes.
        gid: of the collection.
        style: of the collection, as of matplotlib's `LineCollection`.
    """
    from matplotlib.collections import LineCollection

    segments = [places[[each.source, each.target]] for each in edges]
    lines = LineCollection(segments, **style)
    lines.set_gid(gid)
    return ax.add_collection(lines)


def write(ax: Axes, place: Places, text: str, size: float, colour: str) -> None:
    """Writes a text as it stands, of `size` points, centred at `place` [2]."""
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


def finish(ax: Axes, places: Places, title: str) -> None:
    """Gives a picture its title and the room that nodes at `places` [n, 2] need."""
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


def _colour(mask: float) -> tuple[float, ...]:
    """Grey and faint at 0, strong at 1."""
    return (*(_MASKED + mask * (KEPT - _MASKED)), 0.35 + 0.65 * mask)


def _width(mask: float) -> float:
    """In points."""
    return 0.8 + 4.2 * mask
