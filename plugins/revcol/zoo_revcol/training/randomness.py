"""Seeds from what they are for, so that a run can go on anywhere without a saved random state.

Every random number of a run comes from a generator that was seeded just before from the run's
seed and a place: the epoch for the order of the images, the epoch and the index for the
augmentation of an image, the step and the process for drop path and mixup. What came before does
not matter, and neither do the number of workers and how far they read ahead.
"""

from __future__ import annotations

import hashlib
import random

import torch


def derived(*parts: int | str) -> int:
    """Returns a seed in [0, 2 ** 63) that depends on all parts, and looks unrelated for others."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_all(*parts: int | str, device: torch.device | None = None) -> None:
    """Seeds the global generators of Python, NumPy, PyTorch's CPU and, if named, a CUDA device."""
    import numpy as np

    seed = derived(*parts)
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    # Not torch.manual_seed, which on a machine without CUDA queues a call for later each time.
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        torch.cuda.manual_seed(seed)


def permutation(number: int, *parts: int | str) -> torch.Tensor:
    """Returns 0 ... number - 1 in a random order that depends on the parts, int64 [number]."""
    generator = torch.Generator().manual_seed(derived(*parts))
    return torch.randperm(number, generator=generator)
