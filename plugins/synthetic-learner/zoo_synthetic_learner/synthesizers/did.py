"""Difference in differences as a synthesizer: all donors weigh the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner.synthesizers.checks import check_choice, check_task
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task

Base = Literal["mean", "last"]


@dataclass(frozen=True)
class DiD:
    """Weights 1/p and an intercept.

    Args:
        base: what the intercept makes equal: the "mean" over the periods to learn from, or the
            "last" of them before the start alone, which is the base period of group-time effects.

    Raises:
        ConfigError: `base` is something else.
    """

    base: Base = "mean"

    name: ClassVar[str] = "did"
    short: ClassVar[bool] = True
    time_weighted: ClassVar[bool] = False
    balances: ClassVar[bool] = False
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice(self.base, "base", get_args(Base))

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis; raises InputError without donors or periods."""
        check_task(task)
        misfit = task.targets - task.learnt.mean(axis=1, keepdims=True)
        if self.base == "mean":
            intercept = misfit.mean(axis=0)
        else:
            before = int(np.searchsorted(task.fit, task.start))
            if not before:
                raise InputError("No period to learn from is before the start, as base='last' is.")
            intercept = misfit[before - 1]
        weights = np.full((task.num_donors, task.num_targets), 1 / task.num_donors)
        return Synthesis.linear(task, weights, intercept, (self.name,) * task.num_targets)
