"""Placebos in space: their gaps behind that of the treated, and how large their effects are.

Artists bear a `gid`: "placebo" a placebo's line, "observed" that of the treated units, in the
histogram "bar" and "observed"; "treatment" and "zero".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from zoo_core.errors import InputError, enumeration, suggestion
from zoo_synthetic_learner.inference.placebo_space import PlaceboSpace
from zoo_synthetic_learner.pictures.drawing import (
    OTHERS,
    PALETTE,
    axes_or_new,
    legend_if_any,
    mark_treatment,
    mark_zero,
    name_times,
    positions,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Statistic = Literal["ratio", "att"]
_NAMES: Final = {
    "ratio": "RMSPE with treatment / before it",
    "att": "mean effect over treated units and periods",
}


def plot_placebo_gaps(placebo: PlaceboSpace, ax: Axes | None = None, treatment: Any = None) -> Axes:
    """Draws the mean gap of the treated units before those of the placebos that count.

    Args:
        placebo: what `estimator.placebo_space()` has returned.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        treatment: the label of the first treated period, where a line is drawn; None for no line.

    Raises:
        InputError: the learner imputes nobody, or no such period.
        ConfigError: matplotlib is not installed.
    """
    _check_imputed(placebo)
    x = None if treatment is None else _between(placebo, treatment)
    ax = axes_or_new(ax)
    mark_zero(ax)
    if x is not None:
        mark_treatment(ax, x)
    times = positions(placebo.times)
    shown = placebo.gaps[placebo.kept]
    hidden = len(placebo.kept) - len(shown)
    name = f"{len(shown)} placebos" if len(shown) != 1 else "1 placebo"
    name += f" ({hidden} with a worse fit left out)" if hidden else ""
    for gap in shown:
        ax.plot(
            times,
            gap,
            color=OTHERS,
            linewidth=0.7,
            alpha=float(np.clip(20 / len(shown), 0.15, 0.6)),
            label=name,
            gid="placebo",
            zorder=2,
        )
        name = "_nolegend_"
    ax.plot(
        times,
        placebo.observed.gap,
        color=PALETTE[3],
        linewidth=2,
        label=_treated(placebo),
        gid="observed",
        zorder=3,
    )
    name_times(ax, placebo.times)
    ax.set_ylabel("mean gap")
    legend_if_any(ax)
    return ax


def plot_placebo_statistics(
    placebo: PlaceboSpace,
    ax: Axes | None = None,
    statistic: Statistic = "ratio",
    *,
    bins: int = 20,
) -> Axes:
    """Draws how large the effects of placebos are, and where that of the treated units lies.

    Args:
        placebo: what `estimator.placebo_space()` has returned.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        statistic: "ratio", of the RMSPE with treatment and before, or "att".
        bins: how many bars.

    Raises:
        InputError: another statistic, or a ratio of a learner that imputes nobody.
        ConfigError: matplotlib is not installed.
    """
    if statistic not in _NAMES:
        raise InputError(
            f"statistic is {statistic!r}.{suggestion(str(statistic), _NAMES)} Expected one of "
            f"{', '.join(get_args(Statistic))}."
        )
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise InputError(f"bins is {bins!r}; expected an integer of at least 1.")
    if statistic == "ratio":
        _check_imputed(placebo)
    values = getattr(placebo, statistic)[placebo.kept]
    observed = getattr(placebo.observed, statistic)
    p_value = getattr(placebo, f"p_value_{statistic}")
    finite = values[np.isfinite(values)]
    ax = axes_or_new(ax, (6.0, 3.4))
    both = [*finite, *([observed] if np.isfinite(observed) else [])]
    edges = np.histogram_bin_edges(both, bins)
    bars = ax.hist(finite, edges, color=OTHERS, alpha=0.6, label=f"{len(values)} placebos")[2]
    for bar in bars:
        bar.set_gid("bar")
    if np.isfinite(observed):
        name = f"{_treated(placebo)}: {observed:.3g}"
        ax.axvline(observed, color=PALETTE[3], linewidth=2, label=name, gid="observed")
    title = f"p = {p_value:.3g}"
    if len(finite) < len(values):
        title += f"; {len(values) - len(finite)} infinite ratios are not drawn"
    ax.set_title(title, fontsize="medium")
    ax.set_xlabel(_NAMES[statistic])
    ax.set_ylabel("placebos")
    ax.yaxis.get_major_locator().set_params(integer=True)
    legend_if_any(ax)
    return ax


def _check_imputed(placebo: PlaceboSpace) -> None:
    if np.isnan(placebo.observed.gap).all():
        raise InputError(
            "the learner of these placebos imputes nobody, so there are no gaps; expected a "
            "learner such as H1SL or SyntheticControl, or statistic='att'."
        )


def _between(placebo: PlaceboSpace, treatment: Any) -> float:
    """The middle between a period and the one before it."""
    try:
        start = int(placebo.times.get_loc(treatment))
    except (KeyError, TypeError):
        raise InputError(
            f"there is no time {treatment!r}; expected one from {placebo.times[0]} to "
            f"{placebo.times[-1]}."
        ) from None
    x = positions(placebo.times)
    return float((x[max(start - 1, 0)] + x[start]) / 2)


def _treated(placebo: PlaceboSpace) -> str:
    names = [shorten(label, 20) for label in placebo.treated]
    return names[0] if len(names) == 1 else f"treated: {enumeration(names, 2)}"
