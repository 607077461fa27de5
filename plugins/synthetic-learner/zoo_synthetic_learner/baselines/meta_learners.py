"""Learners that take no notice of the panel: S-, T- and X-learner of mean outcomes, and DiD-T.

A unit is a row, its outcome the mean over the treated periods (Künzel et al. 2019 for the learners;
the difference of four terms behind DiD is that of the authors' documentation). In staggered designs
each cohort is compared with the control units by itself, and tau is the mean over cohorts weighted
by their size, which is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner import base_learners
from zoo_synthetic_learner.cohorts import Cohort, treated_cohorts
from zoo_synthetic_learner.combining import CombinedEffect
from zoo_synthetic_learner.effect_regression import PooledEffect, row_means
from zoo_synthetic_learner.estimator import PanelEstimator, check_flag
from zoo_synthetic_learner.labels import named
from zoo_synthetic_learner.learned import Effect, Learned
from zoo_synthetic_learner.panel import Floats, Ints, Panel
from zoo_synthetic_learner.propensity import check_propensity, learn_propensity, takes_missing


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """Units, their covariates [u, d], outcomes [u] and how often each counts [u]."""

    x: Floats
    y: Floats
    counts: Ints
    units: Ints

    def repeated(self) -> tuple[Floats, Floats, Ints]:
        """Returns covariates, outcomes and units, each as often as it counts."""
        return (
            np.repeat(self.x, self.counts, axis=0),
            np.repeat(self.y, self.counts),
            np.repeat(self.units, self.counts),
        )


@dataclass(frozen=True, eq=False)
class DifferenceEffect:
    """tau(s) as the difference of two regressions: with treatment less without."""

    treated: Any
    control: Any

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k]."""
        one, zero = self.treated.predict(covariates), self.control.predict(covariates)
        return np.asarray(one - zero, dtype=np.float64).reshape(-1)


