"""Effects by event time, cohort, calendar time and kind of unit, as means of gaps.

A gap is what was observed less the synthetic counterfactual. Before treatment it shows how well a
unit was reproduced, in the periods that were learnt from; it is no test of parallel trends.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoo_core.errors import InputError, enumeration, suggestion
from zoo_synthetic_learner.covariates import aligned
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.panel import Floats, Panel

Grouping = str | Callable[[pd.DataFrame], Any] | Any
"""How units are grouped: a covariate's name, "cohort", labels [N], or a function that gives them
for the covariates, a DataFrame [N, d]."""
By = Literal["overall", "event", "cohort", "time"]
_LABELS = {"overall": None, "event": "event_time", "cohort": "cohort", "time": "time"}
EVERYBODY = "all"
"""The group of an event study without groups."""


def event_study(
    estimator: Any,
    by: Grouping | None = None,
    *,
    bins: int = 2,
    bootstrap: Any = None,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Returns the mean gap of the treated units by event time, each unit counting once.

    In a staggered design the units change from one event time to the next: only those count that
    were observed there. `units` tells how many.

    Args:
        estimator: a fitted one that imputes treated units.
        by: None for all units together; a covariate's name: its values, where there are no more
            than `bins`, or parts of the treated units of like size, cut at quantiles; "cohort";
            labels [N] of the panel's units (a Series is found by its index); or a function from
            the static covariates, a DataFrame [N, d], to labels [N].
        bins: the parts a covariate is cut into: 2 at the median, 3 at the terciles.
        bootstrap: what `estimator.bootstrap()` has returned, for intervals of the effects from
            event time 0 on; only without `by`.
        alpha: 1 less the coverage of those intervals.

    Returns:
        The columns event_time (0 is the first treated period), effect, units and group, and, with
        `bootstrap`, low and high, NaN before treatment. Groups in order, event times ascending.

    Raises:
        InputError: the learner imputes no units, or an argument is not as above.
    """
    panel, imputed = estimator.panel_, imputation_of(estimator)
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 2:
        raise InputError(f"bins is {bins!r}; expected an integer of at least 2.")
    if bootstrap is not None and by is not None:
        raise InputError(
            "a bootstrap has intervals of all units together; expected by=None with it."
        )
    names, codes = _groups(panel, imputed, by, bins)
    gap, offset = aligned_gaps(imputed)
    parts = []
    for code, name in enumerate(names):
        its = gap[codes == code]
        units = np.isfinite(its).sum(axis=0)
        seen = units > 0
        effect = np.nansum(its[:, seen], axis=0) / units[seen]
        event_time = np.flatnonzero(seen) - offset
        parts.append(
            pd.DataFrame(
                {"event_time": event_time, "effect": effect, "units": units[seen], "group": name}
            )
        )
    table = pd.concat(parts, ignore_index=True)
    if bootstrap is not None:
        _add_interval(table, bootstrap, alpha)
    return table


