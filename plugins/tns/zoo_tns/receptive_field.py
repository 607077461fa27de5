"""Pictures of receptive fields: which events of a history one query reads, and how far back.

Artists bear a `gid`: "history" the ticks of all events, and in each row "reach" a line from the
query to the oldest event read, "pair" what joins two events that share a position, "events". The
line at the query itself is "query"; it is out of view where the node was silent for long.
"""

from __future__ import annotations

import math
from collections import Counter
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
    duration,
    legend_beside,
    logarithmic,
    numbers,
    require_matplotlib,
    unit_for,
    vector,
)
from zoo_tns.positions import ShortHistory, check_size, expand_positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from zoo_tns.index import TemporalIndex

_ROOM: Final = 1.06
"""How much further than the oldest event read the axis goes."""
_FAINT: Final = 0.12
"""The opacity of the border of an event that is read with next to no weight."""


class _Row(NamedTuple):
    """What one rate reads: `weight` [N] of each event, `pairs` [P, 2] of indices into them."""

    rate: float
    positions: int
    weight: Numbers
    pairs: npt.NDArray[np.int64]


def draw_receptive_field(
    index: TemporalIndex,
    node: int,
    time: float,
    *,
    k: int,
    rate: Any = (),
    short: ShortHistory = "truncate",
    ax: Axes | None = None,
    whole: bool = False,
    log: bool = False,
    unit: UnitName | None = None,
) -> Axes:
    """Draws the history of a node, and which of its events a query reads at one or more rates.

    The lowest row shows the events as ticks, the newest at the right; the one above it the k most
    recent ones, and each further one the k positions of a rate (Eq. 9). A position between two
    events reads both: the more it reads of an event, the stronger is its point. Colours are the
    partners: each one's own where there are at most 7, else those of the 6 that are read most.

    Args:
        index: the events.
        node: whose history.
        time: of the query, in seconds; events strictly before it are its history.
        k: the number of positions.
        rate: a number of at least 1, or several; such as those of `TemporalGNN.rates`.
        short: what becomes of a rate that reaches beyond the oldest event; see `expand_positions`.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        whole: show the whole history, not only as far back as a row reaches.
        log: show the time before the query on a logarithmic axis.
        unit: of the time axis; None for the one that suits.

    Raises:
        InputError: an argument is not as above.
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    check_size(k, "k")
    rates = vector(np.atleast_1d(numbers(rate, "rate")), "rate")
    nodes, times = _query(node, time)
    count = index.count(nodes, times)
    total = int(count)
    events = index.gather(nodes, times, torch.arange(1, total + 1).unsqueeze(0))
    age = (times - events.time[0]).double().numpy()
    partner = events.node[0].numpy()
    rows = [_row(each, count, k, short) for each in dict.fromkeys((1.0, *rates.tolist()))]
    reach = [_reach(row, age) for row in rows]

    ax = axes_or_new(ax, (8.0, 1.6 + 0.55 * len(rows)))
    limit = _ROOM * (age.max(initial=0.0) if whole else max(reach))
    seen = age <= limit
    chosen = unit_for(limit, unit)
    age = age / chosen.seconds
    read = np.sum([row.weight > 0 for row in rows], axis=0)
    names, colours = _colours(partner, seen, read)
    ticks = ax.vlines(age[seen], -0.28, 0.28, colors=colours[seen], linewidth=0.9)
    ticks.set_gid("history")
    for height, row in enumerate(rows, start=1):
        _draw_row(ax, height, row, age, colours)
    heights = range(len(rows) + 1)
    ax.set_yticks(
        heights,
        [
            f"history\n{_of(int(seen.sum()), total, 'event')}",
            *(_label(row, far, k, unit) for row, far in zip(rows, reach, strict=True)),
        ],
        fontsize="small",
    )
    ax.set_ylim(-0.6, len(rows) + 0.6)
    ax.tick_params(axis="y", length=0)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    if total:
        _time_axis(ax, float(age.min()), limit / chosen.seconds, log)
    else:
        ax.text(0.5, 0.5, "no event before the query", ha="center", transform=ax.transAxes)
        ax.set_xticks([])
    ax.set_xlabel(f"{chosen.name} before the query")
    ax.set_title(
        f"node {node} at t = {time:.15g}{'' if unit == 'time' else ' s'}", fontsize="medium"
    )
    for name, colour in names.items():
        ax.plot([], [], "o", color=colour, label=name, markersize=5)
    if names:
        legend_beside(ax, "partner (events shown)")
    return ax


def _time_axis(ax: Axes, newest: float, limit: float, log: bool) -> None:
    """Sets the bounds of the axis, the newest event at the right, and marks the query."""
    if log:
        logarithmic(ax, "x")
        ax.set_xlim(limit, newest / _ROOM)
        return
    # A long silence before the query would leave no room for what came before it.
    silent = newest > limit / 2
    right = newest if silent else 0.0
    ax.set_xlim(limit, right - (_ROOM - 1) * (limit - right))
    if not silent:
        ax.axvline(0, color="black", linewidth=0.8, zorder=1).set_gid("query")


def _query(node: Any, time: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The query as tensors [1]: the time exactly, as an integer or in float64."""
    if isinstance(node, bool) or not isinstance(node, Integral):
        raise InputError(f"node is {node!r}; expected an integer.")
    if isinstance(time, bool) or not isinstance(time, Real) or not math.isfinite(time):
        raise InputError(f"time is {time!r}; expected a finite number.")
    whole = isinstance(time, Integral)
    return (
        torch.tensor([int(node)]),
        torch.tensor([int(time)]) if whole else torch.tensor([float(time)], dtype=torch.float64),
    )


