"""What a computation depends on besides its arguments: random numbers and autocast."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class Surroundings:
    """The random state and autocast settings of a call, to repeat the call in.

    Args:
        device: that the call computes on, besides the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = None if device.type in ("cpu", "meta") else device
        types = {"cpu"} if self._device is None else {"cpu", device.type}
        self._autocast = [
            {
                "device_type": kind,
                "enabled": torch.is_autocast_enabled(kind),
                "dtype": torch.get_autocast_dtype(kind),
                # A level uses each weight once; and where backward is called inside of an autocast
                # region, the cache would hold casts of all the rebuilt maps until its end.
                "cache_enabled": False,
            }
            for kind in sorted(types)
        ]
        self._random: tuple[Tensor, Tensor | None] | None = self._random_state()

    def forget_unused(self) -> None:
        """Drops the random state if no random number has been drawn since it was taken."""
        if self._random is None:
            return
        cpu, device = self._random_state()
        known_cpu, known_device = self._random
        same = torch.equal(cpu, known_cpu)
        if device is not None and known_device is not None:
            same = same and torch.equal(device, known_device)
        if same:
            self._random = None

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Sets everything as it was, and back as it is now at the end."""
        with contextlib.ExitStack() as stack:
            for settings in self._autocast:
                stack.enter_context(torch.autocast(**settings))
            if self._random is not None:
                cpu, device = self._random
                devices = [] if self._device is None else [self._device]
                kind = "cuda" if self._device is None else self._device.type
                stack.enter_context(torch.random.fork_rng(devices, device_type=kind))
                torch.set_rng_state(cpu)
                if device is not None:
                    self._module().set_rng_state(device, self._device)
            yield

    def _random_state(self) -> tuple[Tensor, Tensor | None]:
        device = None if self._device is None else self._module().get_rng_state(self._device)
        return torch.get_rng_state(), device

    def _module(self) -> Any:
        return torch.get_device_module(self._device)
