"""How single images are augmented: timm's transforms, as the official code uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor

from zoo_revcol.timm_data import timm_data
from zoo_revcol.training.recipe import Recipe
from zoo_revcol.transforms import to_rgb


def training_transform(recipe: Recipe) -> Callable[[Image.Image], Tensor]:
    """Makes the transform for training: crop, mirror, RandAugment or jitter, normalise, erase.

    Returns:
        A callable, PIL image of any mode and size -> float tensor [3, S, S].
    """
    transform = timm_data().create_transform(
        input_size=(3, recipe.image_size, recipe.image_size),
        is_training=True,
        hflip=0.5 if recipe.flip else 0.0,
        color_jitter=recipe.color_jitter or None,
        auto_augment=recipe.auto_augment,
        interpolation=recipe.interpolation,
        re_prob=recipe.erasing,
        re_mode="pixel",
        re_count=1,
        mean=recipe.mean,
        std=recipe.std,
    )
    for operation in _operations(transform):
        if operation.name.startswith("Posterize"):
            operation.aug_fn = posterized
    transform.transforms.insert(0, to_rgb)
    return transform


def posterized(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keeps the highest bits of each channel; with none of them the image is black.

    timm asks for none at RandAugment's full strength, which Pillow once took and refuses by now.
    """
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def _operations(transform: Any) -> Iterator[Any]:
    """The single operations of RandAugment or AutoAugment, if it is among the transforms."""
    for step in transform.transforms:
        yield from getattr(step, "ops", ())
        for sequence in getattr(step, "policy", ()):
            yield from sequence
