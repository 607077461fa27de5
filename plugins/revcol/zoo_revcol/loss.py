"""The loss of intermediate supervision: labels and the image itself, at every supervised column.

    sum over i = 0, 1, 2 of [ F (1 - i / 3) BCE(r_i, T) + K_c (i + 1) / 4 CE(y_i, t) ] + CE(y_3, t)

with reconstructions `r_i`, logits `y_i`, image `T` and label `t`. Source: RevCol, section 3, and
official code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.supervision import POINTS, SupervisedOutput
from zoo_revcol.transforms import IMAGENET_MEAN, IMAGENET_STD
from zoo_revcol.validation import positive, real

BCE = 3.0
CE = 0.7
LABEL_SMOOTHING = 0.1
_SOFTEST = 0.01


def reconstruction_weight(point: int, bce: float = BCE) -> float:
    """Returns `F (1 - i / 3)`: 3, 2, 1 by default. Constant over training, falling by column."""
    return bce * (1 - point / POINTS)


def classification_weight(point: int, ce: float = CE) -> float:
    """Returns `K_c (i + 1) / 4`: 0.175, 0.35, 0.525 by default; 1 for the last column's logits."""
    return ce * (point + 1) / (POINTS + 1) if point < POINTS else 1.0


def reconstruction_target(
    images: Tensor,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Returns what the decoders are to reconstruct: the images before they were normalised.

    Args:
        images: the network's input [B, C, H, W], after augmentation.
        mean: of each channel, that was subtracted.
        std: of each channel, that was divided by.

    Returns:
        [B, C, H, W] in [0.01, 0.99], without gradient, in float32 or wider.

    Raises:
        InputError: images of another rank or dtype.
        ConfigError: mean or std not one number a channel.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise InputError(
            f"images have shape {tuple(images.shape)} and dtype {images.dtype}; expected the "
            "network's floating-point input [B, C, H, W]."
        )
    channels = images.shape[1]
    for name, values, check in (("mean", mean, real), ("std", std, positive)):
        if len(values) != channels:
            raise ConfigError(f"{name} is {values!r}; expected {channels} numbers, one a channel.")
        for value in values:
            check(name, value)
    images = images.detach().to(_precise(images))
    # Filled one by one: a tensor made of a list would stop the host until the GPU is done.
    scale, shift = (
        torch.stack([images.new_full((1, 1), value) for value in values]) for values in (std, mean)
    )
    return (images * scale + shift).clamp(_SOFTEST, 1 - _SOFTEST)


def revcol_loss(
    outputs: SupervisedOutput | Tensor,
    images: Tensor,
    target: Tensor,
    *,
    bce: float = BCE,
    ce: float = CE,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    label_smoothing: float = LABEL_SMOOTHING,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Computes the training loss of a RevCol.

    Args:
        outputs: what the network gave; logits [B, K] alone make it plain cross-entropy.
        images: the network's input [B, C, H, W], after augmentation; not looked at for logits
            alone.
        target: classes [B] (int64), or probabilities [B, K] such as mixup makes.
        bce: F, the weight of the first reconstruction.
        ce: K_c, which the weights of the earlier classifiers are made of.
        mean: of each image channel, see `reconstruction_target`.
        std: of each image channel.
        label_smoothing: share of the label that goes to all classes alike; for classes only:
            probabilities are taken as they are.

    Returns:
        The loss, a scalar, and its parts before weighting, detached: "ce_0" to "ce_3" and "bce_0"
        to "bce_2", or "ce_3" for logits alone. Half-precision outputs are taken to float32.

    Raises:
        InputError: shapes or dtypes that do not belong together.
        ConfigError: a weight that is negative, or another argument out of its range.
    """
    bce, ce = real("bce", bce, minimum=0.0), real("ce", ce, minimum=0.0)
    label_smoothing = real("label_smoothing", label_smoothing, minimum=0.0, below=1.0)
    if isinstance(outputs, Tensor):
        logits, reconstructions = [outputs], []
    else:
        logits, reconstructions = outputs
        if len(logits) != POINTS + 1 or len(reconstructions) != POINTS:
            raise InputError(
                f"outputs have {len(logits)} logits and {len(reconstructions)} reconstructions; "
                f"expected {POINTS + 1} and {POINTS}, as a RevCol with intermediate supervision "
                "gives in training."
            )
    for each in logits:
        _check_labels(each, target)
    for each in reconstructions:
        if each.shape != images.shape:
            raise InputError(
                f"a reconstruction has shape {tuple(each.shape)}, the images "
                f"{tuple(images.shape)}; expected the same."
            )

    parts: dict[str, Tensor] = {}
    loss = logits[-1].new_zeros((), dtype=_precise(logits[-1]))
    smoothing = 0.0 if target.is_floating_point() else label_smoothing
    for point, each in enumerate(logits, start=POINTS + 1 - len(logits)):
        each = each.to(_precise(each))
        label = target.to(each.dtype) if target.is_floating_point() else target
        part = cross_entropy(each, label, label_smoothing=smoothing)
        loss = loss + classification_weight(point, ce) * part
        parts[f"ce_{point}"] = part.detach()
    if reconstructions:
        image = reconstruction_target(images, mean, std)
        for point, each in enumerate(reconstructions):
            part = binary_cross_entropy_with_logits(each.to(image.dtype), image)
            loss = loss + reconstruction_weight(point, bce) * part
            parts[f"bce_{point}"] = part.detach()
    return loss, parts


def _precise(tensor: Tensor) -> torch.dtype:
    """The dtype to compute a loss in: half precision would lose the small terms of its sums."""
    return torch.promote_types(tensor.dtype, torch.float32)


def _check_labels(logits: Tensor, target: Tensor) -> None:
    """Refuses labels that are not of these logits; values are looked at on the CPU alone.

    On a GPU that would stop the host until the device is done, in every step.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise InputError(
            f"logits have shape {tuple(logits.shape)} and dtype {logits.dtype}; expected "
            "floating-point [B, K]."
        )
    batch, classes = logits.shape
    hard = target.dtype == torch.int64 and target.shape == (batch,)
    soft = target.is_floating_point() and target.shape == (batch, classes)
    if not batch or not (hard or soft):
        raise InputError(
            f"target has shape {tuple(target.shape)} and dtype {target.dtype} for logits "
            f"[{batch}, {classes}]; expected classes [B] (torch.int64) or probabilities [B, K], "
            "of at least one image."
        )
    if hard and target.device.type == "cpu" and not 0 <= target.min() <= target.max() < classes:
        raise InputError(
            f"target holds classes from {target.min()} to {target.max()}; expected 0 to "
            f"{classes - 1}."
        )
