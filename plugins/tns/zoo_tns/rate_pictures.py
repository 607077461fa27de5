"""Pictures of expansion rates: of a few nodes over time, and of many queries as a histogram.

Artists bear a `gid`: "rate" a node's line, "open", "closed" and "bound" its points, "recent" the
line at 1; in the histogram, the bars of each kind bear the kind's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from zoo_core.errors import InputError
from zoo_tns.drawing import (
    OTHERS,
    PALETTE,
    Numbers,
    UnitName,
    axes_or_new,
    legend_beside,
    logarithmic,
    numbers,
    require_matplotlib,
    unit_for,
    vector,
)
from zoo_tns.positions import check_size, largest_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST: Final = len(PALETTE)
_KINDS: Final = {
    "short": ("history too short (N \N{LESS-THAN OR EQUAL TO} k), r = 1", "#d9d9d9"),
    "closed": ("closed, r = 1", OTHERS),
    "open": ("open", PALETTE[0]),
    "bound": ("at the upper bound", PALETTE[1]),
}
"""What the rate of a query can be, from the bottom of a bar up: its label and colour."""
_POINTS: Final = {
    "open": ("o", True, "open"),
    "closed": ("o", False, "closed, r = 1"),
    "bound": ("^", True, "at the upper bound"),
}
"""How a rate is marked on a node's line: the marker, whether it is filled, its label."""
_WIDE: Final = 10.0
"""Rates beyond this are shown on a logarithmic axis."""
_LEAST: Final = 1.01
"""Up to here an axis always goes: rates that are 1 by all but rounding shall look like it."""
_ROUNDING: Final = 1e-6


def draw_rates(
    rates: Any,
    nodes: Any,
    times: Any,
    ax: Axes | None = None,
    layer: int = -1,
    *,
    count: Any = None,
    k: int | None = None,
    most: int = 6,
    unit: UnitName | None = None,
) -> Axes:
    """Draws the expansion rates of a few nodes over time, a line a node.

    A full point is an open rate, an empty one a closed one (r = 1, most recent sampling), and a
    triangle one at the upper bound of Eq. 8, known for a TNS model or where `count` and `k` are
    given.

    Args:
        rates: a model with `rates(nodes, times)`, or its result: [B], or [B, layers].
        nodes: [B], of each query.
        times: [B], of each query, in seconds.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        layer: which one, counted from 0, or from the last one if negative. The last one's rate is
            that of the query itself.
        count: [B], N of each query; see `TemporalIndex.count`.
        k: the number of positions.
        most: so many nodes at most, those with most queries; at most 7.
        unit: of the time axis; None for the one that suits.

    Raises:
        InputError: an argument is not as above, or there is no query.
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    check_size(most, "most")
    if most > _MOST:
        raise InputError(
            f"most is {most}; expected at most {_MOST}: more lines cannot be told apart."
        )
    node, time = vector(nodes, "nodes"), vector(times, "times")
    vector(time, "times", len(node))
    rate, title = _rates(rates, nodes, times, layer, len(node))
    kind = _kinds(rate, *_bounds(rates, nodes, times, count, k))
    point = np.where(kind == "short", "closed", kind)
    # Stable: of nodes with as many queries, those of the smaller id.
    named, number = np.unique(node, return_counts=True)
    shown = named[np.argsort(-number, kind="stable")[:most]]
    drawn = np.isin(node, shown)
    start = time[drawn].min()
    chosen = unit_for(float(np.ptp(time[drawn])), unit)

    ax = axes_or_new(ax, (7.0, 3.6))
    size = float(np.clip(2400 / drawn.sum(), 5, 18))
    recent = ax.axhline(1, color=OTHERS, linestyle=":", label="most recent, r = 1", zorder=1)
    recent.set_gid("recent")
    for each, colour in zip(shown, PALETTE, strict=False):
        its = np.flatnonzero(node == each)
        its = its[np.argsort(time[its], kind="stable")]
        x = (time[its] - start) / chosen.seconds
        label = f"node {each:.0f}"
        (line,) = ax.plot(
            x, rate[its], color=colour, linewidth=0.8, alpha=0.5, label=label, zorder=2
        )
        line.set_gid("rate")
        for name, (marker, filled, _) in _POINTS.items():
            at = point[its] == name
            if at.any():
                points = ax.scatter(x[at], rate[its][at], s=size, marker=marker, zorder=3)
                points.set(facecolor=colour if filled else "white", edgecolor=colour, gid=name)
    for name, (marker, filled, label) in _POINTS.items():
        if (point[drawn] == name).any():
            face = OTHERS if filled else "white"
            ax.plot([], [], marker, color=OTHERS, markerfacecolor=face, markersize=5, label=label)
    if rate[drawn].max() > _WIDE:
        logarithmic(ax, "y")
    else:
        ax.ticklabel_format(axis="y", useOffset=False)
        ax.set_ylim(top=max(ax.get_ylim()[1], _LEAST))
    ax.set_xlabel(
        f"time since {start:.15g}"
        if unit == "time"
        else f"{chosen.name} since the first query (t = {start:.15g} s)"
    )
    ax.set_ylabel("expansion rate r")
    hidden = len(named) - len(shown)
    rest = f"{len(shown)} of {len(named)} nodes, those with most queries" if hidden else ""
    ax.set_title("; ".join(filter(None, (title, rest))), fontsize="medium")
    ax.grid(alpha=0.3)
    legend_beside(ax)
    return ax


def draw_rate_histogram(
    rates: Any,
    nodes: Any = None,
    times: Any = None,
    ax: Axes | None = None,
    layer: int = -1,
    *,
    count: Any = None,
    k: int | None = None,
    bins: int = 30,
) -> Axes:
    """Draws how often each expansion rate occurs, with the shares of closed and of bound ones.

    For a TNS model, or where `count` and `k` are given, queries whose history is too short to
    expand are told from closed ones, and rates at the upper bound of Eq. 8, (N - 1) / (k - 1), from
    open ones. All shares are of all queries.

    Args:
        rates: a model with `rates(nodes, times)`, or its result: [B], or [B, layers].
        nodes: [B], of each query; needed by a model only.
        times: [B], of each query; needed by a model only.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        layer: which one, counted from 0, or from the last one if negative.
        count: [B], N of each query; see `TemporalIndex.count`.
        k: the number of positions.
        bins: how many bars.

    Raises:
        InputError: an argument is not as above, or there is no query.
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    check_size(bins, "bins")
    rate, title = _rates(rates, nodes, times, layer, None)
    count, k = _bounds(rates, nodes, times, count, k)
    kind = _kinds(rate, count, k)
    top = float(rate.max())
    wide = top > _WIDE
    edges = np.geomspace(1, top, bins + 1) if wide else np.linspace(1, max(top, _LEAST), bins + 1)

    ax = axes_or_new(ax, (7.0, 3.6))
    below = np.zeros(bins)
    for name, (label, colour) in _KINDS.items():
        if not (kind == name).any() and (name == "short" or (name == "bound" and count is None)):
            continue
        height = np.histogram(rate[kind == name], edges)[0] / len(rate)
        bars = ax.bar(
            edges[:-1],
            height,
            np.diff(edges),
            bottom=below,
            align="edge",
            color=colour,
            edgecolor="white",
            linewidth=0.4,
            label=f"{label}: {_share(kind == name)}",
        )
        for bar in bars:
            bar.set_gid(name)
        below += height
    mean = ax.axvline(rate.mean(), color="black", linestyle="--", linewidth=1, gid="mean")
    mean.set_label(f"mean, r = {rate.mean():.3g}")
    if wide:
        logarithmic(ax, "x")
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, 1.05 * below.max())
    ax.set_xlabel("expansion rate r")
    ax.set_ylabel("share of queries")
    title = "; ".join(filter(None, (title, f"{len(rate):,} queries")))
    ax.set_title(title, fontsize="medium")
    ax.grid(axis="y", alpha=0.3)
    ax.set_axisbelow(True)
    legend_beside(ax)
    return ax


