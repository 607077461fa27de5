"""What a learner makes of a panel: values, from which the estimator's attributes are taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.panel import Floats


class Effect(Protocol):
    """A fitted tau(s): the effect on a unit with these covariates."""

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k] effects of units with covariates [k, d]; [k, L] by event time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Learned:
    """A fit, without the labels.

    Attributes:
        effect: the learnt tau(s).
        treated: the imputed treated units; None for learners that impute none.
        control: the imputed control units; None but for a learner of two sides.
        att: the mean effect over the treated units' observed cells.
        att_by_time: [L] float64, the same for each event time, 0 being the first treated period.
        parts: what else was learnt, by name, such as "propensity".
        notes: sentences on what a user should know.
    """

    effect: Effect
    treated: Imputation | None
    control: Imputation | None
    att: float
    att_by_time: Floats
    parts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
