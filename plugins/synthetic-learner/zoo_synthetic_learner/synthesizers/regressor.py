"""Any scikit-learn regressor as a synthesizer: periods are rows, donors' outcomes are features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.utils import get_tags

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.synthesizers.checks import check_count, check_flag, check_task
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Task


@dataclass(frozen=True, eq=False)
class Regressor:
    """A target's outcome is what a regressor makes of the donors' outcomes in the same period.

    A regressor that takes several outputs is fitted once for all targets, others once for each, on
    `n_jobs` processes of the task. Every model is a clone; where it draws and has no seed of its
    own, it gets the task's `random_state`.

    Args:
        regressor: with `fit(X, y)` and `predict(X)`, as scikit-learn's.
        lags: how many earlier periods of the donors are features besides. The first `lags` periods
            are not learnt from, and their prediction is NaN.
        covariates: whether the target's time-varying covariates are features; one model for each
            target then.
        time: whether the index of the period is a feature.

    Raises:
        ConfigError: a value does not fit.
    """

    regressor: Any
    lags: int = 0
    covariates: bool = False
    time: bool = False

    short: ClassVar[bool] = False
    time_weighted: ClassVar[bool] = False
    balances: ClassVar[bool] = False
    separable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.regressor, type):
            name = self.regressor.__name__
            raise ConfigError(f"regressor is the class {name}; expected an object, {name}().")
        if not is_regressor(self.regressor):
            kind = type(self.regressor).__name__
            raise ConfigError(
                f"regressor is a {kind}; expected an object with fit, predict and get_params."
            )
        check_count(self.lags, "lags", 0)
        check_flag(self.covariates, "covariates")
        check_flag(self.time, "time")

    @property
    def name(self) -> str:
        """The regressor's class."""
        return type(self.regressor).__name__

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis, without weights.

        Raises:
            InputError: there are no donors, fewer than two periods after the lags, or covariates
                are asked for that are not there or missing.
        """
        check_task(task)
        learnt = task.fit >= self.lags
        if learnt.sum() < 2:
            raise InputError(
                f"lags is {self.lags} and there are {len(task.fit)} periods to learn from; "
                "expected at least two of them after the first `lags` periods of the panel."
            )
        self._check_covariates(task)
        shared = self._shared_features(task)
        rows = task.fit[learnt] - self.lags
        targets = task.targets[learnt]
        predicted = np.full((len(task.donors), task.num_targets), np.nan)
        if not self.covariates and get_tags(self.regressor).target_tags.multi_output:
            outputs = targets if task.num_targets > 1 else targets[:, 0]
            told = self._told(shared, rows, outputs, task.random_state)
            predicted[self.lags :] = told.reshape(len(shared), task.num_targets)
        else:
            own = task.covariates[self.lags :] if self.covariates else None
            columns = Parallel(n_jobs=task.n_jobs)(
                delayed(self._told)(
                    shared if own is None else np.hstack((shared, own[:, each])),
                    rows,
                    targets[:, each],
                    task.random_state,
                )
                for each in range(task.num_targets)
            )
            for each, told in enumerate(columns):
                predicted[self.lags :, each] = told
        return Synthesis(predicted=predicted, choices=(self.name,) * task.num_targets)

    def _check_covariates(self, task: Task) -> None:
        if not self.covariates:
            return
        if task.covariates is None:
            raise InputError(
                "covariates is True and the panel has none that vary in time; expected [N, T, d]."
            )
        missing = np.argwhere(np.isnan(task.covariates))
        if len(missing) and not get_tags(self.regressor).input_tags.allow_nan:
            period, target, place = missing[0]
            raise InputError(
                f"Covariate {place} of target {target} is missing in period {period}, and "
                f"{self.name} takes no missing values; fill it, or use a regressor that does."
            )

    def _shared_features(self, task: Task) -> Floats:
        """Returns [S - lags, p (1 + lags) (+ 1)], the rows from period `lags` on."""
        periods = len(task.donors)
        parts = [task.donors[self.lags - lag : periods - lag] for lag in range(self.lags + 1)]
        if self.time:
            parts.append(np.arange(self.lags, periods, dtype=np.float64)[:, None])
        return np.hstack(parts)

    def _told(self, features: Floats, rows: Any, outcome: Floats, seed: int | None) -> Floats:
        model = clone(self.regressor)
        if seed is not None:
            seeds = {
                key: seed
                for key, value in model.get_params().items()
                if value is None and key.split("__")[-1] == "random_state"
            }
            model.set_params(**seeds)
        return model.fit(features[rows], outcome).predict(features)


def is_regressor(value: Any) -> bool:
    """Whether this is an object that follows scikit-learn's contract of regressors."""
    return not isinstance(value, type) and all(
        callable(getattr(value, name, None)) for name in ("fit", "predict", "get_params")
    )
