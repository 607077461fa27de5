"""The logits of one mask for a union of instances, and what the regulariser does to them."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_nseg.objective import per_instance, regulariser


class MaskLogits:
    """Logits theta of a mask m = sigmoid(theta), with the prices of size and entropy.

    Args:
        initial: [K].
        size: alpha, the price of a whole entry.
        entropy_weight: [K], beta over the number of entries that the instance's mean runs over.
        instance: [K] int64, the instance of each entry.
        instances: I.
        tied: [K] int64, the entry whose logit each entry uses; None if each uses its own.
        copies: [K], how often the regulariser counts each entry; None for once.
    """

    def __init__(
        self,
        initial: Tensor,
        size: float,
        entropy_weight: Tensor,
        instance: Tensor,
        instances: int,
        tied: Tensor | None = None,
        copies: Tensor | None = None,
    ) -> None:
        self.parameter = initial.clone().requires_grad_()
        self._size = size
        self._entropy_weight = entropy_weight
        self._instance = instance
        self._instances = instances
        self._tied = tied
        self._copies = copies

    def mask(self) -> Tensor:
        """Returns the mask [K] as a leaf that gathers the gradient of the prediction."""
        return self._logits().sigmoid().requires_grad_()

    def descend(self, mask: Tensor) -> Tensor:
        """Sets the logits' gradient, and returns the regulariser's part of each loss [I].

        With m = sigmoid(t), d(alpha m + w H(m)) / dt = m (1 - m) (alpha - w t).

        Args:
            mask: what `mask` returned for these logits; its gradient is that of the prediction.
        """
        with torch.no_grad():
            logits = self._logits()
            price = regulariser(logits, self._size, self._entropy_weight)
            slope = self._size - self._entropy_weight * logits
            if self._copies is not None:
                price, slope = price * self._copies, slope * self._copies
            if mask.grad is not None:
                slope = slope + mask.grad
            gradient = mask * (1 - mask) * slope
            if self._tied is not None:
                gradient = torch.zeros_like(gradient).index_add(0, self._tied, gradient)
            self.parameter.grad = gradient
            return per_instance(price, self._instance, self._instances)

    def _logits(self) -> Tensor:
        logits = self.parameter.detach()
        return logits if self._tied is None else logits[self._tied]


def drifted(
    initial: Tensor,
    *,
    size: float,
    entropy_weight: float,
    lr: float,
    steps: int,
    copies: Tensor | None = None,
) -> Tensor:
    """Returns the mask of entries that have no influence, after Adam's `steps` updates.

    They follow the regulariser alone, which needs no model.

    Args:
        initial: [K] logits.
        size: alpha.
        entropy_weight: beta over the number of entries that the mean runs over.
        lr: of Adam.
        steps: how many updates.
        copies: [K], how often the regulariser counts each entry; None for once.
    """
    none = torch.zeros(len(initial), dtype=torch.long, device=initial.device)
    weight = torch.as_tensor(entropy_weight, dtype=initial.dtype, device=initial.device)
    logits = MaskLogits(initial, size, weight, none, 1, copies=copies)
    optimizer = torch.optim.Adam([logits.parameter], lr=lr)
    for _ in range(steps):
        logits.descend(logits.mask())
        optimizer.step()
    return logits.parameter.detach().sigmoid()
