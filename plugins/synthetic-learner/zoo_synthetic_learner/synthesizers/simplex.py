"""Synthetic control: weights that are at least 0 and sum to 1.

Abadie, Diamond and Hainmueller (2010); with an intercept, Doudchenko and Imbens (2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.simplex_solver import simplex_weights
from zoo_synthetic_learner.synthesizers.checks import check_flag, check_number
from zoo_synthetic_learner.synthesizers.rows import Rows
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task
from zoo_synthetic_learner.time_weights import noise_level

SHARE = 0.01


@dataclass(frozen=True)
class Simplex:
    """min (1/F) |Q - c - P w|^2 + ridge |w|^2 over w on the simplex, exactly.

    Args:
        intercept: False, with `ridge` 0, is the classical synthetic control. True lets outcomes
            of other levels in.
        ridge: zeta squared, in squared units of the outcome; None is 0.01 of the variance of the
            first differences of the donors' outcomes in the periods to learn from.

    Raises:
        ConfigError: a value does not fit.
    """

    intercept: bool = True
    ridge: float | None = None

    name: ClassVar[str] = "simplex"
    short: ClassVar[bool] = False
    time_weighted: ClassVar[bool] = False
    balances: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_flag(self.intercept, "intercept")
        if self.ridge is not None:
            check_number(self.ridge, "ridge")

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis; raises InputError without donors or periods."""
        ridge = self.ridge
        if ridge is None:
            ridge = SHARE * noise_level(task.learnt.T, task.fit) ** 2
        rows = Rows.of(task, self.intercept)
        weights = fitted_weights(rows, len(task.fit), ridge)
        return Synthesis.linear(
            task, weights, rows.intercept(weights), (self.name,) * task.num_targets
        )


def fitted_weights(rows: Rows, periods: int, ridge: float) -> Floats:
    """Returns weights [p, q] on the simplex that minimise |Q - P w|^2 / periods + ridge |w|^2."""
    donors, targets = level_free(rows)
    return simplex_weights(donors.T @ donors / periods, donors.T @ targets / periods, ridge)


def level_free(rows: Rows) -> tuple[Floats, Floats]:
    """Returns donors and targets less the donors' mean of each row.

    The weights' sum is 1, so that changes no residual. It keeps the digits that levels far from
    zero would cost.
    """
    shared = rows.donors.mean(axis=1, keepdims=True)
    return rows.donors - shared, rows.targets - shared
