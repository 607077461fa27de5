"""Unit weights of synthetic difference in differences.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from zoo_synthetic_learner.frank_wolfe import sparse_simplex_weights
from zoo_synthetic_learner.synthesizers.checks import check_count, check_flag
from zoo_synthetic_learner.synthesizers.rows import Rows
from zoo_synthetic_learner.synthesizers.simplex import fitted_weights, level_free
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task
from zoo_synthetic_learner.time_weights import noise_level


@dataclass(frozen=True)
class SDID:
    """Weights on the simplex with an intercept and the ridge zeta = (m T1)^(1/4) sigma, exactly.

    sigma is the standard deviation of the first differences of the donors' outcomes in the periods
    to learn from, m the number of targets and T1 that of periods from the start on. The time
    weights that belong to the method are `zoo_synthetic_learner.time_weights`.

    Args:
        sparsify: search as the authors' R package does, which ends near the minimum with fewer
            donors; give it to the time weights as well.
        num_treated: m, where it is not the number of targets, as for one target that is a mean of
            several units.

    Raises:
        ConfigError: a value does not fit.
    """

    sparsify: bool = False
    num_treated: int | None = None

    name: ClassVar[str] = "sdid"
    short: ClassVar[bool] = False
    time_weighted: ClassVar[bool] = True
    balances: ClassVar[bool] = True
    separable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_flag(self.sparsify, "sparsify")
        if self.num_treated is not None:
            check_count(self.num_treated, "num_treated", 1)

    def zeta(self, task: Task) -> float:
        """Returns the square root of the ridge."""
        cells = (self.num_treated or task.num_targets) * (len(task.donors) - task.start)
        return cells**0.25 * noise_level(task.learnt.T, task.fit)

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis; raises InputError without donors or periods."""
        rows = Rows.of(task)
        ridge, periods = self.zeta(task) ** 2, len(task.fit)
        if self.sparsify:
            donors, targets = level_free(rows)
            weights = sparse_simplex_weights(
                donors.T @ donors / periods,
                donors.T @ targets / periods,
                np.square(targets).sum(axis=0) / periods,
                ridge,
                noise_level(task.learnt.T, task.fit),
            )
        else:
            weights = fitted_weights(rows, periods, ridge)
        if self.sparsify:
            for target in range(task.num_targets):
                kept = weights[:, target] >= weights[:, target].max() / 4
                one = replace(
                    rows, donors=rows.donors[:, kept], targets=rows.targets[:, target, None]
                )
                weights[:, target] = 0
                weights[kept, target] = fitted_weights(one, len(task.fit), ridge)[:, 0]
        return Synthesis.linear(
            task, weights, rows.intercept(weights), (self.name,) * task.num_targets
        )
