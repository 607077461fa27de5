"""Pictures of what was learnt: each draws on matplotlib's axes and returns them."""

from __future__ import annotations

from zoo_core import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
        "effect_grid": "zoo_synthetic_learner.pictures.effect_curve",
        "plot_effect": "zoo_synthetic_learner.pictures.effect_curve",
        "plot_event_study": "zoo_synthetic_learner.pictures.event_study",
        "plot_gaps": "zoo_synthetic_learner.pictures.gaps",
        "plot_path": "zoo_synthetic_learner.pictures.paths",
        "plot_placebo_gaps": "zoo_synthetic_learner.pictures.placebo",
        "plot_placebo_statistics": "zoo_synthetic_learner.pictures.placebo",
        "plot_weights": "zoo_synthetic_learner.pictures.weights",
        "save_picture": "zoo_synthetic_learner.pictures.drawing",
    },
)