def _row(rate: float, count: torch.Tensor, k: int, short: ShortHistory) -> _Row:
    """The weights with which one rate reads the events (Eq. 9 and 10)."""
    first, second, part, mask = (
        each[0]
        for each in expand_positions(torch.tensor([rate], dtype=torch.float64), count, k, short)
    )
    lower, upper, share = ((each[mask]).numpy() for each in (first - 1, second - 1, part))
    weight = np.zeros(int(count))
    np.add.at(weight, lower, 1 - share)
    np.add.at(weight, upper, share)
    between = share > 0
    return _Row(rate, len(share), weight, np.stack([lower[between], upper[between]], axis=1))


def _reach(row: _Row, age: Numbers) -> float:
    """The age of the oldest event that is read; 0 without any."""
    return float(age[row.weight > 0].max(initial=0.0))


def _draw_row(
    ax: Axes, height: int, row: _Row, age: Numbers, colours: npt.NDArray[np.float64]
) -> None:
    read = np.flatnonzero(row.weight)
    if not len(read):
        return
    ages = age[read]
    line = ax.hlines(height, ages.min(), ages.max(), colors="#cccccc", linewidth=1, zorder=1)
    line.set_gid("reach")
    if len(row.pairs):
        low = height - 0.22
        newer, older = age[row.pairs].T
        pair = ax.hlines(np.full(len(newer), low), newer, older, color="black", zorder=2)
        pair.set_linewidth(1)
        pair.set_gid("pair")
    face, edge = colours[read].copy(), colours[read].copy()
    face[:, 3] = row.weight[read].clip(0, 1)
    edge[:, 3] = face[:, 3].clip(min=_FAINT)
    # Thin, for bursts; and those with the largest weight on top.
    order = np.argsort(row.weight[read], kind="stable")
    points = ax.scatter(ages[order], np.full(len(read), height), s=60, marker="d", zorder=3)
    points.set(facecolor=face[order], edgecolor=edge[order], linewidth=0.6, gid="events")


def _colours(
    partner: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_], read: npt.NDArray[np.int64]
) -> tuple[dict[str, str], npt.NDArray[np.float64]]:
    """The legend, with how many events in view each partner has, and the RGBA [N, 4] of all.

    Colours go first to the partners that are read most often, `read` [N] times an event.
    """
    from matplotlib.colors import to_rgba

    number_of = Counter(partner[seen].tolist())
    reads = Counter(np.repeat(partner, read).tolist())
    found = sorted(number_of.items(), key=lambda item: (-reads[item[0]], -item[1], item[0]))
    # As many colours as there are: six and "others", or seven.
    named = found if len(found) <= len(PALETTE) else found[: len(PALETTE) - 1]
    legend, colours = {}, np.tile(to_rgba(OTHERS), (len(partner), 1))
    for (each, number), colour in zip(named, PALETTE, strict=False):
        legend[f"node {each} ({number})"] = colour
        colours[partner == each] = to_rgba(colour)
    rest = found[len(named) :]
    if rest:
        legend[f"{len(rest)} others ({sum(number for _, number in rest)})"] = OTHERS
    return legend, colours


def _label(row: _Row, reach: float, k: int, unit: UnitName | None) -> str:
    name = "most recent, r = 1" if row.rate == 1 else f"r = {row.rate:.4g}"
    far = f", reach {duration(reach, unit)}" if row.positions else ""
    return f"{name}\n{_of(row.positions, k, 'position')}{far}"


def _of(part: int, whole: int, what: str) -> str:
    """How many, and of how many where it is not all."""
    plural = what if whole == 1 else f"{what}s"
    return f"{whole} {plural}" if part == whole else f"{part} of {whole} {plural}"
