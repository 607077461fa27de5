"""Lasso and elastic net on the donors' outcomes, all targets from one Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from zoo_core.errors import ConfigError
from zoo_synthetic_learner.elastic_net_solver import elastic_net_paths
from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.synthesizers import rolling_origin
from zoo_synthetic_learner.synthesizers.checks import check_number, check_penalty, checked_grid
from zoo_synthetic_learner.synthesizers.rows import Rows
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task

GRID = tuple(float(each) for each in np.geomspace(1, 1e-3, 19))


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
        """Returns least rolling-origin errors [q] and their penalties [q]; None without origins."""

        def forecasts(part: Task) -> Floats:
            rows = Rows.of(part)
            paths = self._paths(rows, np.array(self.grid)[:, None])
            return (part.donors[part.start :] - rows.donor_means) @ paths + rows.target_means

        found = rolling_origin.errors(task, forecasts)
        if found is None:
            return None
        return found.min(axis=0), np.array(self.grid)[found.argmin(axis=0)]

    def with_penalties(self, task: Task, penalties: Floats) -> Synthesis:
        """Returns the synthesis with a penalty for each target, [q]."""
        return self._synthesis(task, penalties, ())

    def _synthesis(self, task: Task, penalties: Floats, notes: tuple[str, ...]) -> Synthesis:
        rows = Rows.of(task)
        # Down the grid to the penalty, as the solution for one starts that for the next.
        above = np.array([each for each in self.grid if each > penalties.min(initial=np.inf)])
        steps = np.append(np.maximum(above[:, None], penalties), penalties[None], axis=0)
        weights = self._paths(rows, steps)[-1]
        choices = tuple(f"{self.name}({each:.3g})" for each in penalties)
        return Synthesis.linear(task, weights, rows.intercept(weights), choices, notes)

    def _paths(self, rows: Rows, penalties: Floats) -> Floats:
        """Returns the weights [k, p, q] for penalties [k, q] or [k, 1], which descend."""
        cross = rows.donors.T @ rows.targets
        # The weights' gradient at 0, over l1_ratio, is the least penalty with which all are 0.
        scaled = penalties * (np.abs(cross).max(axis=0) / self.l1_ratio)
        return elastic_net_paths(
            rows.donors.T @ rows.donors,
            cross,
            scaled * self.l1_ratio,
            scaled * (1 - self.l1_ratio),
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
