"""Residuals of treated units under what their effects may have been."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import InputError, enumeration, suggestion
from zoo_synthetic_learner.imputation import impute
from zoo_synthetic_learner.panel import Floats, Ints, Panel
from zoo_synthetic_learner.synthesizers import Auto, name_of

_ROUNDING = 1e-10
"""Residuals below this share of the largest outcome are 0: a fit through all points has no others,
and the order of their rounding errors would be taken for evidence."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Targets:
    """One treated unit, or several whose gaps are averaged.

    Attributes:
        rows: [q] int64 of the panel.
        start: [q] int64, the first treated periods.
        donors: for each its possible donors' rows.
        num_before: P0, the periods before treatment that all have.
        num_effects: L, those with treatment.
        times: [L] labels; event times where the units start at different ones.
        effect: [L] the mean gap of the fit.
        scale: the root mean square mean gap before treatment, above 0.
    """

    rows: Ints
    start: Ints
    donors: tuple[Ints, ...]
    num_before: int
    num_effects: int
    times: pd.Index
    effect: Floats
    scale: float


def targets(estimator: Any, unit: Any) -> Targets:
    """Returns the treated unit with this label, or for None all of them.

    Raises:
        InputError: there is no such unit or it is not treated; the estimator's fit does not treat
            periods alike.
    """
    panel, treated = estimator.panel_, estimator.learned_.treated
    _check_fit(estimator)
    places = np.arange(len(treated.units)) if unit is None else _place(panel, treated.units, unit)
    rows, start = treated.units[places], treated.start[places]
    num_before = int(start.min())
    num_effects = int((treated.stop[places] - start).min())
    events = np.arange(-num_before, num_effects)
    gaps = treated.gap[places[:, None], start[:, None] + events]
    mean = _means(gaps[:, None])[0]
    before = mean[:num_before]
    scale = float(np.sqrt(np.nanmean(before**2)))
    same = len(np.unique(start)) == 1
    return Targets(
        rows=rows,
        start=start,
        donors=tuple(_donors(estimator, panel, first + num_effects) for first in start),
        num_before=num_before,
        num_effects=num_effects,
        times=panel.times[start[0] : start[0] + num_effects]
        if same
        else pd.RangeIndex(num_effects, name="event_time"),
        effect=mean[num_before:],
        scale=max(scale, 1e-3 * float(np.nanstd(panel.outcome[rows]))),
    )


def residuals(learner: Any, panel: Panel, targets: Targets, asked: Ints, paths: Floats) -> Floats:
    """Returns the mean gaps of the targets where an effect is subtracted and all is fitted again.

    Args:
        learner: unfitted; its synthesizer and the options of that are used.
        panel: N units.
        targets: of it.
        asked: [A] the event times to fit on besides the periods before treatment.
        paths: [G, A] the effects there under each null.

    Returns:
        [G, P0 + A], NaN where no target was observed.
    """
    gaps = np.full((len(targets.rows), len(paths), targets.num_before + len(asked)), np.nan)
    for place, (row, start) in enumerate(zip(targets.rows, targets.start, strict=True)):
        periods = np.concatenate([np.arange(start - targets.num_before, start), start + asked])
        outcome = np.repeat(panel.outcome[row][None], len(paths), axis=0)
        outcome[:, start + asked] -= paths
        fit = np.concatenate([np.arange(start), start + asked])
        found = _refitted(learner, panel, row, outcome, targets.donors[place], int(start), fit)
        gaps[place] = found[:, periods]
    gaps[np.abs(gaps) < _ROUNDING * np.nanmax(np.abs(panel.outcome[targets.rows]))] = 0.0
    return _means(gaps)


def separable(synthesizer: Any) -> bool:
    """Returns whether a target's synthesis does not depend on what other targets there are."""
    if isinstance(synthesizer, Auto):
        return all(map(separable, synthesizer.synthesizers()))
    return bool(getattr(synthesizer, "separable", False))


def _refitted(
    learner: Any,
    panel: Panel,
    row: int,
    outcome: Floats,
    donors: Ints,
    start: int,
    fit: Ints,
) -> Floats:
    """Returns the gaps [G, T] of one unit that has each of the outcomes [G, T]."""
    synthesizer = learner._synthesizer()
    options = {
        "fit": fit,
        "balance": learner._balances("treated") if hasattr(learner, "_balances") else False,
        "force": learner.force,
        "random_state": learner.random_state,
    }
    if separable(synthesizer) and not options["balance"]:
        units = panel.num_units + np.arange(len(outcome))
        rows = np.concatenate([np.arange(panel.num_units), np.repeat(row, len(outcome))])
        panels = [replace(panel.take(rows), outcome=np.concatenate([panel.outcome, outcome]))]
    else:
        units = np.array([row])
        panels = [_with_outcome(panel, row, each) for each in outcome]
    stop = int(fit[-1]) + 1
    return np.concatenate(
        [impute(each, units, donors, start, stop, synthesizer, **options).gap for each in panels]
    )


def _with_outcome(panel: Panel, row: int, outcome: Floats) -> Panel:
    changed = panel.outcome.copy()
    changed[row] = outcome
    return replace(panel, outcome=changed)


def _means(gaps: Floats) -> Floats:
    """Returns the means over units of gaps [q, G, P]; NaN where no unit has one."""
    known = ~np.isnan(gaps)
    count = known.sum(axis=0)
    total = np.where(known, gaps, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _donors(estimator: Any, panel: Panel, stop: int) -> Ints:
    if getattr(estimator, "donors", "never") == "not-yet":
        return np.flatnonzero(panel.first_treated >= stop)
    return panel.never_treated


def _place(panel: Panel, treated: Ints, unit: Any) -> Ints:
    labels = panel.units[treated]
    found = np.flatnonzero(labels == unit)
    if found.size:
        return found
    if unit in panel.units:
        raise InputError(
            f"unit {unit} is never treated; expected one of the treated ones: "
            f"{enumeration(map(str, labels), 5)}."
        )
    hint = suggestion(str(unit), map(str, labels))
    raise InputError(
        f"there is no unit {unit!r} in the panel; expected one of the treated ones: "
        f"{enumeration(map(str, labels), 5)}.{hint}"
    )


def _check_fit(estimator: Any) -> None:
    name = type(estimator).__name__
    treated = estimator.learned_.treated
    if treated is None:
        raise InputError(f"{name} imputes no treated unit, so there are no residuals to permute.")
    if treated.time_weights is not None:
        raise InputError(
            f"{name} weighs the periods before treatment, and a conformal test needs a fit that "
            "treats all periods alike; use time_weights=False and a synthesizer other than 'sdid'."
        )
    synthesizer = estimator._synthesizer()
    if getattr(synthesizer, "base", "mean") == "last":
        raise InputError(
            f"{name_of(synthesizer)} takes the level of the last period before treatment, and a "
            "conformal test needs a fit that treats all periods alike; use base='mean'."
        )