def group_time(estimator: Any) -> pd.DataFrame:
    """Returns the group-time effects: the mean gap of each cohort in each period.

    Args:
        estimator: a fitted one that imputes treated units.

    Returns:
        The columns cohort (the label of the first treated period), time, effect, units, and
        event_time, negative before treatment; ordered by cohort and time.

    Raises:
        InputError: the learner imputes no units.
    """
    panel, imputed = estimator.panel_, imputation_of(estimator)
    gap = adjusted_gap(imputed)
    parts = []
    for start in np.unique(imputed.start):
        its = gap[imputed.start == start]
        units = np.isfinite(its).sum(axis=0)
        seen = np.flatnonzero(units)
        effect = np.nansum(its[:, seen], axis=0) / units[seen]
        parts.append(
            pd.DataFrame(
                {
                    "cohort": panel.times[np.full(len(seen), start)],
                    "time": panel.times[seen],
                    "effect": effect,
                    "units": units[seen],
                    "event_time": seen - start,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def aggregate(estimator: Any, by: By = "overall") -> pd.DataFrame:
    """Returns means of the group-time effects, weighted by the number of units in each.

    These are the aggregations that Callaway and Sant'Anna (2021) name simple, group, calendar and
    dynamic. A unit counts in every period in which it was observed under treatment, so that
    "overall" is the ATT. "event" has the periods before treatment too.

    Args:
        estimator: a fitted one that imputes treated units.
        by: "overall", "cohort", "time" (calendar time) or "event" (event time).

    Returns:
        The columns effect and cells (unit-periods in the mean), by the labels asked for.

    Raises:
        InputError: the learner imputes no units, or another `by`.
    """
    if by not in _LABELS:
        raise InputError(
            f"by is {by!r}.{suggestion(str(by), _LABELS)} Expected one of "
            f"{', '.join(get_args(By))}."
        )
    table = group_time(estimator)
    if by != "event":
        table = table[table["event_time"] >= 0]
    total = table.assign(total=table["effect"] * table["units"])
    label = _LABELS[by]
    keys = total[label] if label else pd.Series(by, index=total.index, name="by")
    sums = total.groupby(keys, sort=True)[["total", "units"]].sum()
    return pd.DataFrame({"effect": sums["total"] / sums["units"], "cells": sums["units"]})


def imputation_of(estimator: Any) -> Imputation:
    """Returns the imputed treated units of a fitted learner.

    Raises:
        InputError: it imputes none.
    """
    imputed = estimator.learned_.treated
    if imputed is None:
        raise InputError(
            f"{type(estimator).__name__} imputes no counterfactual of treated units, so there are "
            "no gaps; expected a learner that does, such as H1SL, H2SL or SyntheticControl."
        )
    return imputed


def adjusted_gap(imputed: Imputation) -> Floats:
    """Returns the gaps [q, T] less their time-weighted mean before treatment, where there is one.

    From `start` on these are the effects.
    """
    if imputed.time_weights is None:
        return imputed.gap
    misfit = np.nan_to_num(imputed.time_weights * imputed.gap).sum(axis=1)
    return imputed.gap - misfit[:, None]


def aligned_gaps(imputed: Imputation) -> tuple[Floats, int]:
    """Returns gaps [q, E] by event time, NaN for none, and the column of event time 0."""
    gap = adjusted_gap(imputed)
    num_units, num_periods = gap.shape
    offset = int(imputed.start.max())
    found = np.full((num_units, offset + num_periods - int(imputed.start.min())), np.nan)
    columns = np.arange(num_periods) + (offset - imputed.start)[:, None]
    np.put_along_axis(found, columns, gap, axis=1)
    return found, offset


def covariate_place(panel: Panel, name: object) -> int:
    """Returns the column of a covariate.

    Raises:
        InputError: no covariate of that name.
    """
    names = panel.covariate_names
    if name in names:
        return names.index(str(name))
    known = f"expected one of {enumeration(names)}" if names else "the panel has no covariates"
    raise InputError(f"there is no covariate {name!r}.{suggestion(str(name), names)} {_up(known)}.")


def unit_row(panel: Panel, unit: object) -> int:
    """Returns the row of the panel's unit with this label.

    Raises:
        InputError: no such unit.
    """
    try:
        place = panel.units.get_loc(unit)
    except (KeyError, TypeError):
        names = [str(each) for each in panel.units]
        raise InputError(
            f"there is no unit {unit!r}.{suggestion(str(unit), names)} Expected one of the "
            f"panel's: {enumeration(names, 5)}."
        ) from None
    return int(place)


def _groups(
    panel: Panel, imputed: Imputation, by: Grouping | None, bins: int
) -> tuple[list[str], npt.NDArray[np.intp]]:
    """The groups' names, in order, and the group of each imputed row, -1 for none."""
    if by is None:
        return [EVERYBODY], np.zeros(len(imputed.units), dtype=np.intp)
    if isinstance(by, str) and not (by == "cohort" and by not in panel.covariate_names):
        values = panel.static_covariates()[imputed.units, covariate_place(panel, by)]
        return _cut(values, by, bins)
    if isinstance(by, str):
        starts, codes = np.unique(imputed.start, return_inverse=True)
        return [f"cohort {panel.times[start]}" for start in starts], codes
    if callable(by):
        names = list(panel.covariate_names)
        by = by(pd.DataFrame(panel.static_covariates(), index=panel.units, columns=names))
    if isinstance(by, pd.Series):
        by = aligned(by, panel.units, "by")
    labels = pd.Index(by)
    if len(labels) != panel.num_units:
        raise InputError(
            f"by has {len(labels)} labels; expected {panel.num_units}, one for each unit."
        )
    codes, found = pd.factorize(labels[imputed.units], sort=True)
    if not len(found):
        raise InputError("by has no label for any treated unit; expected some.")
    return [str(each) for each in found], codes


def _cut(values: Floats, name: str, bins: int) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Groups of units by a covariate's values, or by parts of its range."""
    known = ~np.isnan(values)
    distinct = np.unique(values[known])
    if len(distinct) <= bins:
        names = [f"{name} = {_short(value)}" for value in distinct]
        codes = np.searchsorted(distinct, values)
    else:
        edges = np.quantile(values[known], np.arange(1, bins) / bins)
        # The largest value, where many units have it, is a part by itself.
        edges = np.unique(np.minimum(edges, distinct[-2]))
        # At an edge a unit is below it.
        codes = np.searchsorted(edges, values)
        shown = [_short(edge) for edge in edges]
        names = [
            f"{name} \N{LESS-THAN OR EQUAL TO} {shown[0]}",
            *(f"{low} < {name} \N{LESS-THAN OR EQUAL TO} {high}" for low, high in pairwise(shown)),
            f"{name} > {shown[-1]}",
        ]
    if not known.all():
        codes = np.where(known, codes, len(names))
        names.append(f"{name} missing")
    return names, codes


def _add_interval(table: pd.DataFrame, bootstrap: Any, alpha: float) -> None:
    low, high = (np.asarray(end) for end in bootstrap.att_by_time_interval(alpha))
    after = table["event_time"] >= 0
    places = table.loc[after, "event_time"].to_numpy()
    if places.max() >= len(low):
        raise InputError(
            f"the bootstrap has {len(low)} event times, the estimator {places.max() + 1}; expected "
            "the bootstrap of this estimator."
        )
    for column, values in (("low", low), ("high", high)):
        table[column] = np.nan
        table.loc[after, column] = values[places]


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _up(text: str) -> str:
    return text[0].upper() + text[1:]
