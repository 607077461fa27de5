"""Learning rates as functions of the step alone: nothing to save, nothing to get out of step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from zoo_core.errors import ConfigError


def warmup_cosine(
    step: int, *, total: int, lr: float, warmup: int = 0, warmup_lr: float = 0.0, min_lr: float = 0
) -> float:
    """Returns the learning rate of a step.

    It rises linearly from `warmup_lr` at step 0 to `lr` at step `warmup`, and falls along half a
    cosine to `min_lr` at step `total`, which is one after the last.

    Args:
        step: from 0.
        total: steps of the whole run.
        lr: the highest learning rate.
        warmup: steps of the rise, fewer than `total`.
        warmup_lr: what it rises from.
        min_lr: what it falls to.

    Raises:
        ConfigError: no steps, or none left after the rise.
    """
    if not 0 <= warmup < total:
        raise ConfigError(f"warm-up takes {warmup} of {total} steps; expected fewer.")
    if step < warmup:
        return warmup_lr + (lr - warmup_lr) * step / warmup
    done = min((step - warmup) / (total - warmup), 1.0)
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * done)) / 2


def step_decay(milestones: Sequence[float], gamma: float = 0.1) -> Callable[[float], float]:
    """Returns epochs done -> the factor `gamma` for every milestone reached."""
    return lambda done: gamma ** sum(done >= each for each in milestones)


def polynomial(total: int, warmup: int, power: float = 1.0) -> Callable[[float], float]:
    """Returns iterations done -> factor: a linear rise from 1 / warmup, times a fall to 0.

    Args:
        total: iterations of the run.
        warmup: iterations of the rise.
        power: of the fall, (1 - done / total) ** power.

    Raises:
        ConfigError: no iterations, or none left after the rise.
    """
    if not 0 <= warmup < total:
        raise ConfigError(f"warm-up takes {warmup} of {total} iterations; expected fewer.")

    def factor(done: float) -> float:
        rise = min((done + 1) / warmup, 1.0) if warmup else 1.0
        return rise * max(1 - done / total, 0.0) ** power

    return factor
