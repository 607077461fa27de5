"""The memory in a checkpoint of the official TGN code, and ours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo_core.errors import CheckpointError, WeightsMismatchError
from zoo_tns.official_names import MEMORY


def memory_state(
    tensors: Mapping[str, Tensor], state_dict: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns the memory's state, without the row for padding and with nothing pending.

    Args:
        tensors: by their official names.
        state_dict: the weights in our names.

    Raises:
        WeightsMismatchError: the memory does not fit the weights.
        CheckpointError: it has values that are not finite.
    """
    raw_width, width = (
        state_dict["memory.cell.weight_" + which].shape[1] for which in ("ih", "hh")
    )
    memory, last_update = (tensors.get(name) for name in MEMORY)
    if last_update is None or memory is None:
        raise WeightsMismatchError(f"the checkpoint has {MEMORY[0]}, but no {MEMORY[1]}.")
    rows = len(memory) if memory.ndim else 0
    if memory.shape != (rows, width) or last_update.shape != (rows,) or rows < 2:
        raise WeightsMismatchError(
            f"{MEMORY[0]} {list(memory.shape)} and {MEMORY[1]} {list(last_update.shape)} do not "
            f"fit; expected [V, {width}] and [V], with V at least 2: padding and one node."
        )
    for name, values in zip(MEMORY, (memory, last_update), strict=True):
        if not values.is_floating_point() or not bool(values.isfinite().all()):
            raise CheckpointError(f"{name} is not of finite floating-point numbers.")
    return {
        "memory": memory[1:].clone(),
        "last_update": last_update[1:].double(),
        "pending_nodes": torch.zeros(0, dtype=torch.int64),
        "pending_messages": memory.new_zeros(0, raw_width),
        "pending_times": torch.zeros(0, dtype=torch.float64),
        # The events that came last are pending ones, which are lost.
        "latest": torch.tensor(-torch.inf, dtype=torch.float64),
    }


def padded(state: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
    """Returns a memory's state by its official names, with a row for padding, as `like` in kind."""
    rows = (state[key].to(like) for key in ("memory", "last_update"))
    return {
        name: torch.cat([torch.zeros_like(values[:1]), values])
        for name, values in zip(MEMORY, rows, strict=True)
    }


def agreed(asked: int | None, stored: int) -> int:
    """Returns the number of nodes of a memory.

    Raises:
        WeightsMismatchError: another number is asked for.
    """
    if asked is not None and asked != stored:
        raise WeightsMismatchError(
            f"the checkpoint's memory is of {stored} nodes, but num_nodes is {asked}; leave "
            "num_nodes out, or take the checkpoint of that graph."
        )
    return stored
