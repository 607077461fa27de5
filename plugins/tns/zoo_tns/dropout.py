"""Dropout that can draw from a generator of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Zeroes entries with probability p in training, and scales the others by 1 / (1 - p).

    Attributes:
        generator: what it draws from; None is torch's global generator. With one each for the
            backbone and for the expansion module, two models that differ in how they sample
            draw the same masks in the backbone.
    """

    def __init__(self, p: float) -> None:
        """Makes it; p in [0, 1)."""
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Returns x [...] with entries dropped."""
        if not self.training or self.p == 0:
            return x
        kept = torch.empty_like(x, requires_grad=False).bernoulli_(
            1 - self.p, generator=self.generator
        )
        return x * kept.div_(1 - self.p)

    def extra_repr(self) -> str:
        """Returns what `print` shows of it."""
        return f"p={self.p}"
