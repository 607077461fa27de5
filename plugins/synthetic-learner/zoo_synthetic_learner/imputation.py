"""Counterfactuals of the units of one side: what every learner here builds on.

The treated side has the outcomes without treatment of treated units; the control side, of the
two-side learner alone, has the outcomes with treatment of control units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from zoo_core.errors import ConfigError, InputError, enumeration
from zoo_synthetic_learner.balance import balance_rows
from zoo_synthetic_learner.cohorts import control_cohorts, treated_cohorts
from zoo_synthetic_learner.labels import named
from zoo_synthetic_learner.missing import with_values
from zoo_synthetic_learner.panel import Bools, Floats, Ints, Panel
from zoo_synthetic_learner.synthesizers import SDID, Synthesis, Synthesizer, Task, name_of
from zoo_synthetic_learner.time_weights import SHARE, noise_level, time_weights

Side = Literal["treated", "control"]
FEW_PERIODS = 8
"""With fewer periods before treatment weights are not learnt unless that is asked for."""
_INTERPOLATED = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class Imputation:
    """Imputed units: one row for each, in the order of cohorts and then of the panel.

    On the control side of a staggered design a unit has a row for every cohort of donors.

    Attributes:
        units: [q] int64, rows of the panel.
        start: [q] int64, the first period with an effect (T0).
        stop: [q] int64, the period after the last one with an effect.
        predicted: [q, T] the counterfactual in the periods 0 to stop - 1; NaN later.
        gap: [q, T] observed less counterfactual on the treated side, counterfactual less observed
            on the control side, so the effect from `start` on and the misfit before; NaN where
            the outcome was not observed, and from `stop` on.
        fit: [q, T] whether the period was learnt from.
        size: [q] float64, how many treated units the row's cohort has.
        weights: [N, q] of the donors, rows of the panel; 0 for others; None if not linear.
        intercept: [q], or None with `weights`.
        time_weights: [q, T] the weights of periods before `start`, or None without them. Where
            there are some, `effect` is `gap` less their weighted mean of it.
        choices: q names of synthesizers.
        notes: sentences for the summary.
    """

    units: Ints
    start: Ints
    stop: Ints
    predicted: Floats
    gap: Floats
    fit: Bools
    size: Floats
    weights: Floats | None
    intercept: Floats | None
    time_weights: Floats | None
    choices: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def effect(self) -> Floats:
        """[q, T]: the pseudo-effects; NaN outside `start` to `stop` - 1."""
        effect = self.gap
        if self.time_weights is not None:
            misfit = np.where(self.time_weights > 0, self.time_weights * self.gap, 0.0)
            effect = effect - misfit.sum(axis=1, keepdims=True)
        periods = np.arange(self.gap.shape[1])
        inside = (periods >= self.start[:, None]) & (periods < self.stop[:, None])
        return np.where(inside, effect, np.nan)

    @property
    def effect_by_event(self) -> Floats:
        """[q, L]: the pseudo-effects by event time, 0 being a unit's first treated period."""
        length = int((self.stop - self.start).max(initial=0))
        periods = self.start[:, None] + np.arange(length)
        inside = periods < self.stop[:, None]
        values = np.take_along_axis(self.effect, np.where(inside, periods, 0), axis=1)
        return np.where(inside, values, np.nan)

    @property
    def fit_mse(self) -> Floats:
        """[q]: the mean squared gap over the periods that were learnt from."""
        squares = np.where(self.fit, self.gap, 0.0) ** 2
        return squares.sum(axis=1) / np.maximum(self.fit.sum(axis=1), 1)


def impute_side(
    panel: Panel,
    side: Side,
    synthesizer: Synthesizer,
    *,
    donors: str = "never",
    horizon: int | None = None,
    starts: Sequence[int] | None = None,
    **options: Any,
) -> Imputation:
    """Imputes all units of a side, cohort by cohort.

    Args:
        panel: N units.
        side: "treated": treated units, from control units. "control": control units, from the
            treated units of each cohort.
        synthesizer: how outcomes of donors tell those of targets.
        donors: for treated units "never" treated ones alone, or those "not-yet" treated before the
            end of the horizon too.
        horizon: how many treated periods of each unit are looked at; None for all.
        starts: on the control side, the cohorts whose treated units are donors; None for all.
        **options: of `impute`.

    Raises:
        InputError: a cohort without donors; and as `impute`.
    """
    if side == "treated":
        cohorts = treated_cohorts(panel, donors, horizon)
    else:
        cohorts = control_cohorts(panel, horizon, starts)
    parts = []
    for cohort in cohorts:
        imputed = impute(
            panel, cohort.units, cohort.donors, cohort.start, cohort.stop, synthesizer,
            sign=1 if side == "treated" else -1, **options,
        )  # fmt: skip
        size = np.full(len(cohort.units), float(cohort.size))
        parts.append(replace(imputed, size=size))
    return _joined(parts)


