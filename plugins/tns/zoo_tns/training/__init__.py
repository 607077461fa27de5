"""Training for link prediction: a loop that resumes to the bit, on one process or several.

The public names are imported when they are first used.
"""

from __future__ import annotations

from zoo_core import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
        "Outcome": "zoo_tns.training.trainer",
        "TrainingConfig": "zoo_tns.training.config",
        "load_memory": "zoo_tns.training.saving",
        "save_trained": "zoo_tns.training.saving",
        "train_link_prediction": "zoo_tns.training.trainer",
    },
)
