"""Placebo in time: effects that are found before there was a treatment.

Treatment is said to start some periods early. What is then found in the periods between is the
forecasting error of the counterfactual, in the outcome's units. A reconstruction of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import InputError, enumeration
from zoo_synthetic_learner.inference import parallel
from zoo_synthetic_learner.panel import Floats, Ints, Panel
from zoo_synthetic_learner.semi_synthetic import check_count
from zoo_synthetic_learner.synthesizers.rolling_origin import horizon_of

_LEAST_LEFT = 2
"""A panel has at least so many periods before treatment."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlaceboTime:
    """Pseudo-effects of treated units in the h periods before their treatment.

    Attributes:
        effects: [q, T], NaN but in the held-out periods with an outcome.
        units: [q] labels.
        times: [T] labels.
        start: [q] int64, the first period with the real treatment.
        horizon: [q] int64, h: how many periods before `start` were held out.
        fit_rmse: [q] the root mean square gap in the periods before those.
        skipped: for each group of units that was left out its labels and why.
    """

    effects: Floats
    units: pd.Index
    times: pd.Index
    start: Ints
    horizon: Ints
    fit_rmse: Floats
    skipped: tuple[tuple[tuple[Any, ...], str], ...]

    @property
    def rmse(self) -> float:
        """The root mean square of all pseudo-effects."""
        return float(np.sqrt(np.nanmean(self.effects**2)))

    @property
    def mean(self) -> float:
        """The mean of all pseudo-effects, to be compared with the ATT."""
        return float(np.nanmean(self.effects))

    @property
    def unit_rmse(self) -> Floats:
        """[q]; NaN for units without an outcome in the held-out periods."""
        return np.sqrt(_row_means(self.effects**2))

    @property
    def unit_mean(self) -> Floats:
        """[q]; NaN as `unit_rmse`."""
        return _row_means(self.effects)

    def to_frame(self) -> pd.DataFrame:
        """Returns a row for each unit: treated_from, horizon, mean, rmse and fit_rmse."""
        return pd.DataFrame(
            {
                "treated_from": self.times[self.start],
                "horizon": self.horizon,
                "mean": self.unit_mean,
                "rmse": self.unit_rmse,
                "fit_rmse": self.fit_rmse,
            },
            index=self.units,
        )

    def __str__(self) -> str:
        horizons = enumeration([str(each) for each in np.unique(self.horizon)], 4)
        lines = [
            f"Placebo in time, {horizons} periods before treatment held out, "
            f"{len(self.units)} treated unit{'s' if len(self.units) > 1 else ''}",
            f"pseudo-effects: mean {self.mean:.4g}, RMSE {self.rmse:.4g}; RMSE of the fit before "
            f"them {np.sqrt(np.nanmean(self.fit_rmse**2)):.4g}",
        ]
        for units, reason in self.skipped:
            named = enumeration([str(label) for label in units], 3)
            lines.append(f"left out {named}: {reason}")
        return "\n".join(lines)


