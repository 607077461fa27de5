"""The least-squares problem that linear synthesizers share: centred outcomes and balance rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.synthesizers.checks import check_task
from zoo_synthetic_learner.synthesizers.synthesis import Task


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of periods and below them those of balance: donors [R, p] and targets [R, q].

    With an intercept the means over the periods are taken from the rows of periods alone; rows of
    balance have no intercept and stay as they are.

    Attributes:
        donors: [R, p] float64.
        targets: [R, q] float64.
        donor_means: [p], what was taken from the donors; zeros without an intercept.
        target_means: [q], the same of the targets.
        free: how many rows are free to vary: R, or R - 1 with an intercept.
    """

    donors: Floats
    targets: Floats
    donor_means: Floats
    target_means: Floats
    free: int

    @classmethod
    def of(cls, task: Task, intercept: bool = True) -> Rows:
        """Returns the problem of a task; raises InputError if it has no donor or no period."""
        check_task(task)
        donors, targets = task.learnt, task.targets
        if intercept:
            donor_means, target_means = donors.mean(axis=0), targets.mean(axis=0)
            donors, targets = donors - donor_means, targets - target_means
        else:
            donor_means, target_means = np.zeros(donors.shape[1]), np.zeros(targets.shape[1])
        if task.balance is not None:
            donors = np.concatenate((donors, task.balance[0]))
            targets = np.concatenate((targets, task.balance[1]))
        return cls(donors, targets, donor_means, target_means, len(donors) - intercept)

    def intercept(self, weights: Floats) -> Floats:
        """Returns [q], the intercepts that go with weights [p, q]."""
        return self.target_means - self.donor_means @ weights
