"""One column: the multi-level reversible unit, its forward and its exact inverse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from zoo_revcol.level import Level


class Column(nn.Module):
    """Maps the previous column's feature maps to this column's, invertibly.

    Args:
        levels: from the lowest (finest) to the highest (coarsest).
    """

    def __init__(self, levels: Iterable[Level]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)

    def forward(self, stem: Tensor, previous: Sequence[Tensor] | None) -> list[Tensor]:
        """Computes c_0 ... c_3, the lowest level first (equation of the column's forward).

        Args:
            stem: the stem's output [B, C_0, H/4, W/4], the same for every column.
            previous: p_0 ... p_3 of the previous column; None in the first column, where they
                count as zero.
        """
        if previous is None:
            # A broadcast zero, rather than no shortcut at all: the first column's alphas stay in
            # the graph with a gradient of zero, so that DDP finds every parameter used.
            previous = [stem.new_zeros(())] * len(self.levels)
        features: list[Tensor] = []
        lower = stem
        for index, level in enumerate(self.levels):
            lower = level(previous[index], lower, _next(previous, index), previous[-1])
            features.append(lower)
        return features

    def inverse(self, stem: Tensor, features: Sequence[Tensor]) -> list[Tensor]:
        """Recovers p_0 ... p_3, the highest level first (the inverse of `forward`).

        Args:
            stem: the stem's output [B, C_0, H/4, W/4].
            features: c_0 ... c_3 of this column, which must not be the first.
        """
        previous = list(features)
        for index in reversed(range(len(features))):
            lower = features[index - 1] if index else stem
            previous[index] = self.levels[index].inverse(
                features[index], lower, _next(previous, index), previous[-1]
            )
        return previous


def _next(features: Sequence[Tensor], index: int) -> Tensor | None:
    """The level above `index`, or None at the top."""
    return features[index + 1] if index + 1 < len(features) else None
