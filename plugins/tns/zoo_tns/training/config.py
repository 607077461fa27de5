"""How a temporal graph network is trained (section "Implementation", and the official TGN code)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from zoo_core.errors import ConfigError, suggestion

Order = Literal["chronological", "shuffled"]
"""In which order an epoch goes through the events; "shuffled" is TGAT's, without a memory."""

_LARGEST = (1 << 63) - 1


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training; the defaults are TGN's, those of the paper.

    Attributes:
        epochs: passes over the training events, at most.
        batch_size: events of a step, over all processes; those of a batch do not see each other in
            the memory.
        lr: Adam's learning rate.
        alpha: the expansion modules' learning rate as a multiple of `lr`.
        patience: epochs without a better validation AP after which training ends; None never ends
            it early. 5 for TGN, 3 for TGAT.
        order: of the events in an epoch.
        seed: of the order, the negatives and dropout. The initial weights are the caller's.
        eval_batch_size: events of a batch in evaluation; None is `batch_size`.
        checkpoint_every: steps between checkpoints; None writes one after each epoch alone.

    Raises:
        ConfigError: a value out of its range.
    """

    epochs: int = 50
    batch_size: int = 200
    lr: float = 1e-4
    alpha: float = 0.1
    patience: int | None = 5
    order: Order = "chronological"
    seed: int = 0
    eval_batch_size: int | None = None
    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            _integer(name, getattr(self, name), 1)
        for name in ("patience", "eval_batch_size", "checkpoint_every"):
            if getattr(self, name) is not None:
                _integer(name, getattr(self, name), 1)
        _integer("seed", self.seed, 0)
        if not _number("lr", self.lr):
            raise ConfigError(f"lr is {self.lr!r}; expected more than 0.")
        _number("alpha", self.alpha)
        if self.order not in get_args(Order):
            raise ConfigError(
                f"order is {self.order!r}.{suggestion(str(self.order), get_args(Order))} Expected "
                f"one of {', '.join(get_args(Order))}."
            )

    @property
    def evaluation_batch_size(self) -> int:
        """Events of a batch in evaluation."""
        return self.eval_batch_size or self.batch_size


def _integer(name: str, value: Any, least: int) -> None:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not least <= value <= _LARGEST:
        raise ConfigError(f"{name} is {value!r}; expected an integer of at least {least}.")


def _number(name: str, value: Any) -> float:
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value < 0:
        raise ConfigError(f"{name} is {value!r}; expected a finite number of at least 0.")
    return float(value)
