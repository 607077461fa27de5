"""The time encoding phi that all layers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_DECADES = 9


class TimeEncoder(nn.Module):
    """phi(x) = cos(x w + b), with learnable w and b (the official TGN and TGAT code).

    w_k is 10^(-9 k / (d_t - 1)) at first, from 1 down to 1e-9 for times in seconds, and b is 0.
    """

    def __init__(self, time_dim: int) -> None:
        """Makes an encoder of this width, at least 1."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(time_dim))
        self.bias = nn.Parameter(torch.empty(time_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the initial frequencies; nothing is random."""
        with torch.no_grad():
            decades = torch.linspace(0, _DECADES, len(self.weight), dtype=torch.float64)
            self.weight.copy_(10**-decades)
            self.bias.zero_()

    def forward(self, elapsed: Tensor) -> Tensor:
        """Encodes spans of time.

        Phases are computed in float32 at least, autocast or not: half precision knows no second in
        a day.

        Args:
            elapsed: real [...], seconds. Subtract times in int64 or float64: in float32 times near
                1e9 are a minute apart.

        Returns:
            [..., d_t], in the dtype of the weights.
        """
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        with torch.autocast(elapsed.device.type, enabled=False):
            spans = elapsed.to(dtype).unsqueeze(-1)
            phase = torch.addcmul(self.bias.to(dtype), spans, self.weight.to(dtype))
            return phase.cos().to(self.weight.dtype)

    def now(self) -> Tensor:
        """Returns phi(0), [d_t]: the encoding of a query's own time."""
        return torch.cos(self.bias)