def _rates(given: Any, nodes: Any, times: Any, layer: int, size: int | None) -> tuple[Numbers, str]:
    """The rates of one layer, [B] and at least 1, and which layer of how many."""
    if callable(getattr(given, "rates", None)):
        if nodes is None or times is None:
            raise InputError("nodes and times are needed to ask a model for its rates.")
        with torch.no_grad():
            given = given.rates(nodes, times)
    table = numbers(given, "rates")
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or size not in (None, len(table)) or not table.size:
        expected = "a number for each query" if size is None else f"{size} queries, one a node"
        raise InputError(
            f"rates have shape {list(table.shape)}; expected [B] or [B, layers] with {expected}."
        )
    layers = table.shape[1]
    if isinstance(layer, bool) or not isinstance(layer, int) or not -layers <= layer < layers:
        raise InputError(f"layer is {layer!r}; expected one of {layers}, counted from 0.")
    rate = vector(table[:, layer], "rates")
    if (rate < 1).any():
        raise InputError(f"rates have {rate.min():g}; expected at least 1.")
    return rate, f"layer {layer % layers + 1} of {layers}" if layers > 1 else ""


def _bounds(
    given: Any, nodes: Any, times: Any, count: Any, k: int | None
) -> tuple[Any, int | None]:
    """The `count` and `k` given or, for a TNS model and neither, those of its graph."""
    if count is None and k is None and getattr(given, "sampler", None) == "tns":
        return given.graph.index.count(nodes, times), given.k
    return count, k


def _kinds(rate: Numbers, count: Any, k: int | None) -> npt.NDArray[np.str_]:
    """[B] of the names in `_KINDS`."""
    if (count is None) != (k is None):
        raise InputError("count and k tell the upper bound together; give both or neither.")
    kind = np.where(rate > 1, "open", "closed")
    if k is None:
        return kind
    check_size(k, "k")
    number = vector(count, "count", len(rate))
    bound = largest_rate(torch.from_numpy(number), k).numpy()
    if (rate > bound * (1 + _ROUNDING)).any():
        raise InputError("rates exceed (N - 1) / (k - 1) of their count and k; are these others'?")
    kind[(rate > 1) & (rate >= bound * (1 - _ROUNDING))] = "bound"
    kind[bound <= 1] = "short"
    return kind


def _share(which: npt.NDArray[np.bool_]) -> str:
    """A share in percent, that is 0 or 100 only if it is exactly so."""
    percent = 100 * which.mean()
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"
