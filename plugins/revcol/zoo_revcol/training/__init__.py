"""Training: the paper's recipes, and a loop on Hugging Face Accelerate that resumes to the bit.

The public names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Batches": "zoo_revcol.training.batches",
    "DENSE_RECIPES": "zoo_revcol.training.dense",
    "DenseRecipe": "zoo_revcol.training.dense",
    "Outcome": "zoo_revcol.training.trainer",
    "RECIPES": "zoo_revcol.training.recipe",
    "Recipe": "zoo_revcol.training.recipe",
    "TensorAugmentation": "zoo_revcol.training.augmentation",
    "evaluate": "zoo_revcol.training.evaluation",
    "fit": "zoo_revcol.training.trainer",
    "image_batches": "zoo_revcol.training.data",
    "open_data": "zoo_revcol.training.data",
    "parameter_groups": "zoo_revcol.training.optimizer",
    "project_alphas": "zoo_revcol.training.alphas",
    "recipe_named": "zoo_revcol.training.recipe",
    "tensor_batches": "zoo_revcol.training.batches",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
