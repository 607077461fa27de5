"""Ridge regression on the donors' outcomes: all targets and penalties from one decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from scipy.linalg import eigh

from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.synthesizers import rolling_origin
from zoo_synthetic_learner.synthesizers.checks import check_penalty, checked_grid
from zoo_synthetic_learner.synthesizers.rows import Rows
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task

GRID = tuple(float(each) for each in 10.0 ** np.arange(4, -4.5, -0.5))
GCV_GRID = tuple(float(each) for each in 10.0 ** np.arange(4, -10.5, -0.5))


class Spectrum:
    """min |Q - c - P w|^2 + penalty * unit * |w|^2 for all penalties, by eigenvectors.

    Of the two Gram matrices the smaller one is decomposed. `unit` is the mean of the eigenvalues
    that the number of rows leaves free, so that a penalty means the same at all scales and sizes.
    """

    def __init__(self, task: Task) -> None:
        self.rows = rows = Rows.of(task)
        donors, targets = rows.donors, rows.targets
        if len(donors) < task.num_donors:
            values, vectors = eigh(donors @ donors.T, check_finite=False)
            self.basis = donors.T @ vectors
            self.scores = vectors.T @ targets
        else:
            values, vectors = eigh(donors.T @ donors, check_finite=False)
            self.basis = vectors
            self.scores = vectors.T @ (donors.T @ targets)
        self.values = np.maximum(values, 0.0)
        rank = max(min(rows.free, task.num_donors), 1)
        total = float(self.values.sum())
        self.unit = total / rank if total > 0 else 1.0

    def shrunk(self, penalty: Floats | float) -> Floats:
        """Returns [k, q], the weights in the basis, for one penalty or one for each target."""
        return self.scores / (self.values[:, None] + np.multiply(penalty, self.unit))

    def weights(self, penalty: Floats | float) -> Floats:
        """Returns the weights [p, q]."""
        return self.basis @ self.shrunk(penalty)

    def forecasts(self, donors: Floats, penalties: tuple[float, ...]) -> Floats:
        """Returns for donors' outcomes [L, p] what each penalty tells of the targets, [k, L, q]."""
        seen = (donors - self.rows.donor_means) @ self.basis
        told = np.stack([seen @ self.shrunk(each) for each in penalties])
        told += self.rows.target_means
        return told

    @cached_property
    def fitted_basis(self) -> Floats:
        """[R, k]: the rows in the basis."""
        return self.rows.donors @ self.basis

    def generalized_errors(self, penalties: tuple[float, ...]) -> Floats:
        """Returns the generalised cross-validation error [k, q] (Golub, Heath and Wahba 1979)."""
        count = len(self.rows.donors)
        found = []
        for penalty in penalties:
            residual = self.rows.targets - self.fitted_basis @ self.shrunk(penalty)
            freedom = (self.values / (self.values + penalty * self.unit)).sum()
            freedom += count - self.rows.free
            found.append(count * np.square(residual).sum(axis=0) / (count - freedom) ** 2)
        return np.stack(found)


@dataclass(frozen=True)
class Ridge:
    """Weights free in sign and sum, with a penalty on their squares; none on the intercept.

    Args:
        penalty: a number, relative to the mean eigenvalue of the donors' centred Gram matrix; or
            "rolling", chosen from the grid for each target by rolling-origin validation; or
            "gcv", by generalised cross-validation over periods, which is here only to show how
            it fails: outcomes with trends make it choose almost no penalty.
        grid: penalties to choose from; None is 10,000 to 0.0001 in steps of the root of 10, and
            down to 1e-10 with "gcv".

    Raises:
        ConfigError: a value does not fit.
    """

    penalty: Literal["rolling", "gcv"] | float = "rolling"
    grid: tuple[float, ...] | None = None

    name: ClassVar[str] = "ridge"
    short: ClassVar[bool] = False
    time_weighted: ClassVar[bool] = False
    balances: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_penalty(self.penalty, ("rolling", "gcv"))
        if self.grid is not None:
            object.__setattr__(self, "grid", checked_grid(self.grid))

    @property
    def penalties(self) -> tuple[float, ...]:
        """What there is to choose from, descending."""
        return self.grid or (GCV_GRID if self.penalty == "gcv" else GRID)

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis; raises InputError without donors or periods."""
        spectrum = Spectrum(task)
        notes: tuple[str, ...] = ()
        if self.penalty == "rolling":
            tuned = self.tune(task)
            if tuned is None:
                penalties = np.full(task.num_targets, self.penalties[0])
                instead = f"the largest penalty, {self.penalties[0]:g},"
                notes = (rolling_origin.TOO_FEW.format(periods=len(task.fit), instead=instead),)
            else:
                penalties = tuned[1]
        elif self.penalty == "gcv":
            found = spectrum.generalized_errors(self.penalties)
            penalties = np.array(self.penalties)[found.argmin(axis=0)]
        else:
            penalties = np.full(task.num_targets, float(self.penalty))
        return self._synthesis(task, spectrum, penalties, notes)

    def tune(self, task: Task) -> tuple[Floats, Floats] | None:
        """Returns least rolling-origin errors [q] and their penalties [q]; None without origins."""

        def forecasts(part: Task) -> Floats:
            return Spectrum(part).forecasts(part.donors[part.start :], self.penalties)

        found = rolling_origin.errors(task, forecasts)
        if found is None:
            return None
        return found.min(axis=0), np.array(self.penalties)[found.argmin(axis=0)]

    def with_penalties(self, task: Task, penalties: Floats) -> Synthesis:
        """Returns the synthesis with a penalty for each target, [q]."""
        return self._synthesis(task, Spectrum(task), penalties, ())

    def _synthesis(
        self, task: Task, spectrum: Spectrum, penalties: Floats, notes: tuple[str, ...]
    ) -> Synthesis:
        weights = spectrum.weights(penalties)
        choices = tuple(f"{self.name}({each:.3g})" for each in penalties)
        return Synthesis.linear(task, weights, spectrum.rows.intercept(weights), choices, notes)
