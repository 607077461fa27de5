"""The donors' weights: bars for one target, a map of donors by targets for several.

Artists bear a `gid`: "weight" each bar, or "weights" the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner.event_time import imputation_of
from zoo_synthetic_learner.pictures.drawing import PALETTE, axes_or_new, shorten
from zoo_synthetic_learner.pictures.gaps import treated_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TARGETS: Final = 25


def plot_weights(
    estimator: Any, ax: Axes | None = None, units: Sequence[Any] | None = None, top: int = 10
) -> Axes:
    """Draws the largest weights of donors in the synthetic counterparts of treated units.

    Args:
        estimator: a fitted one whose synthesizer is linear.
        ax: where to draw; None for axes on a new figure, `ax.figure`.
        units: the labels of the treated units; None for all, of which at most 25 are drawn.
        top: so many donors: those with the largest weight, in size, for any of these units.

    Raises:
        InputError: there are no weights, or an argument is not as above.
        ConfigError: matplotlib is not installed.
    """
    panel, imputed = estimator.panel_, imputation_of(estimator)
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InputError(f"top is {top!r}; expected an integer of at least 1.")
    rows = treated_rows(panel, imputed, units)
    if imputed.weights is None:
        raise InputError(
            "the synthesizer is not linear in its donors, so they have no weights; expected one "
            "such as 'simplex' or 'ridge'."
        )
    drawn = rows[:_TARGETS] if units is None else rows
    weights = imputed.weights[:, drawn]
    largest = np.abs(weights).max(axis=1)
    # Stable: of equal weights, those of the panel's first units.
    donors = np.argsort(-largest, kind="stable")[:top]
    donors = donors[largest[donors] > 0]
    if not len(donors):
        raise InputError("all weights of these units are 0; there is nothing to draw.")
    hidden = np.count_nonzero(largest) - len(donors)
    names = [shorten(panel.units[donor]) for donor in donors]
    targets = [shorten(panel.units[imputed.units[row]]) for row in drawn]
    ax = axes_or_new(
        ax,
        (
            6.0 if len(drawn) == 1 else float(np.clip(3.5 + 0.3 * len(drawn), 5, 12)),
            float(np.clip(1.4 + 0.27 * len(donors), 2.4, 14)),
        ),
    )
    title = [f"{len(drawn)} of {len(rows)} treated units"] if len(drawn) < len(rows) else []
    if len(drawn) == 1:
        _bars(ax, weights[donors, 0])
        title.insert(0, f"synthetic {targets[0]}")
    else:
        _map(ax, weights[donors], targets)
    if hidden:
        title.append(f"{len(donors)} of {len(donors) + hidden} donors")
    ax.set_yticks(range(len(donors)), names, fontsize="small")
    if len(drawn) == 1:
        ax.invert_yaxis()
    ax.set_title(", ".join(title), fontsize="medium")
    return ax


def _bars(ax: Axes, weights: np.ndarray) -> None:
    colours = [PALETTE[0] if weight > 0 else PALETTE[3] for weight in weights]
    bars = ax.barh(range(len(weights)), weights, color=colours)
    for bar in bars:
        bar.set_gid("weight")
    ax.bar_label(bars, [f"{weight:.3f}" for weight in weights], fontsize="small", padding=3)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.margins(x=0.15)
    ax.set_xlabel("weight")
    ax.spines[["top", "right"]].set_visible(False)


def _map(ax: Axes, weights: np.ndarray, targets: list[str]) -> None:
    largest = np.abs(weights).max()
    signed = weights.min() < 0
    image = ax.imshow(
        weights,
        aspect="auto",
        cmap="RdBu" if signed else "Blues",
        vmin=-largest if signed else 0,
        vmax=largest,
        gid="weights",
    )
    long = max(map(len, targets)) > 4
    ax.set_xticks(
        range(len(targets)),
        targets,
        rotation=45 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor",
        fontsize="small",
    )
    ax.figure.colorbar(image, ax=ax, label="weight")
