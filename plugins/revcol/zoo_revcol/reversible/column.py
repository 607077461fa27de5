"""One column: the multi-level reversible unit, its forward and its exact inverse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from zoo_revcol.reversible.level import ReversibleLevel

if TYPE_CHECKING:
    from zoo_revcol.reversible.memory import LevelMemory


class Column(nn.Module):
    """Maps the previous column's feature maps to this column's, invertibly.

    Args:
        levels: from the lowest (finest) to the highest (coarsest).
    """

    def __init__(self, levels: Iterable[ReversibleLevel]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)

    def forward(
        self,
        stem: Tensor,
        previous: Sequence[Tensor] | None,
        memory: Sequence[LevelMemory] | None = None,
        context: Sequence[Tensor] = (),
    ) -> list[Tensor]:
        """Computes c_0, c_1, ..., the lowest level first.

        Args:
            stem: the stem's output, the same for every column.
            previous: p_0, p_1, ... of the previous column; None in the first column, where they
                count as zero.
            memory: for each level how autograd remembers it; None leaves it to autograd.
            context: further arguments of every level's transform.
        """
        features: list[Tensor] = []
        for index, level in enumerate(self.levels):
            same = None if previous is None else previous[index]
            higher = () if previous is None else tuple(previous[index + 1 :])
            kept = None if memory is None else memory[index]
            features.append(level(same, stem, tuple(features), higher, kept, context))
        return features

    def inverse(
        self, stem: Tensor, features: Sequence[Tensor], context: Sequence[Tensor] = ()
    ) -> list[Tensor]:
        """Recovers p_0, p_1, ..., the highest level first.

        Args:
            stem: the stem's output.
            features: c_0, c_1, ... of this column, which must not be the first.
            context: as for `forward`.
        """
        maps = list(features)
        for index in reversed(range(len(maps))):
            level = self.levels[index]
            lower, higher = maps[:index], maps[index + 1 :]
            maps[index] = level.inverse(maps[index], stem, lower, higher, context)
        return maps
