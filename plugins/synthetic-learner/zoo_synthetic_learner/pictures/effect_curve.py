"""The learnt effect tau(s) against one covariate, the others held at their means.

Artists bear a `gid`: "effect" a curve, "interval" its band, "rug" the treated units' values,
"outside" a part in which the effect is extrapolated, and "zero".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner.event_time import covariate_place
from zoo_synthetic_learner.panel import Bools, Floats
from zoo_synthetic_learner.pictures.drawing import (
    OTHERS,
    PALETTE,
    axes_or_new,
    legend_if_any,
    mark_zero,
    shorten,
)
from zoo_synthetic_learner.support import support_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CURVES: Final = 4


def effect_grid(estimator: Any, covariate: str, points: int = 100) -> Floats:
    """Returns covariates [points, d] along which `plot_effect` draws.

    One covariate goes from the smallest to the largest value of all units; the others have their
    means over the treated units, so that the curve is where effects were seen.

    Raises:
        InputError: no covariate of that name.
    """
    panel = estimator.panel_
    place = covariate_place(panel, covariate)
    static = panel.static_covariates()
    grid = np.tile(np.nanmean(static[panel.treated], axis=0), (points, 1))
    grid[:, place] = np.linspace(np.nanmin(static[:, place]), np.nanmax(static[:, place]), points)
    return grid


def plot_effect(
    estimator: Any,
    covariate: str,
    ax: Axes | None = None,
    *,
    bootstrap: Any = None,
    alpha: float = 0.05,
    n_boot: int | None = None,
) -> Axes:
    """Draws the effect against one covariate; where it is extrapolated the ground is shaded.

    An effect by event time is drawn for up to four of them.

    Args:
        estimator: a fitted one.
        covariate: its name.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        bootstrap: what `estimator.bootstrap(effect_grid(estimator, covariate))` has returned, for
            a band.
        alpha: 1 less the coverage of the band.
        n_boot: so many bootstrap samples are drawn for a band; None for none.

    Raises:
        InputError: no covariate of that name, or a bootstrap of other queries.
        ConfigError: matplotlib is not installed.
    """
    panel = estimator.panel_
    grid = effect_grid(estimator, covariate)
    place = covariate_place(panel, covariate)
    if bootstrap is None and n_boot is not None:
        bootstrap = estimator.bootstrap(grid, n_boot=n_boot)
    x = grid[:, place]
    effect = np.asarray(estimator.effect(grid))
    curves = effect.reshape(len(grid), -1)
    band = None
    if bootstrap is not None:
        low, high = bootstrap.effect_interval(alpha)
        if np.shape(low) != effect.shape:
            raise InputError(
                f"the bootstrap has effects of shape {list(np.shape(low))}; expected "
                f"{list(effect.shape)}: make it with effect_grid(estimator, {covariate!r})."
            )
        band = np.reshape(low, curves.shape), np.reshape(high, curves.shape)
    ax = axes_or_new(ax)
    mark_zero(ax)
    number = min(curves.shape[1], _CURVES)
    for order, time in enumerate(np.linspace(0, curves.shape[1] - 1, number).round().astype(int)):
        colour = PALETTE[order]
        name = f"event time {time}" if effect.ndim > 1 else "_nolegend_"
        ax.plot(x, curves[:, time], color=colour, linewidth=1.8, label=name, gid="effect", zorder=3)
        if band is not None:
            cover = f"{100 * (1 - alpha):g} % interval" if order == 0 else "_nolegend_"
            ax.fill_between(
                x,
                band[0][:, time],
                band[1][:, time],
                color=colour,
                alpha=0.18,
                linewidth=0,
                label=cover,
                gid="interval",
            )
    _shade(ax, x, ~support_of(estimator).contains(grid))
    values = panel.static_covariates()[panel.treated, place]
    ax.plot(
        values,
        np.zeros(len(values)),
        linestyle="none",
        marker="|",
        markersize=10,
        color="black",
        alpha=0.6,
        transform=ax.get_xaxis_transform(),
        clip_on=False,
        label="treated units",
        gid="rug",
    )
    ax.set_xlim(x[0], x[-1])
    ax.set_xlabel(shorten(covariate))
    ax.set_ylabel(f"effect on {shorten(panel.outcome_name)}")
    legend_if_any(ax)
    return ax


def _shade(ax: Axes, x: Floats, outside: Bools) -> None:
    """Shades each run of points outside the support, up to half way to the next point inside."""
    step = (x[1] - x[0]) / 2
    edges = np.flatnonzero(np.diff(np.concatenate(([False], outside, [False])).astype(int)))
    name = "extrapolated"
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        low, high = max(x[first] - step, x[0]), min(x[end - 1] + step, x[-1])
        ax.axvspan(low, high, color=OTHERS, alpha=0.18, linewidth=0, label=name, gid="outside")
        name = "_nolegend_"
