"""Panels to try the learners on: real ones, and ones whose effects are known."""

from __future__ import annotations

from zoo_synthetic_learner.panel_files import (
    cps_panel,
    load_basque,
    load_california,
    load_cps,
    load_germany,
    load_mpdta,
    load_mpdta_reference,
    load_smoking,
    smoking_panel,
)
from zoo_synthetic_learner.semi_synthetic import SemiSynthetic, semi_synthetic_panel
from zoo_synthetic_learner.simulation import linear_effect, nonlinear_effect, simulated_panel

__all__ = [
    "SemiSynthetic",
    "cps_panel",
    "linear_effect",
    "load_basque",
    "load_california",
    "load_cps",
    "load_germany",
    "load_mpdta",
    "load_mpdta_reference",
    "load_smoking",
    "nonlinear_effect",
    "semi_synthetic_panel",
    "simulated_panel",
    "smoking_panel",
]
