"""One level of a column: fusion of its neighbours, blocks, and the scaled shortcut."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo_revcol.block import Block
from zoo_revcol.fusion import Down, Up


class Level(nn.Module):
    """One step of the reversible unit, c_l = a_l * p_l + f_l, and its inverse.

    f_l = B_l( D_l(c_{l-1}) + U_l(p_{l+1}) [+ V(p_3)] ), with `c` of this column and `p` of the
    previous one. Source: RevCol, section 3; official code for `V`.

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
        super().__init__()
        self.down = nn.Identity() if lower_channels is None else Down(lower_channels, channels)
        self.up = None if higher_channels is None else Up(higher_channels, channels)
        self.top_down = None if top_channels is None else Up(top_channels, channels)
        self.blocks = nn.Sequential(
            *(Block(channels, kernel_size, rate, layer_scale_init) for rate in drop_path_rates)
        )
        self.alpha = nn.Parameter(torch.full((1, channels, 1, 1), alpha_init))
        self.alpha_min = alpha_min

    def forward(
        self, previous: Tensor, lower: Tensor, higher: Tensor | None, top: Tensor | None
    ) -> Tensor:
        """Computes c_l from p_l.

        Args:
            previous: p_l [B, C_l, H_l, W_l], or a scalar zero in the first column.
            lower: c_{l-1} [B, C_{l-1}, 2 H_l, 2 W_l] of this column; the stem's output at level 0.
            higher: p_{l+1}, where this level has an up path.
            top: p_3, where this level has the top-down path.
        """
        return torch.addcmul(self.transform(lower, higher, top), self.scale(), previous)

    def inverse(
        self, output: Tensor, lower: Tensor, higher: Tensor | None, top: Tensor | None
    ) -> Tensor:
        """Computes p_l from c_l; the other arguments are those of `forward`."""
        return (output - self.transform(lower, higher, top)) / self.scale()

    def transform(self, lower: Tensor, higher: Tensor | None, top: Tensor | None) -> Tensor:
        """Computes f_l, which needs neither p_l nor c_l."""
        x = self.down(lower)
        size = x.shape[-2:]
        if self.up is not None:
            x = x + self.up(higher, size)
        if self.top_down is not None:
            x = x + self.top_down(top, size)
        return self.blocks(x)

    def scale(self) -> Tensor:
        """The scale in use [1, C_l, 1, 1]: `alpha`, kept away from zero so that it inverts.

        The parameter is not written: a projection inside forward would change weights in
        evaluation and break export. The gradient passes as if there were no bound. An alpha of
        exactly 0 counts as positive; the official code keeps it 0 and divides by it.
        """
        negative, positive = self.alpha.clamp(max=-self.alpha_min), self.alpha.clamp(self.alpha_min)
        bounded = torch.where(self.alpha < 0, negative, positive)
        return self.alpha + (bounded - self.alpha).detach()
