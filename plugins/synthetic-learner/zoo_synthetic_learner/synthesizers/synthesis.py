"""What goes into a synthesizer and what comes out: the generalised control's interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from zoo_synthetic_learner.panel import Floats, Ints


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """Targets that are learnt from the same donors on the same periods.

    Attributes:
        donors: [S, p] float64, finite: the donors' outcomes in the periods 0 to S - 1.
        targets: [F, q] float64, finite: the targets' outcomes in the periods of `fit`.
        fit: [F] int64, ascending: the periods to learn on, all before `start`.
        start: the first period whose counterfactual is asked for; those are `start` to S - 1.
        covariates: [S, q, d] the targets' time-varying covariates, or None.
        balance: (donors' [r, p], targets' [r, q]): rows that weights have to reproduce besides
            the outcomes, without an intercept; or None.
        random_state: for synthesizers that draw.
        n_jobs: for joblib.
    """

    donors: Floats
    targets: Floats
    fit: Ints
    start: int
    covariates: Floats | None = None
    balance: tuple[Floats, Floats] | None = None
    random_state: int | None = None
    n_jobs: int | None = None

    @property
    def learnt(self) -> Floats:
        """[F, p]: the donors in the periods to learn on."""
        return self.donors[self.fit]

    @property
    def num_donors(self) -> int:
        """The paper's p."""
        return self.donors.shape[1]

    @property
    def num_targets(self) -> int:
        """The paper's q."""
        return self.targets.shape[1]

    def until(self, origin: int, stop: int) -> Task:
        """Returns the task of a forecaster who stands before `origin` and looks up to `stop`."""
        known = self.fit < origin
        return Task(
            donors=self.donors[:stop],
            targets=self.targets[known],
            fit=self.fit[known],
            start=origin,
            covariates=None if self.covariates is None else self.covariates[:stop],
            balance=self.balance,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Synthesis:
    """What a synthesizer makes of a task.

    Attributes:
        predicted: [S, q] float64: the targets' outcomes as the donors tell them, in all periods.
        weights: [p, q] float64, or None where the prediction is not linear in the donors.
        intercept: [q] float64, or None with `weights`.
        choices: for each target what was chosen, such as "simplex" or "ridge(0.1)".
        notes: whole sentences on what a user should know, such as a fallback.
    """

    predicted: Floats
    weights: Floats | None = None
    intercept: Floats | None = None
    choices: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def linear(
        cls,
        task: Task,
        weights: Floats,
        intercept: Floats,
        choices: tuple[str, ...],
        notes: tuple[str, ...] = (),
    ) -> Synthesis:
        """Returns the synthesis of weights and intercepts."""
        predicted = task.donors @ weights
        predicted += intercept
        return cls(
            predicted=predicted,
            weights=weights,
            intercept=np.asarray(intercept, dtype=np.float64),
            choices=choices,
            notes=notes,
        )


Synthesizer = Callable[[Task], Synthesis]
"""A function from a task to its synthesis; ours are frozen dataclasses that hold their options."""
