"""A level over tokens: fusion of its neighbours, then transformer blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo_revcol.norm import EPSILON
from zoo_revcol.reversible import ReversibleLevel
from zoo_revcol.transformer import TransformerBlock


class Fusion(nn.Sequential):
    """`D_l` and `U_l` where all levels have one resolution and width: linear, then LayerNorm.

    Args:
        width: channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, width), nn.LayerNorm(width, eps=EPSILON))


class TokenLevel(ReversibleLevel):
    """f_l = B_l( D_l(c_{l-1}) + U_l(p_{l+1}) ), over tokens [B, T, C].

    `c` are maps of this column, `p` of the previous one. Our extension of the paper's convolutional
    level, for its RevCol-ViT and RevCol-Transformer, whose details are not published.

    Args:
        width: channels of a token; a multiple of `heads`.
        heads: attention heads.
        down: whether there is a level below; without it the stem's output is taken as it is.
        up: whether the next level of the previous column is taken in.
        drop_path_rates: one rate a block; their number is the number of blocks.
        dropout: of the blocks, and so is the next.
        layer_scale_init: None leaves layer scale out.
        causal: whether a token sees only itself and those before it.
        alpha_init: initial value of the shortcut's scale.
        alpha_min: smallest magnitude of the scale in use.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        down: bool,
        up: bool,
        drop_path_rates: Sequence[float],
        dropout: float = 0.0,
        layer_scale_init: float | None = None,
        causal: bool = False,
        alpha_init: float = 0.5,
        alpha_min: float = 1e-3,
    ) -> None:
        super().__init__((width,), alpha_init, alpha_min)
        self.down = Fusion(width) if down else nn.Identity()
        self.up = Fusion(width) if up else None
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, dropout, rate, layer_scale_init, causal)
            for rate in drop_path_rates
        )

    def transform(
        self,
        stem: Tensor,
        lower: Sequence[Tensor],
        higher: Sequence[Tensor],
        visible: Tensor | None = None,
    ) -> Tensor:
        """Computes f_l [B, T, C] from maps of this shape; see `ReversibleLevel`.

        `visible` says which tokens see which; see `zoo_revcol.transformer.Attention`.
        """
        x = self.down(lower[-1] if lower else stem)
        if self.up is not None:
            x = x + self.up(higher[0])
        for block in self.blocks:
            x = block(x, visible)
        return x
