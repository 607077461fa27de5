"""Which layer a parameter belongs to, and which parameters are not decayed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

_PLACE = re.compile(r"columns\.(\d+)\.levels\.(\d+)\.(?:blocks\.(\d+)\.)?")


def layer_id(name: str, layers: Sequence[int], num_columns: int) -> int:
    """The layer of a parameter, for layer-wise learning-rate decay.

    The stem is 0; block b of column i, counted over all blocks of the column, is 1 + b + i; a
    level's fusion belongs with the level's first block, and all alphas of a column with its block
    0; heads and decoders come last. Source: the official table, in closed form.

    Args:
        name: of the parameter, in a `RevCol`.
        layers: blocks in each level of one column.
        num_columns: columns.
    """
    if name.startswith("stem."):
        return 0
    place = _PLACE.match(name)
    if place is None:
        return sum(layers) + num_columns
    column, level = int(place[1]), int(place[2])
    if name.endswith(".alpha"):
        return 1 + column
    return 1 + column + sum(layers[:level]) + int(place[3] or 0)


def without_weight_decay(model: nn.Module) -> set[str]:
    """The names of the alphas, and of all parameters of one dimension: biases, norms, gammas."""
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1 or name.endswith(".alpha")
    }
