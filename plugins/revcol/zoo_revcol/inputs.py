"""Checks of what a network is called with, before any work."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_core.errors import InputError

MIN_IMAGE_SIZE = 32


def check_images(x: Tensor, in_chans: int, weight: Tensor, minimum: int = MIN_IMAGE_SIZE) -> None:
    """Refuses images of another rank, channel count, dtype or device, or too small.

    Args:
        x: what was given.
        in_chans: channels that the network takes.
        weight: of its first layer, whose dtype and device the images must have.
        minimum: of their sides, in pixels.

    Raises:
        InputError: says what was given and what is expected.
    """
    expected = (
        f"expected floating-point images [B, {in_chans}, H, W] with H and W of at least "
        f"{minimum} pixels"
    )
    if not isinstance(x, Tensor):
        raise InputError(f"images are a {type(x).__name__}; {expected}.")
    if (
        x.ndim != 4
        or x.shape[1] != in_chans
        or not x.is_floating_point()
        or x.shape[2] < minimum
        or x.shape[3] < minimum
    ):
        raise InputError(f"images have shape {tuple(x.shape)} and dtype {x.dtype}; {expected}.")
    check_device("images are", x, weight)
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(
            f"images have dtype {x.dtype} and the model {weight.dtype}; convert one, or run "
            "under torch.autocast."
        )


def check_maps(features: Sequence[Tensor], stem: Tensor, channels: Sequence[int]) -> None:
    """Refuses maps of other shapes than a column gives.

    Raises:
        InputError: says the shapes given and expected.
    """
    if stem.ndim != 4:
        raise InputError(f"stem has shape {tuple(stem.shape)}; expected [B, C, h, w].")
    given = [tuple(each.shape) for each in (stem, *features)]
    height, width = stem.shape[-2:]
    expected = [
        (stem.shape[0], channels[level], height >> level, width >> level)
        for level in (0, *range(len(channels)))
    ]
    if given != expected:
        raise InputError(f"stem and features have shapes {given}; expected {expected}.")


def check_device(name: str, tensor: Tensor, weight: Tensor) -> None:
    """Refuses a tensor on another device than the model's first weight.

    Raises:
        InputError: begins with `name`, such as "images are".
    """
    # Offloaded weights stay on the meta device until a hook fetches them.
    if tensor.device != weight.device and not weight.is_meta:
        raise InputError(f"{name} on {tensor.device}, the model on {weight.device}; move one.")
