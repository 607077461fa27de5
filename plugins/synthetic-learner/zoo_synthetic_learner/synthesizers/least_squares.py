"""Ordinary least squares on the donors' outcomes, with an intercept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.linalg import lstsq

from zoo_synthetic_learner.synthesizers.rows import Rows
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task


@dataclass(frozen=True)
class LeastSquares:
    """Weights free in sign and sum: those of least norm where several fit as well."""

    name: ClassVar[str] = "ols"
    short: ClassVar[bool] = False
    time_weighted: ClassVar[bool] = False
    balances: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis; raises InputError without donors or periods."""
        rows = Rows.of(task)
        # Centring leaves rounding errors of the level, which must not count as variation.
        spread = np.abs(rows.donors).max()
        level = np.abs(rows.donor_means).max() / spread if spread > 0 else 0.0
        least = max(rows.donors.shape) * np.finfo(float).eps * (1 + level)
        weights, _, rank, _ = lstsq(
            rows.donors, rows.targets, cond=min(least, 0.5), check_finite=False
        )
        notes: tuple[str, ...] = ()
        if task.num_donors >= rows.free:
            notes = (
                f"Least squares on {task.num_donors} donors fit {len(task.fit)} periods without "
                "error; of such weights those of least norm were taken. Use a penalty.",
            )
        elif rank < task.num_donors:
            notes = (
                f"The outcomes of {task.num_donors} donors have rank {rank}; of weights that fit "
                "the same those of least norm were taken.",
            )
        return Synthesis.linear(
            task, weights, rows.intercept(weights), (self.name,) * task.num_targets, notes
        )
