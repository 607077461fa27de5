"""A plain reference of the networks over tokens: one equation a line, no modules, no fused kernels.

Takes a state dict and shares no code with the plugin: attention as einsum and softmax, manual
LayerNorm, erf GELU, patches by hand.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Parameters = dict[str, Tensor]


def layer_norm(x: Tensor, p: Parameters, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def linear(x: Tensor, p: Parameters, name: str) -> Tensor:
    return torch.einsum("...i,oi->...o", x, p[f"{name}.weight"]) + p[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attention(x: Tensor, p: Parameters, name: str, heads: int, sees: Tensor) -> Tensor:
    """`sees` [B, T, T]: whether a token sees another."""
    width = x.shape[-1] // heads
    gathered = linear(x, p, f"{name}.qkv")
    outputs = []
    for head in range(heads):
        query, key, value = (
            gathered[..., part * x.shape[-1] + head * width :][..., :width] for part in range(3)
        )
        scores = torch.einsum("bqc,bkc->bqk", query, key) / math.sqrt(width)
        weights = torch.where(sees, scores.exp(), 0.0)
        outputs.append(torch.einsum("bqk,bkc->bqc", weights / weights.sum(-1, keepdim=True), value))
    return linear(torch.cat(outputs, -1), p, f"{name}.proj")


def block(x: Tensor, p: Parameters, name: str, heads: int, sees: Tensor) -> Tensor:
    one = torch.ones((), dtype=x.dtype)
    branch = attention(
        layer_norm(x, p, f"{name}.attention_norm"), p, f"{name}.attention", heads, sees
    )
    x = x + p.get(f"{name}.attention_gamma", one) * branch
    branch = linear(
        gelu(linear(layer_norm(x, p, f"{name}.norm"), p, f"{name}.fc1")), p, f"{name}.fc2"
    )
    return x + p.get(f"{name}.gamma", one) * branch


def columns(stem: Tensor, p: Parameters, layers, number: int, heads: int, sees: Tensor):
    """The maps of each column: c_l = alpha_l p_l + B_l(D_l(c_{l-1}) + U_l(p_{l+1}))."""
    found: list[list[Tensor]] = []
    for column in range(number):
        maps: list[Tensor] = []
        for level, depth in enumerate(layers):
            name = f"columns.{column}.levels.{level}"
            x = stem
            if level > 0:
                x = layer_norm(linear(maps[-1], p, f"{name}.down.0"), p, f"{name}.down.1")
            if column > 0 and level < len(layers) - 1:
                above = found[-1][level + 1]
                x = x + layer_norm(linear(above, p, f"{name}.up.0"), p, f"{name}.up.1")
            for each in range(depth):
                x = block(x, p, f"{name}.blocks.{each}", heads, sees)
            if column > 0:
                x = p[f"{name}.alpha"] * found[-1][level] + x
            maps.append(x)
        found.append(maps)
    return found


def patches(image: Tensor, p: Parameters, size: int) -> Tensor:
    """Tokens of an image of the size that the positions are learnt for, row by row."""
    weight = p["stem.conv.weight"]
    tokens = []
    for row in range(image.shape[2] // size):
        for place in range(image.shape[3] // size):
            top, left = row * size, place * size
            patch = image[:, :, top : top + size, left : left + size]
            token = torch.einsum("bihw,oihw->bo", patch, weight) + p["stem.conv.bias"]
            tokens.append(token + p["stem.positions"][:, :, row, place])
    return torch.stack(tokens, 1)


def vit(image: Tensor, p: Parameters, patch_size: int, layers, number: int, heads: int) -> Tensor:
    stem = patches(image, p, patch_size)
    batch, length, _ = stem.shape
    sees = torch.ones(batch, length, length, dtype=torch.bool)
    top = columns(stem, p, layers, number, heads, sees)[-1][-1]
    return linear(layer_norm(top.mean(1), p, "head.norm"), p, "head.fc")


def text(tokens: Tensor, p: Parameters, layers, number: int, heads: int, causal: bool) -> Tensor:
    """Logits of one text [T] without padding: [K], or [T, K] if causal."""
    length = len(tokens)
    stem = torch.stack(
        [
            p["stem.tokens.weight"][token] + p["stem.positions.weight"][place]
            for place, token in enumerate(tokens.tolist())
        ]
    )
    sees = torch.tensor(
        [[key <= query or not causal for key in range(length)] for query in range(length)]
    )
    top = columns(stem[None], p, layers, number, heads, sees[None])[-1][-1][0]
    return linear(layer_norm(top if causal else top.mean(0), p, "head.norm"), p, "head.fc")