def placebo_time(
    estimator: Any,
    h: int | None = None,
    *,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> PlaceboTime:
    """Moves the start of treatment back by h periods and fits a learner again.

    Outcomes from the real start on are not used, of no unit. Units that start at different times
    are fitted apart, each cohort on the periods before its own start, with the donors it has there.

    Args:
        estimator: fitted, a learner that imputes treated units.
        h: how many periods to hold out; None for max(3, T0 // 6), the horizon of rolling-origin
            validation, or fewer where not even two periods would be left before them.
        n_jobs: for joblib; None for the estimator's.
        progress: whether to show a bar; None in a terminal only.

    Raises:
        InputError: h leaves too few periods to learn from, for all cohorts; the estimator imputes
            nobody.
        sklearn.exceptions.NotFittedError: the estimator is not fitted.
    """
    refit = parallel.Refit.of(estimator)
    panel = refit.panel
    if estimator.learned_.treated is None:
        raise InputError(
            f"{type(estimator).__name__} imputes no treated unit, so there are no pseudo-effects "
            "by period; use placebo_space."
        )
    _check_horizon(h, panel)
    if "horizon" in refit.learner.get_params(deep=False):
        refit.learner.set_params(horizon=None)
    cohorts = panel.cohorts.tolist()
    results = parallel.run(
        _pseudo_effects,
        _Earlier(refit.learner, panel, h, getattr(estimator, "donors", "never") == "not-yet"),
        cohorts,
        n_jobs=estimator.n_jobs if n_jobs is None else n_jobs,
        what="placebo in time",
        progress=progress,
    )
    skipped = tuple(
        (tuple(panel.units[panel.first_treated == start]), result)
        for start, result in zip(cohorts, results, strict=True)
        if isinstance(result, str)
    )
    found = [result for result in results if not isinstance(result, str)]
    if not found:
        units, reason = skipped[0]
        raise InputError(
            f"no treated unit could be fitted, such as {units[0]}: {reason} Expected a smaller h, "
            "or more periods before treatment."
        )
    return PlaceboTime(
        effects=np.concatenate([each.effects for each in found]),
        units=panel.units[np.concatenate([each.rows for each in found])],
        times=panel.times,
        start=np.concatenate([each.start for each in found]),
        horizon=np.concatenate([each.horizon for each in found]),
        fit_rmse=np.concatenate([each.fit_rmse for each in found]),
        skipped=skipped,
    )


@dataclass(frozen=True, eq=False)
class _Earlier(parallel.Refit):
    horizon: int | None
    not_yet: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cohort:
    rows: Ints
    effects: Floats
    start: Ints
    horizon: Ints
    fit_rmse: Floats


def _pseudo_effects(earlier: _Earlier, start: int) -> _Cohort | str:
    """Returns the pseudo-effects of the units treated from `start` on, or why there are none."""
    horizon = _horizon(earlier.horizon, start)
    moved = start - horizon
    if horizon < 1 or moved < _LEAST_LEFT:
        return (
            f"there are {start} periods before treatment, of which {_LEAST_LEFT} at least have to "
            "be left before the held-out ones."
        )
    rows, panel = _before(earlier.panel, start, moved, earlier.not_yet)
    try:
        treated = earlier.learner._learn(panel).treated
    except InputError as error:
        return f"with {horizon} of {start} periods held out: {error}"
    effects = np.full((len(treated.units), earlier.panel.num_periods), np.nan)
    effects[:, moved:start] = treated.effect[:, moved:start]
    if np.isnan(effects).all():
        return f"there are no outcomes in the {horizon} periods held out."
    return _Cohort(
        rows=rows[treated.units],
        effects=effects,
        start=np.full(len(treated.units), start),
        horizon=np.full(len(treated.units), horizon),
        fit_rmse=np.sqrt(_row_means(treated.gap[:, :moved] ** 2)),
    )


def _before(panel: Panel, start: int, moved: int, not_yet: bool) -> tuple[Ints, Panel]:
    """Returns the rows of a cohort and its possible donors, and their panel before `start`."""
    donors = panel.first_treated > start if not_yet else panel.first_treated >= panel.num_periods
    rows = np.flatnonzero(donors | (panel.first_treated == start))
    part = panel.take(rows)
    covariates = part.covariates[:, :start] if part.time_varying else part.covariates
    return rows, replace(
        part,
        outcome=part.outcome[:, :start],
        covariates=covariates,
        times=part.times[:start],
        first_treated=np.where(part.first_treated == start, moved, start),
    )


def _horizon(given: int | None, start: int) -> int:
    return min(horizon_of(start), start - _LEAST_LEFT) if given is None else given


def _check_horizon(h: int | None, panel: Panel) -> None:
    if h is not None:
        check_count(h, "h", 1)
    periods = int(panel.cohorts.max())
    most = periods - _LEAST_LEFT
    if most < 1:
        raise InputError(
            f"there are at most {periods} periods before treatment; placebo_time needs "
            f"{_LEAST_LEFT + 1}."
        )
    if h is not None and h > most:
        last = "" if len(panel.cohorts) == 1 else " of the last to be treated"
        raise InputError(
            f"h is {h}, but there are {periods} periods before treatment{last}; expected 1 to "
            f"{most}, so that {_LEAST_LEFT} periods are left to learn from."
        )


def _row_means(values: Floats) -> Floats:
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
