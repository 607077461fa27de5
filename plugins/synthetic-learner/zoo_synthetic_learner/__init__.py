"""Heterogeneous synthetic learners for panel data (H1SL and H2SL, arXiv 2212.14580).

The public names are imported when they are first used, so that `import zoo_synthetic_learner` costs
nothing.
"""

from __future__ import annotations

from zoo_core import lazy

_HERE = "zoo_synthetic_learner"
__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
        "DiDT": f"{_HERE}.baselines.meta_learners",
        "H1SL": f"{_HERE}.h1sl",
        "H2SL": f"{_HERE}.h2sl",
        "MatrixCompletionATT": f"{_HERE}.baselines.constant",
        "Panel": f"{_HERE}.panel",
        "PanelCATE": f"{_HERE}.cate",
        "PanelEstimator": f"{_HERE}.estimator",
        "PanelSLearner": f"{_HERE}.baselines.meta_learners",
        "PanelTLearner": f"{_HERE}.baselines.meta_learners",
        "PanelXLearner": f"{_HERE}.baselines.meta_learners",
        "Synthesis": f"{_HERE}.synthesizers.synthesis",
        "SyntheticControl": f"{_HERE}.baselines.constant",
        "SyntheticDiD": f"{_HERE}.baselines.constant",
        "Task": f"{_HERE}.synthesizers.synthesis",
        "aggregate": f"{_HERE}.event_time",
        "event_study": f"{_HERE}.event_time",
        "group_time": f"{_HERE}.event_time",
        "save_picture": f"{_HERE}.pictures.drawing",
        "semi_synthetic_panel": f"{_HERE}.semi_synthetic",
        "simulated_panel": f"{_HERE}.simulation",
    },
)
