"""How the paper trains RevCol as the backbone of detectors and segmenters.

The frameworks of those tasks bring their own loops; this is what they are to be told. Source:
RevCol, sections on COCO and ADE20K; the official code's configurations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from zoo_revcol.training.schedule import polynomial, step_decay

_EPOCHS, _MILESTONES = 36, (27, 33)
_ITERATIONS = 160_000


@dataclass(frozen=True, kw_only=True)
class DenseRecipe:
    """AdamW's settings and its schedule. Alphas and one-dimensional parameters are not decayed.

    Attributes:
        lr: the highest learning rate.
        weight_decay: of AdamW.
        layer_decay: factor on the learning rate from one layer to the one before it.
        drop_path: highest rate of stochastic depth.
        unit: what `schedule` counts: "epochs" or "iterations".
        length: how many of them.
        schedule: epochs or iterations done -> factor on the learning rate. For segmentation that
            is a function for `torch.optim.lr_scheduler.LambdaLR`, called every iteration.
        crop: side of the crops in training; None for several scales.
    """

    lr: float
    weight_decay: float
    layer_decay: float
    drop_path: float
    unit: str
    length: int
    schedule: Callable[[float], float]
    crop: int | None = None

    def group_options(self) -> dict[str, Any]:
        """Returns the arguments of `parameter_groups`, for the detector or segmenter as a whole."""
        return {
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "layer_decay": self.layer_decay,
            "decay_alpha": False,
        }


def _detection(lr: float, layer_decay: float, drop_path: float) -> DenseRecipe:
    return DenseRecipe(
        lr=lr,
        weight_decay=0.05,
        layer_decay=layer_decay,
        drop_path=drop_path,
        unit="epochs",
        length=_EPOCHS,
        schedule=step_decay(_MILESTONES),
    )


def _segmentation(lr: float, layer_decay: float, warmup: int, crop: int) -> DenseRecipe:
    return DenseRecipe(
        lr=lr,
        weight_decay=0.01,
        layer_decay=layer_decay,
        drop_path=0.3,
        unit="iterations",
        length=_ITERATIONS,
        schedule=polynomial(_ITERATIONS, warmup),
        crop=crop,
    )


DENSE_RECIPES: Final[dict[str, DenseRecipe]] = {
    "tiny-coco": _detection(2e-4, 0.85, 0.3),
    "small-coco": _detection(2e-4, 0.85, 0.4),
    "base-1k-coco": _detection(2e-4, 0.9, 0.4),
    "base-22k-coco": _detection(1e-4, 0.9, 0.4),
    "large-22k-coco": _detection(1e-4, 0.85, 0.5),
    "tiny-ade20k": _segmentation(6e-5, 1.0, 1500, 512),
    "small-ade20k": _segmentation(4e-5, 1.0, 1500, 512),
    "base-1k-ade20k": _segmentation(4e-5, 1.0, 1500, 512),
    "base-22k-ade20k": _segmentation(4e-5, 0.9, 1500, 640),
    "large-22k-ade20k": _segmentation(4e-5, 0.9, 3000, 640),
    "huge-ade20k": _segmentation(4e-5, 0.9, 3000, 640),
}
"""Cascade Mask R-CNN on COCO (the names' first part says which weights it starts from) and
UPerNet on ADE20K."""
