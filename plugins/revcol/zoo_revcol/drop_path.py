"""Stochastic depth: leaves out a residual branch, sample by sample, while training."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Zeroes a branch for whole samples with probability `rate` and rescales the others.

    The identity in evaluation mode and at rate 0. Source: Huang et al., "Deep Networks with
    Stochastic Depth", ECCV 2016; rescaled by 1 / (1 - rate) so that the expectation stays.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x` [B, ...] with some samples zeroed."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        """The rate, for `print(model)`."""
        return f"rate={self.rate:.3f}"
