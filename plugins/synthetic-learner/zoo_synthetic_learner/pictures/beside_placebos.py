"""A treated unit's path, and its gap before those of placebos: the picture of the README."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zoo_synthetic_learner.inference.placebo_space import PlaceboSpace, placebo_space
from zoo_synthetic_learner.pictures.drawing import require_matplotlib
from zoo_synthetic_learner.pictures.paths import plot_path
from zoo_synthetic_learner.pictures.placebo import plot_placebo_gaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_beside_placebos(estimator: Any, placebo: PlaceboSpace) -> Figure:
    """Draws the path of the first treated unit and, beside it, its gap and those of placebos.

    Args:
        estimator: a fitted one that imputes treated units.
        placebo: what its `placebo_space()` has returned.

    Raises:
        InputError: the learner imputes nobody.
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    panel = estimator.panel_
    unit = panel.treated[0]
    left, right = Figure(figsize=(11.0, 3.8), layout="constrained").subplots(1, 2)
    plot_path(estimator, panel.units[unit], left)
    plot_placebo_gaps(placebo, right, treatment=panel.times[panel.first_treated[unit]])
    title = f"p = {placebo.p_value_ratio:.2g}, by the ratio of RMSPE with treatment and before"
    right.set_title(title, fontsize="medium")
    return left.figure


def draw_california(root: str | os.PathLike[str] | None = None) -> Figure:
    """Draws cigarette sales in California, and what they would have been without Proposition 99.

    By the classical synthetic control of Abadie, Diamond and Hainmueller (2010), which is a
    one-side learner without covariates. Placebos with more than five times California's misfit
    before treatment are left out.

    Args:
        root: the folder of data, see `datasets.load_california`.
    """
    from zoo_synthetic_learner.datasets import load_california
    from zoo_synthetic_learner.h1sl import H1SL

    options = {"intercept": False, "ridge": 0.0}
    learner = H1SL(synthesizer="simplex", synthesizer_options=options)
    table = load_california(root)
    learner.fit_frame(table, unit="state", time="year", outcome="packs", treatment="treated")
    figure = draw_beside_placebos(learner, placebo_space(learner, 100, pre_rmspe_limit=5))
    for ax, label in zip(
        figure.axes, ("packs of cigarettes per head", "gap in packs"), strict=True
    ):
        ax.set_ylabel(label)
    return figure
