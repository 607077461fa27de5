"""H1SL, the heterogeneous one-side synthetic learner (Shen et al., arXiv 2212.14580).

The paper's full text was not at hand: that the treated units' outcomes without treatment are
synthesised from control units before pseudo-effects are regressed on covariates is the paper's;
synthesizers, learners and pooling are reconstructions, and options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner import base_learners, synthesizers
from zoo_synthetic_learner.cohorts import DONORS
from zoo_synthetic_learner.effect_regression import (
    POOLS,
    PooledEffect,
    Samples,
    TimedEffect,
    learn_effect,
    mean_effects,
    samples,
)
from zoo_synthetic_learner.estimator import (
    PanelEstimator,
    check_choice,
    check_count,
    check_flag,
)
from zoo_synthetic_learner.imputation import Imputation, impute_side
from zoo_synthetic_learner.learned import Learned
from zoo_synthetic_learner.panel import Floats, Ints, Panel


class H1SL(PanelEstimator):
    """Learns tau(s) from the treated units, imputed from control units.

    Args:
        synthesizer: what imputes: "ols", "lasso", "ridge", "enet", "simplex", "sdid", "did", "mc",
            "auto" (the best of simplex, ridge and did for each unit, by forecasts of periods
            before treatment), any regressor as scikit-learn's, or a function from a `Task` to a
            `Synthesis`.
        synthesizer_options: keyword arguments of a named synthesizer, or of `Regressor`.
        base: what regresses pseudo-effects on covariates: "ridge", "linear", "constant", "auto"
            (by left-out units), or any regressor as scikit-learn's.
        interactions: add the products of two covariates.
        pool: "mean" regresses the mean over a unit's treated periods, "cells" every period, as
            covariates that vary over time need it, "time" each event time by itself.
        weights: "fit" weighs units by how well they fit before treatment; None all alike.
        time_weights: take a weighted misfit before treatment from the effects, as synthetic
            difference in differences does; the other reading of "two sides".
        balance_covariates: weights have to reproduce the covariates, too.
        cross_fit: in how many folds of units `effect()` predicts the fitted units without
            themselves; 0 for none.
        donors: "never": units that never are treated; "not-yet": those, too, that are treated
            only after the horizon.
        horizon: how many treated periods of each unit are looked at; None for all.
        missing: "drop" leaves out donors without an outcome in a period that is needed, and a
            treated unit learns from the periods it has; "interpolate"; "raise".
        force: learn weights from fewer than 8 periods before treatment.
        random_state: a seed for all that draws.
        n_jobs: for joblib, in regressors that impute and in inference.
    """

    _balance_choices: tuple[Any, ...] = (True, False)

    def __init__(
        self,
        synthesizer: Any = "auto",
        synthesizer_options: Mapping[str, Any] | None = None,
        base: Any = "ridge",
        interactions: bool = False,
        pool: str = "mean",
        weights: str | None = None,
        time_weights: bool = False,
        balance_covariates: bool | str = False,
        cross_fit: int = 0,
        donors: str = "never",
        horizon: int | None = None,
        missing: str = "drop",
        force: bool = False,
        random_state: int | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.synthesizer = synthesizer
        self.synthesizer_options = synthesizer_options
        self.base = base
        self.interactions = interactions
        self.pool = pool
        self.weights = weights
        self.time_weights = time_weights
        self.balance_covariates = balance_covariates
        self.cross_fit = cross_fit
        self.donors = donors
        self.horizon = horizon
        self.missing = missing
        self.force = force
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _check_settings(self) -> None:
        synthesizers.by_name(self.synthesizer, self.synthesizer_options)
        base_learners.check_base(self.base)
        check_choice(self.pool, "pool", POOLS)
        check_choice(self.weights, "weights", (None, "fit"))
        check_choice(self.donors, "donors", DONORS)
        check_choice(self.balance_covariates, "balance_covariates", self._balance_choices)
        for name in ("interactions", "time_weights", "force"):
            check_flag(getattr(self, name), name)
        check_count(self.cross_fit, "cross_fit", 0)
        if self.cross_fit == 1:
            raise ConfigError("cross_fit is 1; expected 0, or 2 or more folds.")
        if self.horizon is not None:
            check_count(self.horizon, "horizon", 1)

    def _synthesizer(self) -> synthesizers.Synthesizer:
        return synthesizers.by_name(self.synthesizer, self.synthesizer_options)

    def _learn(self, panel: Panel, counts: Ints | None = None) -> Learned:
        self._check_panel(panel)
        treated = self._impute(panel, "treated")
        found = samples(panel, treated, self.weights, counts)
        effect = self._regress(found)
        att, att_by_time = mean_effects(found)
        parts = {}
        if self.cross_fit and counts is None:
            parts["cross_fitted"] = self._cross_fitted(panel, found, effect)
        return Learned(
            effect=effect,
            treated=treated,
            control=None,
            att=att,
            att_by_time=att_by_time,
            parts=parts,
            notes=treated.notes,
        )

    def _check_panel(self, panel: Panel) -> None:
        if panel.time_varying and self.pool != "cells":
            raise ConfigError(
                f"pool is {self.pool!r}, and covariates vary over time; expected pool='cells', or "
                "covariates [N, d]."
            )
        self._check_known(panel, self._regressed(panel))

    def _regressed(self, panel: Panel) -> Ints:
        """The units whose effects are regressed on their covariates."""
        return panel.treated

    def _impute(self, panel: Panel, side: Any, **options: Any) -> Imputation:
        return impute_side(
            panel, side, self._synthesizer(), donors=self.donors, horizon=self.horizon,
            time_weighted=self.time_weights, balance=self._balances(side), force=self.force,
            random_state=self.random_state, n_jobs=self.n_jobs, **options,
        )  # fmt: skip

    def _balances(self, side: str) -> bool:
        return bool(self.balance_covariates)

    def _regress(self, found: Samples) -> PooledEffect | TimedEffect:
        return learn_effect(
            found, self.base, self.pool, interactions=self.interactions,  # type: ignore[arg-type]
            random_state=self.random_state,
        )  # fmt: skip

    def _cross_fitted(self, panel: Panel, found: Samples, whole: Any) -> Floats:
        """[N] or [N, L]: tau of each unit, learnt without it where it was learnt from."""
        static = panel.static_covariates()
        known = base_learners.known_rows(self.base, static)
        told = whole.predict(static[known])
        effects = np.full((panel.num_units, *told.shape[1:]), np.nan)
        effects[known] = told
        for train, test in self._folds(len(found.units)):
            rows = found.units[test]
            effects[rows] = self._regress(found.take(train)).predict(static[rows])
        return effects

    def _folds(self, number: int) -> list[tuple[Ints, Ints]]:
        if number < self.cross_fit:
            raise InputError(
                f"there are {number} units to cross-fit in {self.cross_fit} folds; expected a unit "
                "in each fold at least."
            )
        folds = KFold(self.cross_fit, shuffle=True, random_state=self.random_state)
        return list(folds.split(np.arange(number)))
