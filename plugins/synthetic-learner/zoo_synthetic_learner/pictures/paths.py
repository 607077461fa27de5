"""A unit's outcomes beside those of its synthetic counterpart.

Artists bear a `gid`: "observed", "synthetic" and "treatment".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner.event_time import adjusted_gap, imputation_of, unit_row
from zoo_synthetic_learner.pictures.drawing import (
    OTHERS,
    PALETTE,
    axes_or_new,
    legend_if_any,
    mark_treatment,
    name_times,
    positions,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_path(estimator: Any, unit: Any, ax: Axes | None = None) -> Axes:
    """Draws what was observed of a unit, and the counterfactual made of its donors.

    For a treated unit that is its outcome without treatment, for a control unit of a learner of
    two sides its outcome with it: one line for each cohort of donors. The distance of the lines is
    the effect; with time weights the counterfactual is therefore shifted by the misfit before
    treatment.

    Args:
        estimator: a fitted one that imputes the unit.
        unit: its label.
        ax: where to draw; None for axes on a new figure, `ax.figure`.

    Raises:
        InputError: the unit is unknown, or was not imputed.
        ConfigError: matplotlib is not installed.
    """
    panel = estimator.panel_
    row = unit_row(panel, unit)
    sides = [(imputation_of(estimator), 1.0, "untreated")]
    if estimator.learned_.control is not None:
        sides.append((estimator.learned_.control, -1.0, "treated"))
    found = [
        (imputed, sign, kind, place)
        for imputed, sign, kind in sides
        for place in np.flatnonzero(imputed.units == row)
    ]
    if not found:
        raise InputError(
            f"unit {unit} has no synthetic counterpart: it is not treated, and the learner imputes "
            "treated units only."
        )
    ax = axes_or_new(ax)
    x, observed = positions(panel.times), panel.outcome[row]
    ax.plot(x, observed, color="black", linewidth=1.8, label="observed", gid="observed")
    for imputed, sign, kind, place in found:
        start = int(imputed.start[place])
        name = f"synthetic, {kind}"
        if len(found) > 1:
            name += f" from {shorten(panel.times[start], 12)} on"
        # Where nothing was observed the gap is unknown, but the counterfactual is not.
        shift = imputed.gap[place] - adjusted_gap(imputed)[place]
        known = shift[np.isfinite(shift)]
        synthetic = imputed.predicted[place] + sign * (known[0] if len(known) else 0.0)
        (line,) = ax.plot(x, synthetic, linestyle="--", linewidth=1.6, label=name, gid="synthetic")
        line.set_color(PALETTE[(list(np.unique(imputed.start)).index(start)) % len(PALETTE)])
        mark_treatment(ax, (x[start - 1] + x[start]) / 2)
    name_times(ax, panel.times)
    ax.set_ylabel(shorten(panel.outcome_name))
    ax.set_title(shorten(panel.units[row], 48), fontsize="medium")
    ax.grid(alpha=0.25, color=OTHERS)
    legend_if_any(ax)
    return ax
