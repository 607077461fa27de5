"""The decoders of intermediate supervision: a column's top map back to the image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from zoo_revcol.block import Block
from zoo_revcol.norm import ChannelNorm
from zoo_revcol.stem import PATCH_SIZE

STRIDE = 32
"""Pixels of the image, on a side, that one position of the top map stands for."""
_KERNEL_SIZE = 3
_LAYER_SCALE_INIT = 1e-6


class Decoder(nn.Module):
    """Three stages from C_3 down to C_0 channels, each doubling the resolution, then 4 x 4 pixels.

    The official code's decoder beside a classifier of up to 1000 classes.

    Args:
        channels: width of the four levels, C_0 to C_3.
        in_chans: channels of the images.
    """

    def __init__(self, channels: Sequence[int], in_chans: int = 3) -> None:
        super().__init__()
        widths = list(reversed(channels))
        self.stages = nn.Sequential(
            *(Stage(wide, narrow) for wide, narrow in itertools.pairwise(widths))
        )
        self.output = nn.Sequential(
            nn.Conv2d(widths[-1], in_chans * PATCH_SIZE**2, kernel_size=1),
            nn.PixelShuffle(PATCH_SIZE),
        )

    def forward(self, top: Tensor, size: Sequence[int]) -> Tensor:
        """Reconstructs images.

        Args:
            top: c_3 [B, C_3, h, w].
            size: H and W of the images.

        Returns:
            Logits of the images' values in [0, 1], [B, in_chans, H, W].
        """
        return _resized(self.output(self.stages(top)), size)


class Stage(nn.Module):
    """Pointwise convolution, LayerNorm, GELU, bilinear upsampling x 2, one ConvNeXt block.

    Two details of the official code that its weights depend on: the upsampling aligns the corners,
    and the block's hidden layer is as wide as the block.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.norm = ChannelNorm(out_channels)
        self.act = nn.GELU()
        self.block = Block(out_channels, _KERNEL_SIZE, 0.0, _LAYER_SCALE_INIT, expansion=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C_in, h, w] to [B, C_out, 2h, 2w]."""
        x = self.act(self.norm(self.conv(x)))
        return self.block(interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


class SimDecoder(nn.Module):
    """LayerNorm, then every position of the top map linearly to its 32 x 32 pixels.

    The official code's decoder beside a classifier of more than 1000 classes.

    Args:
        channels: width of the four levels, C_0 to C_3, of which it uses the last.
        in_chans: channels of the images.
    """

    def __init__(self, channels: Sequence[int], in_chans: int = 3) -> None:
        super().__init__()
        self.output = nn.Sequential(
            ChannelNorm(channels[-1]),
            nn.Conv2d(channels[-1], in_chans * STRIDE**2, kernel_size=1),
            nn.PixelShuffle(STRIDE),
        )

    def forward(self, top: Tensor, size: Sequence[int]) -> Tensor:
        """Reconstructs images; see `Decoder.forward`."""
        return _resized(self.output(top), size)


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    """Stretches to H x W what is smaller because 32 does not divide the image's sides."""
    if image.shape[-2:] == tuple(size):
        return image
    return interpolate(image, size=tuple(size), mode="bilinear", align_corners=False)