def impute(
    panel: Panel,
    units: Ints,
    donors: Ints,
    start: int,
    stop: int,
    synthesizer: Synthesizer,
    *,
    fit: Ints | None = None,
    sign: int = 1,
    time_weighted: bool = False,
    balance: bool = False,
    shared: bool = False,
    force: bool = False,
    random_state: int | None = None,
    n_jobs: int | None = None,
) -> Imputation:
    """Imputes units that have the same donors and the same first period with an effect.

    Donors without an outcome in one of the periods before `stop` are left out.

    Args:
        panel: N units.
        units: [q] rows to impute.
        donors: rows to impute them from; none of them is in `units`.
        start: the first period with an effect.
        stop: the period after the last one.
        synthesizer: how outcomes of donors tell those of targets.
        fit: periods to learn on; None for all before `start`. Each target learns on those of them
            in which it was observed.
        sign: 1 for gaps of observed less imputed outcomes, -1 for the contrary.
        time_weighted: take the weighted misfit before `start` from the effects (Arkhangelsky et
            al. 2021); synthesizers may ask for it, too.
        balance: whether weights have to reproduce the covariates.
        shared: one set of weights for all units, learnt from their mean.
        force: learn weights from fewer than 8 periods.
        random_state: for synthesizers that draw.
        n_jobs: for joblib.

    Raises:
        InputError: no donors, too few periods, missing covariates.
        ConfigError: the synthesizer cannot do what is asked for.
    """
    kept, dropped = with_values(panel, donors, stop)
    notes = []
    if dropped.size:
        notes.append(
            f"donors without an outcome in one of the periods {panel.times[0]} to "
            f"{panel.times[stop - 1]} were left out: {named(panel.units, dropped)}."
        )
    if not kept.size:
        raise InputError(
            f"no donor is left for {named(panel.units, units)}, treated from {panel.times[start]} "
            "on: expected one at least with an outcome in every period before "
            f"{_period(panel, stop)}; missing='interpolate' fills gaps."
        )
    if np.intersect1d(kept, units).size:
        both = named(panel.units, np.intersect1d(kept, units))
        raise InputError(f"{both} would be a donor of itself; expected other units as donors.")
    periods = np.arange(start) if fit is None else np.asarray(fit)
    observed = ~np.isnan(panel.outcome[np.ix_(units, periods)])
    time_weighted = time_weighted or getattr(synthesizer, "time_weighted", False)
    if time_weighted and periods.max(initial=-1) >= start:
        raise ConfigError("time weights need periods to learn from that are before the treatment.")
    num, total = len(units), panel.num_periods
    predicted = np.full((num, total), np.nan)
    learnt = np.zeros((num, total), dtype=bool)
    weights = np.zeros((panel.num_units, num))
    intercept = np.zeros(num)
    lambdas = np.zeros((num, total)) if time_weighted else None
    choices = np.empty(num, dtype=object)
    linear = True
    outcomes = np.ascontiguousarray(panel.outcome[kept, :stop].T)
    patterns, which = np.unique(observed, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        some = np.flatnonzero(which.reshape(-1) == number)
        rows, known = units[some], periods[pattern]
        _check_periods(panel, rows, start, known, synthesizer, force)
        targets = panel.outcome[np.ix_(rows, known)].T
        task = Task(
            donors=outcomes,
            targets=targets.mean(axis=1, keepdims=True) if shared else targets,
            fit=known,
            start=start,
            covariates=_features(panel, rows, stop, shared),
            balance=balance_rows(panel, kept, rows, known, synthesizer) if balance else None,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        learner = synthesizer
        if shared and isinstance(learner, SDID) and learner.num_treated is None:
            learner = replace(learner, num_treated=rows.size)
        found = _checked(learner(task), task, synthesizer)
        if shared:
            found = _spread(found, targets, known)
        predicted[some, :stop] = found.predicted.T
        # What needs earlier periods, as lags do, says nothing of the first ones.
        known = known[np.isfinite(found.predicted[known]).all(axis=1)]
        learnt[np.ix_(some, known)] = True
        choices[some] = found.choices
        notes += [f"{named(panel.units, rows)}: {note}" for note in found.notes]
        if found.weights is None or found.intercept is None:
            linear = False
        else:
            weights[np.ix_(kept, some)] = found.weights
            intercept[some] = found.intercept
        if lambdas is not None:
            pre = outcomes[known].T
            zeta = SHARE * noise_level(pre, known)
            lambdas[np.ix_(some, known)] = time_weights(pre, outcomes[start:].mean(axis=0), zeta)
    gap = sign * (panel.outcome[units] - predicted)
    imputation = Imputation(
        units=np.asarray(units),
        start=np.full(num, start),
        stop=np.full(num, stop),
        predicted=predicted,
        gap=gap,
        fit=learnt,
        size=np.full(num, float(num)),
        weights=weights if linear else None,
        intercept=intercept if linear else None,
        time_weights=lambdas,
        choices=tuple(choices),
    )
    return replace(imputation, notes=(*notes, *_interpolating(panel, imputation)))


def _check_periods(
    panel: Panel, rows: Ints, start: int, known: Ints, synthesizer: Synthesizer, force: bool
) -> None:
    """Refuses to learn from too few periods, naming units and the time of treatment."""
    short = getattr(synthesizer, "short", False)
    least = 1 if short else 2 if force else FEW_PERIODS
    if known.size >= least:
        return
    who = f"{named(panel.units, rows)}, treated from {panel.times[start]} on"
    has = f"{known.size} observed period{'' if known.size == 1 else 's'} before treatment"
    if known.size < 2:
        raise InputError(
            f"{who}: {has}; expected 2 at least, or 1 with synthesizer='did' or 'auto'."
        )
    raise InputError(
        f"{who}: {has}; {name_of(synthesizer)!r} expects {FEW_PERIODS}. Use synthesizer='did', or "
        "force=True to learn from so few."
    )


def _features(panel: Panel, rows: Ints, stop: int, shared: bool) -> Floats | None:
    """[S, q, d] time-varying covariates of targets, None where they are static."""
    if not panel.time_varying:
        return None
    features = panel.covariates[rows, :stop].transpose(1, 0, 2)
    return features.mean(axis=1, keepdims=True) if shared else features


def _checked(found: object, task: Task, synthesizer: Synthesizer) -> Synthesis:
    name = name_of(synthesizer)
    if not isinstance(found, Synthesis):
        raise ConfigError(f"{name} returned a {type(found).__name__}; expected a Synthesis.")
    shape = (len(task.donors), task.num_targets)
    if found.predicted.shape != shape or len(found.choices) != task.num_targets:
        raise ConfigError(
            f"{name} predicted an array of shape {list(found.predicted.shape)} for "
            f"{len(found.choices)} targets; expected {list(shape)}."
        )
    if not np.isfinite(found.predicted[task.start :]).all():
        raise InputError(
            f"{name} predicted values that are not finite; the outcomes may be too large."
        )
    return found


def _spread(found: Synthesis, targets: Floats, known: Ints) -> Synthesis:
    """The synthesis of a mean, for each unit: with an intercept each unit keeps its own level."""
    count = targets.shape[1]
    level = targets.mean(axis=0) - targets.mean()
    if found.intercept is not None and not found.intercept.any():
        level = np.zeros(count)
    weights = intercept = None
    if found.weights is not None and found.intercept is not None:
        weights = np.repeat(found.weights, count, axis=1)
        intercept = found.intercept + level
    return Synthesis(
        predicted=found.predicted + level,
        weights=weights,
        intercept=intercept,
        choices=found.choices * count,
        notes=found.notes,
    )


def _interpolating(panel: Panel, imputation: Imputation) -> Sequence[str]:
    """Warns of fits so close that nothing but interpolation can be behind them."""
    outcome = np.where(imputation.fit, panel.outcome[imputation.units], np.nan)
    enough = imputation.fit.sum(axis=1) >= FEW_PERIODS
    enough &= np.array([choice != "did" for choice in imputation.choices], dtype=bool)
    spread = np.full(len(enough), 0.0)
    spread[enough] = np.nanstd(outcome[enough], axis=1)
    close = enough & (spread > 0) & (np.sqrt(imputation.fit_mse) < _INTERPOLATED * spread)
    if not close.any():
        return ()
    who = enumeration(map(str, panel.units[imputation.units[close]]), 5)
    return (
        f"the outcomes before treatment of {who} are met to less than {_INTERPOLATED:g} of their "
        "standard deviation: the synthesizer interpolates, and what it says of later periods may "
        "be worth little. A stronger penalty, 'simplex' or 'auto' helps.",
    )


def _joined(parts: Sequence[Imputation]) -> Imputation:
    """One imputation of several; linear only if all are."""
    if len(parts) == 1:
        return parts[0]

    def rows(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else np.concatenate(values)

    weights = [part.weights for part in parts]
    known = [each for each in weights if each is not None]
    return Imputation(
        units=rows("units"),
        start=rows("start"),
        stop=rows("stop"),
        predicted=rows("predicted"),
        gap=rows("gap"),
        fit=rows("fit"),
        size=rows("size"),
        weights=np.concatenate(known, axis=1) if len(known) == len(weights) else None,
        intercept=rows("intercept"),
        time_weights=rows("time_weights"),
        choices=tuple(choice for part in parts for choice in part.choices),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _period(panel: Panel, stop: int) -> str:
    return str(panel.times[stop]) if stop < panel.num_periods else "the end"
