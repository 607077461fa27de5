"""The truncation of the rate in Eq. 8, and what gradient passes it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

Gate = Literal["inward", "strict"]
"""Which gradient passes beyond the bounds; see `truncate`."""


def truncate(x: Tensor, upper: Tensor, gate: Gate) -> Tensor:
    """Returns min(max(1, x), upper).

    Args:
        x: floating [B].
        upper: of x's dtype [B], at least 1.
        gate: "strict" is the derivative of Eq. 8: no gradient passes outside of [1, upper]. Since
            x starts at about 1, the first step of the optimizer can carry all of it below 1, where
            the rate stays 1 for good. "inward" (ours) lets pass what would move x back: below 1
            where the loss falls with a higher rate, above the bound where it falls with a
            lower one. What counts is the sign of the sum of gradients that reach an x, so with
            several layers a query that is used twice passes what both uses want together.
    """
    return _Truncate.apply(x, upper, gate == "inward")


class _Truncate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, upper: Tensor, inward: bool) -> Tensor:
        ctx.save_for_backward(x, upper)
        ctx.inward = inward
        return torch.minimum(x.clamp(min=1), upper)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, upper = ctx.saved_tensors
        passes = (x >= 1) & (x <= upper)
        if ctx.inward:
            # Descent moves x against its gradient. Where the bounds meet, no rate but 1 exists.
            back = ((x < 1) & (gradient < 0)) | ((x > upper) & (gradient > 0))
            passes |= back & (upper > 1)
        return torch.where(passes, gradient, 0), None, None
