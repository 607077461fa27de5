"""Access to Hugging Face Accelerate, which only training needs."""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from zoo_core.errors import ZooError

if TYPE_CHECKING:
    from accelerate import PartialState


def accelerate_package() -> ModuleType:
    """Returns the module `accelerate`, imported when first needed.

    Raises:
        ZooError: it cannot be imported; the message says why in one line.
    """
    try:
        import accelerate
    except ImportError as error:
        raise ZooError(
            f"training needs Accelerate, which is missing ({error}): "
            'pip install "zoo-revcol[train]".'
        ) from error
    return accelerate


def process_state() -> PartialState:
    """Returns which process this is and on which device, as `accelerate launch` or torchrun said.

    Raises:
        ZooError: Accelerate is missing, or does not see the other processes that were launched.
    """
    package = accelerate_package()
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    # Without being told that they are on the CPU, each of several processes would train alone.
    state = package.PartialState(cpu=asked or (launched > 1 and not _has_accelerator()))
    if launched > 1 and state.num_processes != launched:
        raise ZooError(
            f"{launched} processes were launched and Accelerate sees {state.num_processes}; set "
            "them up by `accelerate config`, or launch one."
        )
    return state


def process_place() -> tuple[int, int]:
    """Returns the number of this process and how many there are."""
    state = process_state()
    return state.process_index, state.num_processes


def _has_accelerator() -> bool:
    import torch

    return torch.cuda.is_available() or (hasattr(torch, "xpu") and torch.xpu.is_available())
