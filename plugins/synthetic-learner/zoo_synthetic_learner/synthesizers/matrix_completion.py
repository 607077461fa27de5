"""Matrix completion with a nuclear norm and fixed effects of units and of periods.

Athey, Bayati, Doudchenko, Imbens and Khosravi (2021), "Matrix Completion Methods for Causal Panel
Data Models".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.linalg import eigh

from zoo_synthetic_learner.panel import Bools, Floats
from zoo_synthetic_learner.synthesizers import rolling_origin
from zoo_synthetic_learner.synthesizers.checks import (
    check_count,
    check_number,
    check_penalty,
    check_task,
    checked_grid,
)
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task

_ROUNDING = 1e-12
GRID = tuple(float(each) for each in np.geomspace(1, 1e-2, 9))


@dataclass(frozen=True)
class MatrixCompletion:
    """min sum (Y - L - g - d)^2 / 2 + a |L|_* over the cells seen; g of units, d of periods.

    Seen are all cells of the donors, and those of the targets in the periods to learn from. So the
    donors' outcomes after the start do shape L, unlike with synthesizers that learn weights; the
    targets' do not. There are no weights.

    Args:
        penalty: a in units of the least one with which L is 0, so that 1 gives fixed effects
            alone; or "rolling", one of the grid for all targets together by rolling-origin
            validation on their last periods.
        grid: penalties to choose from.
        tolerance: iterations end when one moves the matrix by less than this share of what fixed
            effects leave (root mean square).
        max_iter: the most iterations for a penalty; a note tells if they did not suffice.

    Raises:
        ConfigError: a value does not fit.
    """

    penalty: Literal["rolling"] | float = "rolling"
    grid: tuple[float, ...] = GRID
    tolerance: float = 1e-5
    max_iter: int = 1000

    name: ClassVar[str] = "mc"
    short: ClassVar[bool] = False
    time_weighted: ClassVar[bool] = False
    balances: ClassVar[bool] = False
    separable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_penalty(self.penalty, ("rolling",))
        object.__setattr__(self, "grid", checked_grid(self.grid))
        check_number(self.tolerance, "tolerance")
        check_count(self.max_iter, "max_iter", 1)

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis, without weights; raises InputError without donors or periods."""
        notes: tuple[str, ...] = ()
        if self.penalty == "rolling":
            found = rolling_origin.errors(task, lambda part: self._forecasts(part))
            if found is None:
                penalty = self.grid[0]
                instead = f"the largest penalty, {penalty:g},"
                notes = (rolling_origin.TOO_FEW.format(periods=len(task.fit), instead=instead),)
            else:
                penalty = self.grid[int(found.sum(axis=1).argmin())]
        else:
            penalty = float(self.penalty)
        path = (*(above for above in self.grid if above > penalty), penalty)
        matrices, converged = self._path(task, path)
        if not converged:
            notes += (
                f"Matrix completion stopped after {self.max_iter} iterations before it converged "
                f"to {self.tolerance:g}; raise max_iter.",
            )
        predicted = matrices[-1][:, task.num_donors :].copy()
        choices = (f"{self.name}({penalty:.3g})",) * task.num_targets
        return Synthesis(predicted=predicted, choices=choices, notes=notes)

    def _forecasts(self, part: Task) -> Floats:
        matrices, _ = self._path(part, self.grid)
        return np.stack([each[part.start :, part.num_donors :] for each in matrices])

    def _path(self, task: Task, penalties: tuple[float, ...]) -> tuple[list[Floats], bool]:
        """Returns the completed [S, p + q] for descending penalties; whether the last converged."""
        check_task(task)
        outcome = np.zeros((len(task.donors), task.num_donors + task.num_targets))
        seen = np.zeros(outcome.shape, dtype=bool)
        outcome[:, : task.num_donors] = task.donors
        outcome[task.fit, task.num_donors :] = task.targets
        seen[:, : task.num_donors] = True
        seen[task.fit, task.num_donors :] = True
        effects = fixed_effects(outcome, seen)
        residual = np.where(seen, outcome - effects, 0.0)
        largest = float(np.linalg.norm(residual, 2)) if residual.size else 0.0
        found, current, converged = [], effects, True
        if largest <= _ROUNDING * float(np.linalg.norm(outcome)):
            return [effects] * len(penalties), True
        least = self.tolerance * float(np.linalg.norm(residual))
        for penalty in penalties:
            current, converged = complete(
                outcome, seen, penalty * largest, current, least, self.max_iter
            )
            found.append(current)
        return found, converged


def fixed_effects(outcome: Floats, seen: Bools) -> Floats:
    """Returns the least-squares fit of row and column effects on the cells seen, in all cells.

    Args:
        outcome: [S, N] float64.
        seen: [S, N]; no column and no row is without a cell.
    """
    counts = seen.sum(axis=0)
    share = seen / counts
    # Column effects are eliminated, which leaves S equations, singular in the direction of ones.
    left = np.diag(seen.sum(axis=1).astype(np.float64)) - share @ seen.T
    means = np.where(seen, outcome, 0.0).sum(axis=0) / counts
    right = np.where(seen, outcome - means, 0.0).sum(axis=1)
    rows = np.linalg.lstsq(left, right, rcond=None)[0]
    return rows[:, None] + (means - rows @ share)


def complete(
    outcome: Floats, seen: Bools, penalty: float, start: Floats, least: float, max_iter: int
) -> tuple[Floats, bool]:
    """Returns the minimiser of sum over seen (Y - L - g - d)^2 / 2 + penalty |L|_*, L + g + d.

    Proximal gradient steps, which fill the cells that are not seen from the matrix before and
    shrink singular values, accelerated and restarted where the last step turned back.

    Args:
        outcome: [S, N] float64.
        seen: [S, N].
        penalty: at least 0, in units of the outcome.
        start: [S, N], where to start from.
        least: a step of this Frobenius norm ends the iterations.
        max_iter: the most iterations.

    Returns:
        The matrix and whether it converged.
    """
    current, ahead, pace = start, start, 1.0
    for _ in range(max_iter):
        after = _shrunk(np.where(seen, outcome, ahead), penalty)
        step = after - ahead
        if np.linalg.norm(step) <= least:
            return after, True
        move = after - current
        if np.vdot(step, move) < 0:
            pace = 1.0
        faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = after + (pace - 1) / faster * move
        current, pace = after, faster
    return current, False


def _shrunk(filled: Floats, penalty: float) -> Floats:
    """Returns the effects of a full matrix, and the rest with its singular values shrunk."""
    effects = filled.mean(axis=1, keepdims=True) + (filled.mean(axis=0) - filled.mean())
    rest = filled - effects
    wide = rest.shape[0] <= rest.shape[1]
    gram = rest @ rest.T if wide else rest.T @ rest
    values, vectors = eigh(
        gram, subset_by_value=(penalty**2, np.inf), driver="evr", check_finite=False
    )
    kept = vectors * (1 - penalty / np.sqrt(values))
    return effects + (kept @ (vectors.T @ rest) if wide else (rest @ vectors) @ kept.T)
