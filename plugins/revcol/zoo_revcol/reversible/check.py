"""How far the inverse of a chain of columns can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo_revcol.reversible.level import undo
from zoo_revcol.reversible.rounding import decode, encode

if TYPE_CHECKING:
    from zoo_revcol.reversible.columns import ReversibleColumns

LARGEST_ERROR = 1e-2
"""The estimated relative error of a rebuilt map from which training warns."""


@dataclass(frozen=True)
class Reversibility:
    """What `check_reversible` measured.

    Attributes:
        errors: for each column the worst relative error of its rebuilt maps, over the levels: the
            largest absolute difference by the largest absolute value. 0 for the last column, which
            is kept.
        bound: what the alphas alone say: the product over the longest chain of 1 / min |alpha| of
            every level, times the dtype's epsilon. Larger than what is measured in usual networks;
            no bound in the strict sense, since a steep transform enlarges errors too.
        dtype: that was measured in.
    """

    errors: tuple[float, ...]
    bound: float
    dtype: torch.dtype

    @property
    def worst(self) -> float:
        """The largest error of all columns; NaN if there is one."""
        return math.nan if any(map(math.isnan, self.errors)) else max(self.errors)


@torch.no_grad()
def rebuilt(
    columns: ReversibleColumns,
    stem: Tensor,
    anchor_every: int,
    exact: bool,
    context: Sequence[Tensor] = (),
) -> Reversibility:
    """Runs the columns, rebuilds each chain from its end, and compares.

    Random parts such as drop path are left out, by evaluation mode.

    Args:
        columns: which.
        stem: the stem's output for a batch.
        anchor_every: columns in a chain.
        exact: whether the chains keep what the inverse loses.
        context: further arguments of every level's transform.
    """
    modes = [(module, module.training) for module in columns.modules()]
    columns.eval()
    try:
        true = [[each.clone() for each in maps] for maps in _run(columns, stem, context)]
        errors = [0.0] * len(columns)
        for start in range(0, len(columns), anchor_every):
            end = min(start + anchor_every, len(columns)) - 1
            maps = list(true[end])
            for index in range(end, max(start, 1) - 1, -1):
                maps = _previous(columns, index, stem, true, maps, exact, context)
                errors[index - 1] = max(map(_error, maps, true[index - 1]))
    finally:
        for module, mode in modes:
            module.training = mode
    return Reversibility(
        tuple(errors),
        amplification(columns, anchor_every) * torch.finfo(stem.dtype).eps,
        stem.dtype,
    )


@torch.no_grad()
def amplification(columns: ReversibleColumns, anchor_every: int) -> float:
    """The product of 1 / min |alpha| over the levels of the chain where it is largest."""
    largest = 1.0
    for start in range(0, len(columns), anchor_every):
        exponent = 0.0
        for column in list(columns)[max(start, 1) : start + anchor_every]:
            for level in column.levels:
                scale = level.scale()
                if hasattr(scale, "full_tensor"):  # sharded by FSDP, perhaps with nothing here
                    scale = scale.full_tensor()
                exponent -= math.log(scale.abs().min().item())
        largest = max(largest, math.exp(min(exponent, 700.0)))
    return largest


def _run(
    columns: ReversibleColumns, stem: Tensor, context: Sequence[Tensor]
) -> Sequence[Sequence[Tensor]]:
    return columns(stem, range(len(columns)), context)


def _previous(
    columns: ReversibleColumns,
    index: int,
    stem: Tensor,
    true: Sequence[Sequence[Tensor]],
    maps: list[Tensor],
    exact: bool,
    context: Sequence[Tensor],
) -> list[Tensor]:
    """The maps of the column before `index`, from those of `index` as rebuilt so far."""
    if not exact:
        return columns[index].inverse(stem, maps, context)
    maps = list(maps)
    for place in reversed(range(len(maps))):
        level = columns[index].levels[place]
        known, given = true[index], true[index - 1]
        true_transform = level.transform(stem, known[:place], given[place + 1 :], *context)
        kept = encode(given[place], undo(known[place], true_transform, level.scale()))
        transformed = level.transform(stem, maps[:place], maps[place + 1 :], *context)
        maps[place], _ = decode(undo(maps[place], transformed, level.scale()), kept)
    return maps


def _error(rebuilt_map: Tensor, true_map: Tensor) -> float:
    """The largest absolute difference, relative to the largest absolute value."""
    scale = true_map.abs().max().item()
    difference = (rebuilt_map - true_map).abs().max().item()
    return difference / scale if scale else difference
