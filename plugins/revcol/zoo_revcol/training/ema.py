"""The exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """A copy of a network, in evaluation mode, whose tensors follow those of the network.

    Everything in the state dict takes part; what is not floating point is copied.

    Args:
        model: the network, not wrapped, on the device where it is trained.
        decay: share of the average that stays in each step, such as 0.9999.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in the network's tensors as they are now: average += (1 - decay) (now - average).

        They are looked up anew each time: wrappers such as DDP put others in their place.
        """
        average, now = self.model.state_dict(), model.state_dict()
        floating = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [average[name] for name in floating], [now[name] for name in floating], 1 - self.decay
        )
        for name in now.keys() - set(floating):
            average[name].copy_(now[name])
