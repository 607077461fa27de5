"""The gaps of treated units, what was observed less the synthetic counterfactual, and their mean.

Artists bear a `gid`: "gap" a unit's line, "mean" that of all units drawn, "treatment" and "zero".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zoo_core.errors import InputError, enumeration
from zoo_synthetic_learner.event_time import aligned_gaps, imputation_of, unit_row
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.panel import Panel
from zoo_synthetic_learner.pictures.drawing import (
    OTHERS,
    PALETTE,
    axes_or_new,
    legend_if_any,
    mark_treatment,
    mark_zero,
    name_event_times,
    name_times,
    positions,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_gaps(estimator: Any, ax: Axes | None = None, units: Sequence[Any] | None = None) -> Axes:
    """Draws the gap of each treated unit over time, and their mean.

    Units that start at different times are drawn by event time; their mean is then over the units
    observed there. Up to seven units have colours and names, more are grey.

    Args:
        estimator: a fitted one that imputes treated units.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        units: the labels of those to draw; None for all treated ones.

    Raises:
        InputError: the learner imputes no units, or a unit is unknown or not treated.
        ConfigError: matplotlib is not installed.
    """
    panel, imputed = estimator.panel_, imputation_of(estimator)
    rows = treated_rows(panel, imputed, units)
    ax = axes_or_new(ax)
    gap, offset = aligned_gaps(imputed)
    gap, starts = gap[rows], np.unique(imputed.start[rows])
    if len(starts) == 1:
        start = int(starts[0])
        gap = gap[:, offset - start :][:, : panel.num_periods]
        x = positions(panel.times)
        mark_treatment(ax, (x[start - 1] + x[start]) / 2)
        name_times(ax, panel.times)
    else:
        seen = np.flatnonzero(np.isfinite(gap).any(axis=0))
        gap = gap[:, seen[0] : seen[-1] + 1]
        x = np.arange(seen[0], seen[-1] + 1) - offset
        mark_treatment(ax, -0.5)
        name_event_times(ax)
    mark_zero(ax)
    named = len(rows) <= len(PALETTE)
    for place, row in enumerate(rows):
        first = f"{len(rows)} units" if place == 0 else "_nolegend_"
        ax.plot(
            x,
            gap[place],
            color=PALETTE[place] if named else OTHERS,
            linewidth=1.4 if named else 0.6,
            alpha=1.0 if named else float(np.clip(15 / len(rows), 0.12, 0.6)),
            label=shorten(panel.units[imputed.units[row]]) if named else first,
            gid="gap",
        )
    if len(rows) > 1:
        count = np.isfinite(gap).sum(axis=0)
        mean = np.where(count > 0, np.nansum(gap, axis=0) / np.maximum(count, 1), np.nan)
        ax.plot(x, mean, color="black", linewidth=2, label="mean", gid="mean", zorder=4)
    ax.set_ylabel(f"gap in {shorten(panel.outcome_name)}")
    legend_if_any(ax, beside=True)
    return ax


def treated_rows(
    panel: Panel, imputed: Imputation, units: Sequence[Any] | None
) -> npt.NDArray[np.intp]:
    """Returns the imputation's rows of these units, in their order; all for None.

    Raises:
        InputError: a unit is unknown or not treated, or there is none.
    """
    if units is None:
        return np.arange(len(imputed.units))
    if isinstance(units, str) or not isinstance(units, Sequence | np.ndarray) or not len(units):
        raise InputError(f"units is {units!r}; expected a list of labels, or None for all.")
    place = {int(unit): row for row, unit in enumerate(imputed.units)}
    wanted = [unit_row(panel, unit) for unit in units]
    for unit, label in zip(wanted, units, strict=True):
        if unit not in place:
            treated = enumeration([str(panel.units[each]) for each in imputed.units], 5)
            raise InputError(f"unit {label} is not treated; expected some of {treated}.")
    return np.array([place[unit] for unit in wanted], dtype=np.intp)
