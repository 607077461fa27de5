"""H2SL, the heterogeneous two-side synthetic learner (Shen et al., arXiv 2212.14580).

The paper's full text was not at hand. Names and the two sets of assumptions are the paper's; that
the second side imputes control units' outcomes with treatment from treated units, and that both are
combined as in the X-learner, is a reading of ours. The other one, unit and time weights, is
`time_weights=True`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner import base_learners
from zoo_synthetic_learner.combining import CombinedEffect, Sides, rule_of
from zoo_synthetic_learner.effect_regression import Samples, mean_effects, samples
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.labels import named
from zoo_synthetic_learner.learned import Effect, Learned
from zoo_synthetic_learner.panel import Floats, Ints, Panel
from zoo_synthetic_learner.propensity import (
    check_propensity,
    learn_propensity,
    takes_missing,
)
from zoo_synthetic_learner.synthesizers.rolling_origin import horizon_of

FEW_DONORS = 5
"""With fewer treated units there is next to nothing to impute control units from."""


class H2SL(H1SL):
    """Learns tau(s) from both groups, each imputed from the other.

    Control units' outcomes with treatment are imputed from treated units by what was learnt before
    treatment. That is right where the weights that reproduce a unit's outcomes reproduce its effect
    as well, as when effects are linear in what drives outcomes; not for arbitrary tau.

    With fewer than 5 treated units it is H1SL, and says so.

    Args:
        synthesizer, synthesizer_options, base, interactions, pool, weights, time_weights,
        cross_fit, donors, horizon, missing, force, random_state, n_jobs: as `H1SL`'s.
        propensity: what learns e(s): "logistic", or a classifier as scikit-learn's.
        combine: "propensity": tau = e tau_0 + (1 - e) tau_1, with tau_0 learnt on control units;
            "half"; "precision": by the regressions' errors on left-out units; "learned": the
            constant weight that finds least where treatment is moved ahead to periods without
            effect; or a function from `combining.Sides` to a weight.
        balance_covariates: True: weights for control units have to reproduce their covariates,
            which the assumption on the second side asks for; "both": those for treated units, too.
    """

    _balance_choices = (True, False, "both")

    def __init__(
        self,
        synthesizer: Any = "auto",
        synthesizer_options: Mapping[str, Any] | None = None,
        base: Any = "ridge",
        interactions: bool = False,
        propensity: Any = "logistic",
        combine: Any = "propensity",
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
        super().__init__(
            synthesizer=synthesizer,
            synthesizer_options=synthesizer_options,
            base=base,
            interactions=interactions,
            pool=pool,
            weights=weights,
            time_weights=time_weights,
            balance_covariates=balance_covariates,
            cross_fit=cross_fit,
            donors=donors,
            horizon=horizon,
            missing=missing,
            force=force,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        self.propensity = propensity
        self.combine = combine

    def _check_settings(self) -> None:
        super()._check_settings()
        check_propensity(self.propensity)
        rule_of(self.combine)

    def _balances(self, side: str) -> bool:
        return self.balance_covariates == "both" or (
            bool(self.balance_covariates) and side == "control"
        )

    def _takes_missing(self) -> bool:
        return base_learners.takes_missing(self.base) and takes_missing(self.propensity)

    def _regressed(self, panel: Panel) -> Ints:
        return np.arange(panel.num_units)

    def _learn(self, panel: Panel, counts: Ints | None = None) -> Learned:
        self._check_panel(panel)
        # A resample counts as many units as were drawn, some of them more than once.
        size = np.ones(panel.num_units, dtype=np.int64) if counts is None else counts
        large = [
            start
            for start in panel.cohorts.tolist()
            if size[panel.first_treated == start].sum() >= FEW_DONORS
        ]
        if not large:
            note = (
                f"{named(panel.units, panel.treated)}: with fewer than {FEW_DONORS} units treated "
                "from the same period on, control units cannot be imputed from them; the effects "
                "are those of H1SL."
            )
            given = {name: getattr(self, name) for name in H1SL().get_params(deep=False)}
            given["balance_covariates"] = bool(self.balance_covariates)
            one = H1SL(**given)._learn(panel, counts)
            return replace(one, notes=(*one.notes, note))
        notes = ()
        if len(large) < len(panel.cohorts):
            small = [str(panel.times[g]) for g in panel.cohorts if g not in large]
            notes = (
                f"control units are not imputed from those treated from {', '.join(small)} on, who "
                f"are fewer than {FEW_DONORS}.",
            )
        treated = self._impute(panel, "treated")
        control = self._impute(panel, "control", starts=large)
        found = samples(panel, treated, self.weights, counts)
        others = samples(panel, control, self.weights, counts)
        one, zero = self._regress(found), self._regress(others)
        static = panel.static_covariates()
        is_treated = panel.first_treated < panel.num_periods
        propensity = learn_propensity(
            self.propensity, static, is_treated, counts, self.random_state
        )
        sides = Sides(
            propensity=propensity,
            variances=lambda: (self._variance(found), self._variance(others)),
            placebo=lambda: self._placebo(panel, counts),
            covariates=static,
        )
        weight = rule_of(self.combine)(sides)
        if not callable(getattr(weight, "predict", None)):
            raise ConfigError(
                f"the function of combine= returned a {type(weight).__name__}; expected an object "
                "whose predict gives the weight [k] of the effect learnt on control units."
            )
        effect = CombinedEffect(one, zero, weight)
        effect.predict(static)
        att, att_by_time = mean_effects(found)
        parts: dict[str, Any] = {"propensity": propensity}
        if self.cross_fit and counts is None:
            parts["cross_fitted"] = self._cross_fitted_sides(panel, found, others, effect)
        return Learned(
            effect=effect,
            treated=treated,
            control=control,
            att=att,
            att_by_time=att_by_time,
            parts=parts,
            notes=tuple(dict.fromkeys((*treated.notes, *control.notes, *notes))),
        )

    def _variance(self, found: Samples) -> float:
        """The variance of mean pseudo-effects around their regression, on units left out."""
        if len(found.units) < 3:
            raise InputError("combine='precision' needs 3 units of each group at least.")
        x = found.covariates if found.covariates.ndim == 2 else np.nanmean(found.covariates, axis=1)
        base = "ridge" if isinstance(self.base, str) and self.base == "auto" else self.base
        learner = base_learners.make_learner(base, x.shape[1], self.interactions, self.random_state)
        rows = np.repeat(np.arange(len(found.units)), found.counts)
        errors = base_learners.left_out_errors(learner, x[rows], found.means[rows], rows, None)
        return float(np.mean(errors**2))

    def _placebo(self, panel: Panel, counts: Ints | None) -> tuple[Effect, Effect] | None:
        """Both sides' effects with treatment moved ahead of every cohort, before any effect."""
        first = int(panel.first_treated.min())
        horizon = horizon_of(first)
        moved = first - horizon
        if moved < (2 if getattr(self._synthesizer(), "short", False) or self.force else 8):
            return None
        before = _cut(panel, moved, first)
        treated, control = (self._impute(before, side) for side in ("treated", "control"))
        one, zero = (samples(before, each, self.weights, counts) for each in (treated, control))
        return self._regress(one), self._regress(zero)

    def _cross_fitted_sides(
        self, panel: Panel, found: Samples, others: Samples, effect: CombinedEffect
    ) -> Floats:
        static = panel.static_covariates()
        one = self._cross_fitted(panel, found, effect.treated)
        zero = self._cross_fitted(panel, others, effect.control)
        held = CombinedEffect(_Given(one), _Given(zero), effect.weight)
        return held.predict(static)


class _Given:
    """Effects of the panel's units that are known already."""

    def __init__(self, effects: Floats) -> None:
        self._effects = effects

    def predict(self, covariates: Floats) -> Floats:
        return self._effects


def _cut(panel: Panel, start: int, stop: int) -> Panel:
    """The panel before `stop`, as if all its treated units had been treated from `start` on."""
    covariates = panel.covariates[:, :stop] if panel.time_varying else panel.covariates
    never = panel.first_treated >= panel.num_periods
    return replace(
        panel,
        outcome=panel.outcome[:, :stop],
        covariates=covariates,
        times=panel.times[:stop],
        first_treated=np.where(never, stop, start),
    )
