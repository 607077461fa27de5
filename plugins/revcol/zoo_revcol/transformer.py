"""The transformer block: the building block of levels over tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from zoo_revcol.drop_path import DropPath
from zoo_revcol.norm import EPSILON

EXPANSION = 4


class Attention(nn.Module):
    """Multi-head self-attention: softmax(q k^T / sqrt(width / heads)) v, and a projection.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2.

    Args:
        width: channels of a token; a multiple of `heads`.
        heads: attention heads.
        dropout: probability of dropping an attention weight, and a value of the output.
        causal: whether a token sees only itself and those before it.
    """

    def __init__(self, width: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Maps `x` [B, T, C] to the same shape.

        Args:
            x: the tokens.
            visible: bool, broadcastable to [B, heads, T, T]: whether a token (third dimension) sees
                another (last). It says all, causality too; each token must see one at least.
        """
        batch, length, width = x.shape
        query, key, value = (
            self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        ).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=visible,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.causal and visible is None,
        )
        return self.proj_drop(self.proj(attended.transpose(1, 2).reshape(batch, length, width)))

    def extra_repr(self) -> str:
        """What its layers do not show, for `print(model)`."""
        return f"heads={self.heads}, dropout={self.dropout}, causal={self.causal}"


class TransformerBlock(nn.Module):
    """Attention, then a two-layer perceptron, each behind a LayerNorm and around a residual.

    x = x + drop_path(gamma_1 * attention(LayerNorm(x)))
    x = x + drop_path(gamma_2 * fc2(GELU(fc1(LayerNorm(x)))))

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; `gamma` from Touvron et
    al., "Going Deeper with Image Transformers", ICCV 2021.

    Args:
        width: channels of a token; a multiple of `heads`.
        heads: attention heads.
        dropout: probability of dropping attention weights, and values that a branch gives.
        drop_path_rate: probability of leaving a branch out, per sample, while training.
        layer_scale_init: initial value of both `gamma`; None leaves them out.
        causal: whether a token sees only itself and those before it.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale_init: float | None = None,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.attention = Attention(width, heads, dropout, causal)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(EXPANSION * width, width)
        self.drop = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path_rate)
        for name in ("attention_gamma", "gamma"):
            scale = None if layer_scale_init is None else torch.full((width,), layer_scale_init)
            self.register_parameter(name, None if scale is None else nn.Parameter(scale))

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Maps `x` [B, T, C] to the same shape; `visible` is `Attention`'s."""
        branch = self.attention(self.attention_norm(x), visible)
        x = x + self.drop_path(_scaled(branch, self.attention_gamma))
        branch = self.drop(self.fc2(self.act(self.fc1(self.norm(x)))))
        return x + self.drop_path(_scaled(branch, self.gamma))


def _scaled(branch: Tensor, gamma: Tensor | None) -> Tensor:
    return branch if gamma is None else gamma * branch