@dataclass(frozen=True, eq=False)
class SwitchedEffect:
    """tau(s) as the difference that the treatment's column makes in one regression."""

    learner: Any

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k]."""
        one = self.learner.predict(_with_switch(covariates, 1.0))
        zero = self.learner.predict(_with_switch(covariates, 0.0))
        return np.asarray(one - zero, dtype=np.float64).reshape(-1)


@dataclass(frozen=True, eq=False)
class AveragedEffect:
    """The mean of cohorts' tau(s), weighted by their size."""

    effects: tuple[Any, ...]
    sizes: Floats

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k]."""
        each = np.stack([one.predict(covariates) for one in self.effects])
        return np.asarray(np.average(each, axis=0, weights=self.sizes), dtype=np.float64)


class MetaLearner(PanelEstimator):
    """What the learners of mean outcomes share.

    Args:
        base: what regresses outcomes on covariates: "ridge", "linear", "constant", "auto" (by
            left-out units), or any regressor as scikit-learn's.
        interactions: add the products of two covariates.
        missing: "drop" takes means over the periods that were observed; "interpolate"; "raise".
        random_state: a seed for learners that draw.
        n_jobs: for joblib, in inference.
    """

    def __init__(
        self,
        base: Any = "ridge",
        interactions: bool = False,
        missing: str = "drop",
        random_state: int | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.base = base
        self.interactions = interactions
        self.missing = missing
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _check_settings(self) -> None:
        base_learners.check_base(self.base)
        check_flag(self.interactions, "interactions")

    def _learn(self, panel: Panel, counts: Ints | None = None) -> Learned:
        if panel.time_varying:
            raise ConfigError(
                f"{type(self).__name__} regresses mean outcomes, and covariates vary over time; "
                "expected covariates [N, d], such as their means before treatment."
            )
        self._check_known(panel, np.arange(panel.num_units))
        if counts is None:
            counts = np.ones(panel.num_units, dtype=np.int64)
        cohorts = treated_cohorts(panel)
        effects, sizes = [], []
        for cohort in cohorts:
            outcome = self._outcome(panel, cohort)
            one = _group(panel, outcome, cohort.units, counts, cohort)
            zero = _group(panel, outcome, cohort.donors, counts, cohort)
            effects.append(self._compare(one, zero))
            sizes.append(float(counts[cohort.units].sum()))
        effect = (
            effects[0] if len(effects) == 1 else AveragedEffect(tuple(effects), np.array(sizes))
        )
        treated = panel.treated
        found = np.average(effect.predict(panel.covariates[treated]), weights=counts[treated])
        return Learned(
            effect=effect,
            treated=None,
            control=None,
            att=float(found),
            att_by_time=np.empty(0),
        )

    def _outcome(self, panel: Panel, cohort: Cohort) -> Floats:
        """[N]: what is compared between the groups."""
        return row_means(panel.outcome[:, cohort.start : cohort.stop])

    def _compare(self, one: Group, zero: Group) -> Effect:
        """Returns tau(s) of treated units and control units."""
        raise NotImplementedError

    def _regression(self, x: Floats, y: Floats, groups: Ints) -> Any:
        return base_learners.fitted(
            self.base, x, y, groups, interactions=self.interactions,
            random_state=self.random_state,
        )  # fmt: skip


class PanelTLearner(MetaLearner):
    """T-learner: mean outcomes regressed in each group by itself."""

    def _compare(self, one: Group, zero: Group) -> Effect:
        return DifferenceEffect(
            self._regression(*one.repeated()), self._regression(*zero.repeated())
        )


class PanelSLearner(MetaLearner):
    """S-learner: mean outcomes regressed on covariates and treatment at once.

    With a linear base learner tau is the same for all, unless `interactions` are added.
    """

    def _compare(self, one: Group, zero: Group) -> Effect:
        groups = [one.repeated(), zero.repeated()]
        x = np.concatenate([_with_switch(groups[0][0], 1.0), _with_switch(groups[1][0], 0.0)])
        y, units = (np.concatenate([group[place] for group in groups]) for place in (1, 2))
        return SwitchedEffect(self._regression(x, y, units))


class PanelXLearner(MetaLearner):
    """X-learner: each group's outcomes imputed by the other's regression, combined by propensity.

    Args:
        base, interactions, missing, random_state, n_jobs: as `MetaLearner`'s.
        propensity: "logistic", or a classifier as scikit-learn's.
    """

    def __init__(
        self,
        base: Any = "ridge",
        interactions: bool = False,
        propensity: Any = "logistic",
        missing: str = "drop",
        random_state: int | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(base, interactions, missing, random_state, n_jobs)
        self.propensity = propensity

    def _check_settings(self) -> None:
        super()._check_settings()
        check_propensity(self.propensity)

    def _takes_missing(self) -> bool:
        return super()._takes_missing() and takes_missing(self.propensity)

    def _compare(self, one: Group, zero: Group) -> Effect:
        with_treatment = self._regression(*one.repeated())
        without = self._regression(*zero.repeated())
        gain = replace(one, y=one.y - without.predict(one.x))
        loss = replace(zero, y=with_treatment.predict(zero.x) - zero.y)
        x = np.concatenate([one.x, zero.x])
        treated = np.arange(len(x)) < len(one.x)
        counts = np.concatenate([one.counts, zero.counts])
        propensity = learn_propensity(self.propensity, x, treated, counts, self.random_state)
        return CombinedEffect(
            PooledEffect(self._regression(*gain.repeated())),
            PooledEffect(self._regression(*loss.repeated())),
            propensity,
        )


class DiDT(PanelTLearner):
    """DiD-T: changes from before to after treatment, regressed in each group by itself."""

    def _outcome(self, panel: Panel, cohort: Cohort) -> Floats:
        before = row_means(panel.outcome[:, : cohort.start])
        return super()._outcome(panel, cohort) - before


def _with_switch(covariates: Floats, value: float) -> Floats:
    return np.concatenate([covariates, np.full((len(covariates), 1), value)], axis=1)


def _group(panel: Panel, outcome: Floats, rows: Ints, counts: Ints, cohort: Cohort) -> Group:
    rows = rows[~np.isnan(outcome[rows])]
    if not rows.size:
        begins = panel.times[cohort.start]
        raise InputError(
            f"{named(panel.units, cohort.units)}, treated from {begins} on: no unit of one of the "
            "groups has outcomes before and after; expected some in both."
        )
    return Group(x=panel.covariates[rows], y=outcome[rows], counts=counts[rows], units=rows)
