"""Layer normalisation over the channels of a feature map."""

from __future__ import annotations

from torch import Tensor, nn

EPSILON = 1e-6


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a [B, C, H, W] map, at every position by itself.

    The permutes are free views when the map is channels_last in memory, as it is in RevCol.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `x` [B, C, H, W]; same shape and dtype."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
