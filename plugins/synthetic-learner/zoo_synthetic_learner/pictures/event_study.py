"""An event study: the mean gap by time since treatment, of all units or of groups.

Artists bear a `gid`: "effect" a group's line, "interval" its band, "treatment", "zero", and "units"
the numbers of units at the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoo_synthetic_learner.event_time import EVERYBODY, Grouping, event_study
from zoo_synthetic_learner.pictures.drawing import (
    OTHERS,
    PALETTE,
    axes_or_new,
    legend_if_any,
    mark_treatment,
    mark_zero,
    name_event_times,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COUNTS = 9


def plot_event_study(
    estimator: Any,
    by: Grouping | None = None,
    ax: Axes | None = None,
    bootstrap: Any = None,
    *,
    bins: int = 2,
    alpha: float = 0.05,
) -> Axes:
    """Draws the mean gap of the treated units by event time.

    Without groups, numbers at the top tell how many units there were, if that changes.

    Args:
        estimator: a fitted one that imputes treated units.
        by: see `event_study.event_study`; groups after the seventh are grey.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        bootstrap: what `estimator.bootstrap()` has returned, for a band; only without `by`.
        bins: see `event_study.event_study`.
        alpha: 1 less the coverage of the band.

    Raises:
        InputError: as `event_study.event_study`.
        ConfigError: matplotlib is not installed.
    """
    table = event_study(estimator, by, bins=bins, bootstrap=bootstrap, alpha=alpha)
    ax = axes_or_new(ax)
    mark_zero(ax)
    mark_treatment(ax, -0.5)
    few = table["event_time"].nunique() <= 60
    for place, (group, part) in enumerate(table.groupby("group", sort=False)):
        colour = PALETTE[place] if place < len(PALETTE) else OTHERS
        most = part["units"].max()
        name = f"{shorten(group)} ({most} unit{'s' if most > 1 else ''})"
        ax.plot(
            part["event_time"],
            part["effect"],
            color=colour,
            marker="o" if few else None,
            markersize=4,
            linewidth=1.4,
            label="_nolegend_" if group == EVERYBODY and by is None else name,
            gid="effect",
            zorder=3,
        )
    if bootstrap is not None:
        ax.fill_between(
            table["event_time"],
            table["low"],
            table["high"],
            color=PALETTE[0],
            alpha=0.2,
            linewidth=0,
            label=f"{100 * (1 - alpha):g} % interval",
            gid="interval",
        )
    if by is None and table["units"].nunique() > 1:
        _count_units(ax, table)
    name_event_times(ax)
    ax.set_ylabel(f"effect on {shorten(estimator.panel_.outcome_name)}")
    legend_if_any(ax, beside=by is not None)
    return ax


def _count_units(ax: Axes, table: pd.DataFrame) -> None:
    chosen = np.unique(np.linspace(0, len(table) - 1, _COUNTS).round().astype(int))
    for place in chosen:
        at, units = table["event_time"].iloc[place], table["units"].iloc[place]
        ax.text(
            at,
            1.01,
            f"n={units}",
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize="x-small",
            color=OTHERS,
            gid="units",
        )
