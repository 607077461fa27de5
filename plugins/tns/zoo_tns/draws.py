"""Random draws of samplers: which generator they come from, and how positions are drawn."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from zoo_core.errors import InputError


class Draws:
    """Draws from a generator seeded by `seed`, one in each worker of a loader; None is torch's own.

    The generator is made where it is first used: copies of this object, in a worker or unpickled,
    start the stream of their own place from its beginning.

    Raises:
        InputError: the seed is no integer of at least 0.
    """

    def __init__(self, seed: int | None) -> None:
        valid = isinstance(seed, Integral) and not isinstance(seed, bool) and seed >= 0
        if seed is not None and not valid:
            raise InputError(f"seed is {seed!r}; expected an integer of at least 0, or None.")
        self.seed = seed if seed is None else int(seed)
        self._stream: tuple[object, torch.Generator] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"seed": self.seed, "_stream": None}

    @property
    def generator(self) -> torch.Generator | None:
        """The generator of this process; None is torch's own."""
        if self.seed is None:
            return None
        worker = get_worker_info()
        place = (os.getpid(), worker and worker.id)
        if self._stream is None or self._stream[0] != place:
            # 0 is the main process, so that no worker repeats it.
            number = 0 if worker is None else worker.id + 1
            # torch's generator looks at 32 bits of a seed, so that both have to be mixed into them.
            mixed = np.random.SeedSequence((self.seed, number)).generate_state(1)
            generator = torch.Generator().manual_seed(int(mixed[0]))
            self._stream = place, generator
        return self._stream[1]

    def integers(self, high: int, size: int) -> Tensor:
        """Returns int64 [size], uniform in 0..high - 1."""
        return torch.randint(high, (size,), generator=self.generator)

    def weighted(self, weight: Tensor, size: int) -> Tensor:
        """Returns int64 [size], each with a probability in proportion to its weight."""
        return torch.multinomial(weight, size, replacement=True, generator=self.generator)

    def with_replacement(self, count: Tensor, k: int) -> Tensor:
        """Returns k positions, each uniform in 1..count, in order: int64 [B, k]; 0 of no events."""
        drawn = torch.rand(len(count), k, dtype=torch.float64, generator=self.generator)
        # Below 1 times N, rounded, is below N still; so at most N.
        position = 1 + (drawn * count.unsqueeze(1)).long()
        return (position * (count > 0).unsqueeze(1)).sort(dim=1).values

    def without_replacement(self, count: Tensor, k: int) -> Tensor:
        """Returns min(k, count) distinct positions in 1..count, in order, then zeros: int64 [B, k].

        Every set of k positions is equally likely. Floyd's algorithm (Bentley, "Programming Pearls:
        A sample of brilliance", 1987) for all rows at once: k draws a row, whatever the count.
        """
        drawn = torch.rand(len(count), k, dtype=torch.float64, generator=self.generator)
        position = torch.arange(1, k + 1).repeat(len(count), 1)
        position *= position <= count.unsqueeze(1)
        for column in range(k):
            last = count - k + column + 1
            candidate = 1 + (drawn[:, column] * last).long()
            taken = (position[:, :column] == candidate.unsqueeze(1)).any(dim=1)
            chosen = torch.where(taken, last, candidate)
            position[:, column] = torch.where(count > k, chosen, position[:, column])
        # Zeros last: a short history has them at the end already.
        return torch.where((count > k).unsqueeze(1), position.sort(dim=1).values, position)
