"""The unit bootstrap: whole units are drawn anew, as their periods depend on one another.

Treated and control units are drawn separately, with replacement, and all is fitted again on what
was drawn. A unit that was drawn twice stays one donor, which keeps weights unique; how often it was
drawn counts in the effect regression and in averages. So the spread that comes of the choice of
donors is understated, with equal weights by a quarter. A recipe of ours: nothing is known of what
inference the paper (arXiv 2212.14580) has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import InputError
from zoo_synthetic_learner.inference import parallel
from zoo_synthetic_learner.inference.intervals import (
    check_level,
    percentile_interval,
    standard_error,
)
from zoo_synthetic_learner.panel import Floats, Ints, Panel
from zoo_synthetic_learner.semi_synthetic import check_count

FEWEST_TREATED = 5
"""With fewer treated units there are too few different resamples to tell of a distribution."""

_MOST_DRAWS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Bootstrap:
    """Estimates, and what they were in B resamples of the units.

    Attributes:
        effect_estimate: [k] tau(s) of the fit, or [k, L] by event time.
        att_estimate: the fit's mean effect on the treated.
        att_by_time_estimate: [L] by event time.
        effects: [B, k] or [B, k, L].
        att: [B].
        att_by_time: [B, L]; NaN where no unit of the resample reaches the event time.
        labels: [k] of the rows of S: units where S was not given.
        seeds: [B] uint64 of the replicates.
        redrawn: how many draws could not be fitted, and were made again from the same seed.
        one_sided: how many resamples had too few treated units to impute control units
            from, where the fit did so; a learner of two sides is one of one side there.
        within_cohorts: whether units were drawn within those that are treated at the same time.
    """

    effect_estimate: Floats
    att_estimate: float
    att_by_time_estimate: Floats
    effects: Floats
    att: Floats
    att_by_time: Floats
    labels: pd.Index
    seeds: parallel.Seeds
    redrawn: int
    one_sided: int
    within_cohorts: bool

    def effect_interval(self, alpha: float = 0.05) -> tuple[Floats, Floats]:
        """Returns the ends of the percentile intervals of tau(s), each like `effect_estimate`."""
        return percentile_interval(self.effects, alpha)

    def att_interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Returns the ends of the percentile interval of the ATT."""
        low, high = percentile_interval(self.att, alpha)
        return float(low), float(high)

    def att_by_time_interval(self, alpha: float = 0.05) -> tuple[Floats, Floats]:
        """Returns the ends [L] of those of the ATT by event time."""
        return percentile_interval(self.att_by_time, alpha)

    @property
    def effect_standard_error(self) -> Floats:
        """[k] or [k, L]."""
        return standard_error(self.effects)

    @property
    def att_standard_error(self) -> float:
        """The standard deviation of the ATT over resamples."""
        return float(standard_error(self.att))

    @property
    def att_by_time_standard_error(self) -> Floats:
        """[L]."""
        return standard_error(self.att_by_time)

    def to_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Returns a row for each estimate.

        The columns are quantity ("att", "att_by_time" or "effect"), row (a label of S), event_time,
        estimate, standard_error, low and high.
        """
        parts = (
            ("att", np.array(self.att_estimate), self.att),
            ("att_by_time", self.att_by_time_estimate, self.att_by_time),
            ("effect", self.effect_estimate, self.effects),
        )
        return pd.concat([self._rows(*part, alpha) for part in parts], ignore_index=True)

    def _rows(self, quantity: str, estimate: Floats, draws: Floats, alpha: float) -> pd.DataFrame:
        low, high = percentile_interval(draws, alpha)
        labels = self.labels if quantity == "effect" else [None]
        by_time = estimate.ndim == (2 if quantity == "effect" else 1)
        event_times = range(estimate.shape[-1]) if by_time else [None]
        places = [(label, event_time) for label in labels for event_time in event_times]
        return pd.DataFrame(
            {
                "quantity": quantity,
                "row": pd.Series([label for label, _ in places], dtype=object),
                "event_time": pd.Series([event_time for _, event_time in places], dtype="Int64"),
                "estimate": estimate.ravel(),
                "standard_error": standard_error(draws).ravel(),
                "low": low.ravel(),
                "high": high.ravel(),
            }
        )

    def __str__(self) -> str:
        low, high = self.att_interval()
        lines = [
            f"Unit bootstrap, {len(self.att)} replicates"
            + (", within cohorts" if self.within_cohorts else ""),
            f"ATT {self.att_estimate:.4g}, standard error {self.att_standard_error:.4g}, "
            f"95 % interval [{low:.4g}, {high:.4g}]",
        ]
        if self.redrawn:
            lines.append(f"{self.redrawn} draws could not be fitted and were made again.")
        if self.one_sided:
            lines.append(
                f"{self.one_sided} replicates had too few treated units to impute "
                "control units from, and are of one side."
            )
        return "\n".join(lines)


def bootstrap(
    estimator: Any,
    S: Any = None,  # noqa: N803
    n_boot: int = 200,
    *,
    within_cohorts: bool | None = None,
    random_state: object = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> Bootstrap:
    """Fits resamples of the units of a fitted learner.

    Where units start at different times they are drawn within cohorts, the units that start
    together: then every resample has the cohorts, their sizes and the event times of the panel, and
    the interval is about units, not about how many of them happened to start when. A cohort of one
    unit would be the same in all resamples and hide that it could have been another, so where there
    is one, treated units are drawn from all of them.

    Args:
        estimator: fitted, on at least five treated units.
        S: [k, d] covariates of whom to give the effect for; None for the fitted units.
        n_boot: B, at least 2; 200 or more for intervals.
        within_cohorts: whether to draw within cohorts; None as above.
        random_state: a seed; None for the estimator's.
        n_jobs: for joblib; None for the estimator's. See `joblib.parallel_config` for clusters.
        progress: whether to show a bar; None in a terminal only.

    Raises:
        InputError: fewer than five treated units or two controls, or arguments out of range; no
            resample of a seed could be fitted.
        sklearn.exceptions.NotFittedError: the estimator is not fitted.
    """
    refit = parallel.Refit.of(estimator)
    panel = refit.panel
    check_count(n_boot, "n_boot", 2)
    _check_sizes(panel)
    if within_cohorts is None:
        sizes = [np.count_nonzero(panel.first_treated == start) for start in panel.cohorts]
        within_cohorts = len(sizes) > 1 and min(sizes) > 1
    covariates = estimator._covariates(S)
    labels = panel.units if S is None else pd.RangeIndex(len(covariates))
    if isinstance(S, pd.DataFrame | pd.Series):
        labels = S.index
    effect_estimate = np.asarray(estimator.effect(S), dtype=np.float64)
    random_state = estimator.random_state if random_state is None else random_state
    seeds = parallel.seeds(random_state, n_boot)
    replicates = parallel.run(
        _replicate,
        _Resampling(refit.learner, panel, covariates, _strata(panel, within_cohorts)),
        seeds.tolist(),
        n_jobs=estimator.n_jobs if n_jobs is None else n_jobs,
        what="bootstrap",
        progress=progress,
    )
    two_sided = estimator.learned_.control is not None
    att_by_time_estimate = np.asarray(estimator.learned_.att_by_time)
    event_times = len(att_by_time_estimate)
    return Bootstrap(
        effect_estimate=effect_estimate,
        att_estimate=float(estimator.learned_.att),
        att_by_time_estimate=att_by_time_estimate,
        effects=np.stack([_padded(each.effect, effect_estimate.shape) for each in replicates]),
        att=np.array([each.att for each in replicates]),
        att_by_time=np.stack([_padded(each.att_by_time, (event_times,)) for each in replicates]),
        labels=labels,
        seeds=seeds,
        redrawn=sum(each.redrawn for each in replicates),
        one_sided=sum(each.one_sided for each in replicates) if two_sided else 0,
        within_cohorts=within_cohorts,
    )


def effect_interval(
    estimator: Any,
    S: Any = None,  # noqa: N803
    alpha: float = 0.05,
    n_boot: int = 200,
    **options: Any,
) -> tuple[Floats, Floats]:
    """Returns the ends of the intervals of `estimator.effect(S)`; raises as `bootstrap`."""
    check_level(alpha)
    return bootstrap(estimator, S, n_boot, **options).effect_interval(alpha)


@dataclass(frozen=True, eq=False)
class _Resampling(parallel.Refit):
    covariates: Floats
    strata: tuple[Ints, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Replicate:
    effect: Floats
    att: float
    att_by_time: Floats
    redrawn: int
    one_sided: bool


def _replicate(resampling: _Resampling, seed: int) -> _Replicate:
    """Fits one resample; where that fails another one is drawn from the same seed."""
    rng = np.random.default_rng(seed)
    reason = ""
    for redrawn in range(_MOST_DRAWS):
        rows, counts = _drawn(resampling.strata, rng)
        drawn = resampling.panel.take(rows)
        if min(len(drawn.treated), len(drawn.never_treated)) < 2:
            reason = "fewer than two different units of a group"
            continue
        try:
            learned = resampling.learner._learn(drawn, counts)
        except InputError as error:
            reason = str(error)
            continue
        if not np.isfinite(learned.att):
            reason = "the effect on the treated is not finite"
            continue
        return _Replicate(
            effect=np.asarray(learned.effect.predict(resampling.covariates)),
            att=float(learned.att),
            att_by_time=np.asarray(learned.att_by_time),
            redrawn=redrawn,
            one_sided=learned.control is None,
        )
    raise InputError(
        f"{_MOST_DRAWS} resamples of units in a row could not be fitted, the last because: {reason}"
    )


def _drawn(strata: tuple[Ints, ...], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Returns the rows that were drawn, ascending, and how often [rows] int64."""
    drawn = np.concatenate([rng.choice(stratum, stratum.size) for stratum in strata])
    rows, counts = np.unique(drawn, return_counts=True)
    return rows, counts.astype(np.int64)


def _strata(panel: Panel, within_cohorts: bool) -> tuple[Ints, ...]:
    if not within_cohorts:
        return panel.treated, panel.never_treated
    cohorts = [np.flatnonzero(panel.first_treated == start) for start in panel.cohorts]
    return *cohorts, panel.never_treated


def _padded(values: Floats, shape: tuple[int, ...]) -> Floats:
    """Returns values, with NaN for the last event times that a resample does not reach."""
    if values.shape == shape:
        return values
    padded = np.full(shape, np.nan)
    padded[..., : values.shape[-1]] = values
    return padded


def _check_sizes(panel: Panel) -> None:
    treated, controls = len(panel.treated), len(panel.never_treated)
    if treated < FEWEST_TREATED:
        raise InputError(
            f"the bootstrap needs at least {FEWEST_TREATED} treated units and there "
            f"{'is 1' if treated == 1 else f'are {treated}'}; use placebo_space or conformal."
        )
    if controls < 2:
        raise InputError(
            f"the bootstrap needs at least 2 units that never are treated and there "
            f"{'is 1' if controls == 1 else 'are none'}; use conformal."
        )
