"""The stem: image patches to the map that every column sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_revcol.norm import ChannelNorm

PATCH_SIZE = 4


class Stem(nn.Module):
    """Convolution with kernel 4 and stride 4, then LayerNorm.

    Args:
        in_chans: channels of the image.
        channels: channels of level 0.
    """

    def __init__(self, in_chans: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, channels, kernel_size=PATCH_SIZE, stride=PATCH_SIZE)
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images [B, in_chans, H, W] to [B, C_0, H // 4, W // 4], channels_last in memory."""
        return self.norm(self.conv(x.contiguous(memory_format=torch.channels_last)))
