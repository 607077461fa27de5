"""How a level takes in its neighbours: the down path `D_l` and the up paths `U_l` and `V`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zoo_revcol.norm import EPSILON, ChannelNorm


class Down(nn.Module):
    """Halves the resolution: convolution with kernel 2 and stride 2, then LayerNorm.

    Args:
        in_channels: channels of the level below.
        out_channels: channels of this level.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=2, stride=2)
        self.norm = ChannelNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C_in, H, W] to [B, C_out, H // 2, W // 2]."""
        return self.norm(self.conv(x))


class Up(nn.Module):
    """Brings a higher level to this one: linear over channels, LayerNorm, nearest upsampling.

    Serves `U_l` (from the next level) and, in huge, `V` (from the top level to level 0).

    Args:
        in_channels: channels of the higher level.
        out_channels: channels of this level.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, out_channels)
        self.norm = nn.LayerNorm(out_channels, eps=EPSILON)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """Maps [B, C_in, h, w] to [B, C_out, *size].

        The target is the down path's size rather than a factor, so that images whose sides
        32 does not divide work too; where it divides them both are the same.
        """
        x = self.norm(self.proj(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return interpolate(x, size=size, mode="nearest")
