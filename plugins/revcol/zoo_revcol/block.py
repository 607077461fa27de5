"""The ConvNeXt block, the building block of every level."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_revcol.drop_path import DropPath
from zoo_revcol.norm import EPSILON
from zoo_revcol.perceptron import fits_inference, perceptron

EXPANSION = 4


class Block(nn.Module):
    """Depthwise convolution, then a two-layer perceptron over channels, around a residual.

    x + drop_path(gamma * pwconv2(GELU(pwconv1(LayerNorm(dwconv(x))))))

    Source: Liu et al., "A ConvNet for the 2020s", CVPR 2022, with a 3 x 3 kernel by default
    (RevCol's `B_l`).

    Args:
        channels: channels of the input and the output.
        kernel_size: odd side of the depthwise kernel; the map's size is kept.
        drop_path_rate: probability of leaving the branch out, per sample, while training.
        layer_scale_init: initial value of `gamma`.
        expansion: how many times wider than the block its hidden layer is.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        drop_path_rate: float,
        layer_scale_init: float,
        expansion: int = EXPANSION,
    ) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels
        )
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.pwconv1 = nn.Linear(channels, expansion * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(expansion * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), layer_scale_init))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `x` [B, C, H, W] to the same shape."""
        branch = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        if fits_inference(x, self.pwconv1, self.act, self.pwconv2):
            branch = perceptron(branch, self.pwconv1, self.pwconv2).permute(0, 3, 1, 2)
        else:
            branch = self.pwconv2(self.act(self.pwconv1(branch))).permute(0, 3, 1, 2)
        # Dropping paths by their scale spares a pass over the map. It is a copy, since a view of a
        # parameter needs gradients even under no_grad, which hooks of FLOP counters trip over.
        scale = self.gamma.repeat(x.shape[0], 1)[:, :, None, None]
        return torch.addcmul(x, self.drop_path(scale), branch)
