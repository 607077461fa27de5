"""Training: the paper's recipes, and a loop on Hugging Face Accelerate that resumes to the bit.

The public names are imported when they are first used.
"""

from __future__ import annotations

from zoo_core import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
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
    },
)
