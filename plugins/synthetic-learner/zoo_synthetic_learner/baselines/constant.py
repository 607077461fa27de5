"""Panel estimators that report one number: synthetic control, SDID, matrix completion."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_synthetic_learner import synthesizers
from zoo_synthetic_learner.base_learners import fitted
from zoo_synthetic_learner.cohorts import DONORS
from zoo_synthetic_learner.effect_regression import PooledEffect, mean_effects, samples
from zoo_synthetic_learner.estimator import (
    PanelEstimator,
    check_choice,
    check_count,
    check_flag,
)
from zoo_synthetic_learner.imputation import impute_side
from zoo_synthetic_learner.learned import Learned
from zoo_synthetic_learner.panel import Ints, Panel


class ConstantLearner(PanelEstimator):
    """What estimators of one number share: tau(s) is the mean effect on the treated.

    Args:
        donors: "never": units that never are treated; "not-yet": those, too, that are treated
            only after the horizon.
        horizon: how many treated periods of each unit are looked at; None for all.
        missing: "drop" leaves out donors without an outcome in a period that is needed;
            "interpolate"; "raise".
        force: learn weights from fewer than 8 periods before treatment.
        random_state: for inference.
        n_jobs: for joblib, in inference.
    """

    _shared = False

    def __init__(
        self,
        donors: str = "never",
        horizon: int | None = None,
        missing: str = "drop",
        force: bool = False,
        random_state: int | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.donors = donors
        self.horizon = horizon
        self.missing = missing
        self.force = force
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _check_settings(self) -> None:
        check_choice(self.donors, "donors", DONORS)
        check_flag(self.force, "force")
        if self.horizon is not None:
            check_count(self.horizon, "horizon", 1)
        self._synthesizer()

    def _synthesizer(self) -> synthesizers.Synthesizer:
        raise NotImplementedError

    def _learn(self, panel: Panel, counts: Ints | None = None) -> Learned:
        treated = impute_side(
            panel, "treated", self._synthesizer(), donors=self.donors, horizon=self.horizon,
            shared=self._shared, force=self.force, random_state=self.random_state,
            n_jobs=self.n_jobs,
        )  # fmt: skip
        found = samples(panel, treated, None, counts)
        att, att_by_time = mean_effects(found)
        none = np.empty((1, 0))
        effect = PooledEffect(fitted("constant", none, np.array([att]), np.zeros(1, np.int64)))
        return Learned(
            effect=effect,
            treated=treated,
            control=None,
            att=att,
            att_by_time=att_by_time,
            notes=treated.notes,
        )


class SyntheticControl(ConstantLearner):
    """Synthetic control (Abadie, Diamond and Hainmueller 2010): a convex combination per unit.

    Args:
        intercept: whether a level may differ, the demeaned variant.
        ridge: a penalty on the weights, in units of the mean squared error.
        donors, horizon, missing, force, random_state, n_jobs: as `ConstantLearner`'s.
    """

    def __init__(
        self,
        intercept: bool = False,
        ridge: float | None = 0.0,
        donors: str = "never",
        horizon: int | None = None,
        missing: str = "drop",
        force: bool = False,
        random_state: int | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(donors, horizon, missing, force, random_state, n_jobs)
        self.intercept = intercept
        self.ridge = ridge

    def _synthesizer(self) -> synthesizers.Synthesizer:
        return synthesizers.Simplex(intercept=self.intercept, ridge=self.ridge)


class SyntheticDiD(ConstantLearner):
    """Synthetic difference in differences (Arkhangelsky et al. 2021).

    The units of a cohort share their weights, which are learnt from their mean.

    Args:
        sparse: leave out small weights and solve again, as the authors' R package does.
        donors, horizon, missing, force, random_state, n_jobs: as `ConstantLearner`'s.
    """

    _shared = True

    def __init__(
        self,
        sparse: bool = False,
        donors: str = "never",
        horizon: int | None = None,
        missing: str = "drop",
        force: bool = False,
        random_state: int | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(donors, horizon, missing, force, random_state, n_jobs)
        self.sparse = sparse

    def _synthesizer(self) -> synthesizers.Synthesizer:
        return synthesizers.SDID(sparsify=self.sparse)


class MatrixCompletionATT(ConstantLearner):
    """Matrix completion with nuclear norm and fixed effects (Athey et al. 2021).

    Args:
        options: keyword arguments of `synthesizers.MatrixCompletion`.
        donors, horizon, missing, force, random_state, n_jobs: as `ConstantLearner`'s.
    """

    def __init__(
        self,
        options: Any = None,
        donors: str = "never",
        horizon: int | None = None,
        missing: str = "drop",
        force: bool = False,
        random_state: int | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(donors, horizon, missing, force, random_state, n_jobs)
        self.options = options

    def _synthesizer(self) -> synthesizers.Synthesizer:
        return synthesizers.by_name("mc", self.options)
