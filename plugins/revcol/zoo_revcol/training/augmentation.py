"""Augmentation of a whole batch as tensors, for small images that are kept in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from zoo_revcol.training.recipe import Recipe


@dataclass(frozen=True)
class TensorAugmentation:
    """Rotates, shifts, mirrors and erases at random, each image in its own way.

    Attributes:
        rotation: largest rotation, in degrees.
        shift: largest shift, in pixels.
        flip: whether to mirror.
        square: side of the square that is set to 0, the mean of normalised images; 0 for none. It
            may lie partly outside.
    """

    rotation: float = 0.0
    shift: float = 0.0
    flip: bool = False
    square: int = 0

    @classmethod
    def of(cls, recipe: Recipe) -> TensorAugmentation:
        """Returns what a recipe says."""
        return cls(recipe.rotation, recipe.shift, recipe.flip, recipe.square)

    def __call__(self, images: Tensor) -> Tensor:
        """Maps images [B, C, S, S] to such; the border's colour fills what comes into view."""
        if self.rotation or self.shift or self.flip:
            images = self._moved(images)
        return self._erased(images) if self.square else images

    def _moved(self, images: Tensor) -> Tensor:
        number, size, device = len(images), images.shape[-1], images.device
        angle = torch.deg2rad((2 * torch.rand(number, device=device) - 1) * self.rotation)
        shift = (2 * torch.rand(number, 2, device=device) - 1) * (2 * self.shift / size)
        mirror = torch.ones(number, device=device)
        if self.flip:
            mirror = torch.where(torch.rand(number, device=device) < 0.5, -1.0, 1.0)
        rows = [
            torch.stack([mirror * angle.cos(), -angle.sin(), shift[:, 0]], dim=1),
            torch.stack([mirror * angle.sin(), angle.cos(), shift[:, 1]], dim=1),
        ]
        grid = F.affine_grid(
            torch.stack(rows, dim=1).to(images.dtype), list(images.shape), align_corners=False
        )
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _erased(self, images: Tensor) -> Tensor:
        number, size, device = len(images), images.shape[-1], images.device
        corner = torch.randint(1 - self.square, size, (2, number, 1), device=device)
        line = torch.arange(size, device=device)
        inside = (line >= corner) & (line < corner + self.square)
        return images.masked_fill((inside[0, :, :, None] & inside[1, :, None, :])[:, None], 0.0)
