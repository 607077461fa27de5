"""Lasso and elastic net on the donors' outcomes, all targets from one Gram matrix."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import enet_path

from zoo_core.errors import ConfigError
from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.synthesizers import rolling_origin
from zoo_synthetic_learner.synthesizers.checks import check_number, check_penalty, checked_grid
from zoo_synthetic_learner.synthesizers.rows import Rows
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task

GRID = tuple(float(each) for each in np.geomspace(1, 1e-3, 19))
_TOLERANCE = 1e-7
_SWEEPS = 20_000


@dataclass(frozen=True)
class ElasticNet:
    """min |Q - c - P w|^2 / (2R) + a (l1_ratio |w|_1 + (1 - l1_ratio) |w|^2 / 2) over R rows.

    The intercept has no penalty. Donors are centred and keep their scale.

    Args:
        penalty: a in units of the target's least one with which all weights are 0, so that 1 gives
            no weights and 0.001 many; or "rolling", chosen from the grid for each target by
            rolling-origin validation.
        l1_ratio: above 0 and at most 1.
        grid: penalties to choose from.

    Raises:
        ConfigError: a value does not fit.
    """

    penalty: Literal["rolling"] | float = "rolling"
    l1_ratio: float = 0.5
    grid: tuple[float, ...] = GRID

    name: ClassVar[str] = "enet"
    short: ClassVar[bool] = False
    time_weighted: ClassVar[bool] = False
    balances: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_penalty(self.penalty, ("rolling",))
        object.__setattr__(self, "grid", checked_grid(self.grid))
        if not 0 < check_number(self.l1_ratio, "l1_ratio") <= 1:
            raise ConfigError(
                f"l1_ratio is {self.l1_ratio!r}; expected above 0 and at most 1. 'ridge' is 0."
            )

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis; raises InputError without donors or periods."""
        notes: tuple[str, ...] = ()
        if self.penalty == "rolling":
            tuned = self.tune(task)
            if tuned is None:
                penalties = np.full(task.num_targets, self.grid[0])
                instead = f"the largest penalty, {self.grid[0]:g},"
                notes = (rolling_origin.TOO_FEW.format(periods=len(task.fit), instead=instead),)
            else:
                penalties = tuned[1]
        else:
            penalties = np.full(task.num_targets, float(self.penalty))
        return self._synthesis(task, penalties, notes)

    def tune(self, task: Task) -> tuple[Floats, Floats] | None:
        """Returns the least rolling-origin errors [q] and their penalties [q]; None without origins.

        A penalty that was given is the only one tried.
        """
        grid = (float(self.penalty),) if not isinstance(self.penalty, str) else self.grid

        def forecasts(part: Task) -> Floats:
            rows = Rows.of(part)
            paths = self._paths(rows, [np.array(grid)] * part.num_targets, part.n_jobs)
            seen = part.donors[part.start :] - rows.donor_means
            told = np.stack([seen @ path for path in paths], axis=2)
            return told.transpose(1, 0, 2) + rows.target_means

        found = rolling_origin.errors(task, forecasts)
        if found is None:
            return None
        return found.min(axis=0), np.array(grid)[found.argmin(axis=0)]

    def with_penalties(self, task: Task, penalties: Floats) -> Synthesis:
        """Returns the synthesis with a penalty for each target, [q]."""
        return self._synthesis(task, penalties, ())

    def _synthesis(self, task: Task, penalties: Floats, notes: tuple[str, ...]) -> Synthesis:
        rows = Rows.of(task)
        # Down the grid to the penalty, as the solution for one starts that for the next.
        grids = [
            np.append([above for above in self.grid if above > penalty], penalty)
            for penalty in penalties
        ]
        weights = np.empty((task.num_donors, task.num_targets))
        for target, path in enumerate(self._paths(rows, grids, task.n_jobs)):
            weights[:, target] = path[:, -1]
        choices = tuple(f"{self.name}({each:.3g})" for each in penalties)
        return Synthesis.linear(task, weights, rows.intercept(weights), choices, notes)

    def _paths(self, rows: Rows, grids: list[Floats], n_jobs: int | None) -> list[Floats]:
        """Returns for each target the weights [p, k] at its penalties, which descend."""
        donors = np.asfortranarray(rows.donors)
        gram = donors.T @ donors
        cross = np.asfortranarray(donors.T @ rows.targets)

        def path(target: int) -> Floats:
            scale = np.abs(cross[:, target]).max() / (len(donors) * self.l1_ratio)
            if scale <= 0:
                return np.zeros((donors.shape[1], len(grids[target])))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                return enet_path(
                    donors,
                    np.ascontiguousarray(rows.targets[:, target]),
                    l1_ratio=self.l1_ratio,
                    alphas=scale * grids[target],
                    precompute=gram,
                    Xy=np.ascontiguousarray(cross[:, target]),
                    check_input=False,
                    tol=_TOLERANCE,
                    max_iter=_SWEEPS,
                )[1]

        # Coordinate descent gives the interpreter's lock back, so threads do.
        return Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(path)(target) for target in range(rows.targets.shape[1])
        )


@dataclass(frozen=True)
class Lasso(ElasticNet):
    """min |Q - c - P w|^2 / (2R) + a |w|_1 over R rows: few donors get weights.

    Args:
        penalty: as of `ElasticNet`.
        l1_ratio: 1; another value is an elastic net.
        grid: as of `ElasticNet`.

    Raises:
        ConfigError: a value does not fit.
    """

    l1_ratio: float = 1.0

    name: ClassVar[str] = "lasso"
