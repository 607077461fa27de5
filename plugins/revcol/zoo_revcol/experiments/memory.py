"""What autograd keeps for backward, against the number of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.experiment import Context
from zoo_revcol.model import RevCol
from zoo_revcol.variants import VARIANTS

_MODES = {
    "none": {"memory": "none"},
    "checkpoint": {"memory": "checkpoint"},
    "reversible, k=N": {"memory": "reversible", "anchor_every": 9999},
    "reversible, k=N, exact": {"memory": "reversible", "anchor_every": 9999, "exact": True},
}
_COLUMNS = (1, 2, 4, 8, 16)
_MIB = 2**20


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Counts the bytes for a batch of 16 images of 64 pixels, in columns as wide as tiny's."""
    tiny = VARIANTS["tiny"]
    images = torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for columns in context.progress(_COLUMNS, "counting bytes"):
        # An alpha of 1 keeps the estimate of rounding errors quiet; bytes do not depend on it.
        model = RevCol(tiny.channels, tiny.layers, columns, alpha_init=1.0).train()
        for mode, options in _MODES.items():
            model.columns.remember(**options)
            yield {
                "columns": columns,
                "memory": mode,
                "kept for backward (MiB)": kept_bytes(model, images) / _MIB,
            }


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether a further column costs a twentieth with checkpoints, and nothing in a chain."""

    def growth(mode: str) -> float:
        kept = {
            row["columns"]: row["kept for backward (MiB)"] for row in rows if row["memory"] == mode
        }
        return (kept[16] - kept[4]) / 12

    none, stored = growth("none"), growth("checkpoint")
    chain, exact = growth("reversible, k=N"), growth("reversible, k=N, exact")
    return (
        stored * 20 <= none and chain < 1e-3 and exact * 3 <= stored,
        f"a further column keeps {none:.1f} MiB without, {stored:.2f} with checkpoints, "
        f"{chain:.3f} in a chain and {exact:.2f} in an exact chain",
    )


def kept_bytes(model: nn.Module, images: Tensor) -> int:
    """Returns the bytes of all storages that autograd keeps of a forward pass, once each.

    Args:
        model: what is in its parameters does not count.
        images: [B, C, H, W].
    """
    known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}  # holds on to them: a freed address could come again

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in known:
            kept[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(images)
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del output
    return total
