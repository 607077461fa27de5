"""RevCol's level: fusion of its neighbours, then ConvNeXt blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo_revcol.block import Block
from zoo_revcol.fusion import Down, Up
from zoo_revcol.reversible.level import ReversibleLevel


class Level(ReversibleLevel):
    """f_l = B_l( D_l(c_{l-1}) + U_l(p_{l+1}) [+ V(p_3)] ).

    `c` are maps of this column, `p` of the previous one. Source: RevCol, section 3; official code
    for `V`.

    Args:
        channels: channels of this level.
        lower_channels: channels of the level below in the same column; None at level 0, which
            takes the stem's output as it is.
        higher_channels: channels of the next level of the previous column; None without `U`.
        top_channels: channels of the top level of the previous column; None without `V`.
        kernel_size: side of the blocks' depthwise kernels.
        drop_path_rates: one rate a block; their number is the number of blocks.
        layer_scale_init: initial value of the blocks' `gamma`.
        alpha_init: initial value of the shortcut's scale.
        alpha_min: smallest magnitude of the scale in use.
    """

    def __init__(
        self,
        channels: int,
        *,
        lower_channels: int | None,
        higher_channels: int | None,
        top_channels: int | None,
        kernel_size: int,
        drop_path_rates: Sequence[float],
        layer_scale_init: float,
        alpha_init: float,
        alpha_min: float,
    ) -> None:
        super().__init__((1, channels, 1, 1), alpha_init, alpha_min)
        self.down = nn.Identity() if lower_channels is None else Down(lower_channels, channels)
        self.up = None if higher_channels is None else Up(higher_channels, channels)
        self.top_down = None if top_channels is None else Up(top_channels, channels)
        self.blocks = nn.Sequential(
            *(Block(channels, kernel_size, rate, layer_scale_init) for rate in drop_path_rates)
        )

    def transform(self, stem: Tensor, lower: Sequence[Tensor], higher: Sequence[Tensor]) -> Tensor:
        """Computes f_l [B, C_l, H_l, W_l] from maps [B, C, H, W]; see `ReversibleLevel`."""
        x = self.down(lower[-1] if lower else stem)
        size = x.shape[-2:]
        if self.up is not None:
            x = x + self.up(higher[0], size)
        if self.top_down is not None:
            x = x + self.top_down(higher[-1], size)
        return self.blocks(x)
