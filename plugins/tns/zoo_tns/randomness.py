"""Generators of their own for what a model draws, so that models which sample differently are
alike in all else."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError
from zoo_tns.dropout import Dropout

BACKBONE, EXPANSION, SAMPLING = _STREAMS = ("dropout", "expansion_dropout", "sampling")


class Streams:
    """The generators of a model: dropout of its backbone, of expansion modules, and sampling."""

    def __init__(
        self, model: nn.Module, device: torch.device, state: Mapping[str, Tensor] | None = None
    ) -> None:
        """Makes them, and gives those of dropout to the model's modules.

        Args:
            model: its expansion modules are those whose names start with "expansions.".
            device: where dropout draws; sampling draws in main memory.
            state: where each begins, as `state` returns it.

        Raises:
            InputError: the state is none; the model is as it was.
        """
        self._made = {
            name: torch.Generator("cpu" if name == SAMPLING else device) for name in _STREAMS
        }
        if state is not None:
            self._load(state)
        for name, module in model.named_modules():
            if isinstance(module, Dropout):
                expands = name.startswith("expansions.")
                module.generator = self._made[EXPANSION if expands else BACKBONE]

    @property
    def sampling(self) -> torch.Generator:
        """What uniform sampling draws from."""
        return self._made[SAMPLING]

    def seed(self, seed: int) -> None:
        """Starts all of them at a seed, each at another place."""
        for offset, generator in enumerate(self._made.values()):
            generator.manual_seed(seed * len(_STREAMS) + offset)

    def state(self) -> dict[str, Tensor]:
        """Returns where each is."""
        return {name: each.get_state() for name, each in self._made.items()}

    def _load(self, state: Mapping[str, Tensor]) -> None:
        if sorted(state) != sorted(_STREAMS):
            known = ", ".join(_STREAMS)
            raise InputError(f"the random state has {', '.join(sorted(state))}; expected {known}.")
        for name, each in state.items():
            try:
                self._made[name].set_state(each)
            except (RuntimeError, TypeError) as error:
                raise InputError(f"the random state's {name} is none: {error}") from None
