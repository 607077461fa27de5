"""The same equations, written straightforwardly: the baseline of the benchmarks.

Modules as the paper's equations name them, maps contiguous in NCHW, a permute before and after
every norm and linear layer. It takes the parameters of a `RevCol` and gives its outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from zoo_revcol.model import RevCol


class ChannelsFirstNorm(nn.Module):
    """LayerNorm over the channels of a contiguous [B, C, H, W] map, through NHWC and back."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Norms [B, C, H, W]."""
        x = x.permute(0, 2, 3, 1).contiguous()
        x = F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2).contiguous()


class Block(nn.Module):
    """A ConvNeXt block."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.dwconv, self.norm, self.gamma = block.dwconv, block.norm, block.gamma
        self.pwconv1, self.pwconv2, self.drop_path = block.pwconv1, block.pwconv2, block.drop_path

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, H, W] to the same shape."""
        branch = self.dwconv(x).permute(0, 2, 3, 1).contiguous()
        branch = self.pwconv2(F.gelu(self.pwconv1(self.norm(branch))))
        branch = (self.gamma * branch).permute(0, 3, 1, 2).contiguous()
        return x + self.drop_path(branch)


class Up(nn.Module):
    """Linear, norm, nearest upsampling by a factor."""

    def __init__(self, up: nn.Module, factor: int) -> None:
        super().__init__()
        self.proj, self.norm, self.factor = up.proj, up.norm, factor

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, h, w] to the lower level's channels and size."""
        x = self.norm(self.proj(x.permute(0, 2, 3, 1).contiguous()))
        return F.interpolate(x.permute(0, 3, 1, 2).contiguous(), scale_factor=self.factor)


class Level(nn.Module):
    """c = a p + B(D(lower) + U(higher) [+ V(top)])."""

    def __init__(self, level: nn.Module, index: int) -> None:
        super().__init__()
        self.down = (
            nn.Sequential(level.down.conv, ChannelsFirstNorm(level.down.norm)) if index else None
        )
        self.up = Up(level.up, 2) if level.up is not None else None
        self.top_down = Up(level.top_down, 8) if level.top_down is not None else None
        self.blocks = nn.Sequential(*(Block(block) for block in level.blocks))
        self.alpha, self.alpha_min = level.alpha, level.alpha_min

    def forward(self, previous: list[Tensor] | None, index: int, lower: Tensor) -> Tensor:
        """Computes c_index of a column from the previous column's maps and c_(index - 1)."""
        x = lower if self.down is None else self.down(lower)
        if self.up is not None:
            x = x + self.up(previous[index + 1])
        if self.top_down is not None:
            x = x + self.top_down(previous[-1])
        x = self.blocks(x)
        if previous is None:
            return x
        sign = torch.where(self.alpha < 0, -1.0, 1.0).to(x.dtype)
        alpha = sign * self.alpha.abs().clamp(min=self.alpha_min)
        return alpha * previous[index] + x


class Straightforward(nn.Module):
    """A `RevCol` without its memory modes and supervision, on the same parameters.

    Args:
        model: whose parameters it shares. Images must have sides that 32 divides.
    """

    def __init__(self, model: RevCol) -> None:
        super().__init__()
        self.stem = nn.Sequential(model.stem.conv, ChannelsFirstNorm(model.stem.norm))
        self.columns = nn.ModuleList(
            nn.ModuleList(Level(level, index) for index, level in enumerate(column.levels))
            for column in model.columns
        )
        self.norm, self.fc = model.head.norm, model.head.fc

    def forward(self, x: Tensor) -> Tensor:
        """Maps images [B, C, H, W] to logits [B, K]."""
        stem = self.stem(x)
        features: list[Tensor] | None = None
        for column in self.columns:
            maps: list[Tensor] = []
            for index, level in enumerate(column):
                maps.append(level(features, index, maps[-1] if maps else stem))
            features = maps
        return self.fc(self.norm(features[-1].mean((-2, -1))))
