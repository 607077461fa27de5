"""Random weights of order one, for what does not depend on training."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0, alpha: float | None = None) -> nn.Module:
    """Gives every part of a network a say: O(1) maps and layer scales, alphas away from zero.

    At the initial layer scale of 1e-6 the blocks are the identity, and say nothing of gradients.

    Args:
        model: changed in place.
        seed: of the weights.
        alpha: the value of every alpha; None draws them from +-[0.2, 1].

    Returns:
        The model.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if name.endswith("alpha"):
            size = 0.2 + 0.8 * torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            noise = noise.sign() * size if alpha is None else torch.full_like(noise, alpha)
        elif name.endswith("norm.weight"):
            noise = 1 + 0.1 * noise
        elif name.endswith("bias"):
            noise = 0.1 * noise
        elif parameter.ndim > 1:
            noise = noise / parameter[0].numel() ** 0.5
        parameter.copy_(noise)
    return model
