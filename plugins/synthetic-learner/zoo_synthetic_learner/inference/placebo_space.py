"""Placebo in space: how large effects are where units are treated that never were.

As in Abadie, Diamond and Hainmueller (2010), carried over to several treated units: as many
controls as there are treated units are drawn, said to be treated at the same times, and all is
fitted again without the treated ones. How the many are drawn and counted is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import InputError, enumeration
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.inference import parallel
from zoo_synthetic_learner.inference.assignments import (
    Assignment,
    all_assignments,
    drawn_assignments,
    number_of_assignments,
)
from zoo_synthetic_learner.learned import Learned
from zoo_synthetic_learner.panel import Bools, Floats, Panel
from zoo_synthetic_learner.semi_synthetic import check_count


@dataclass(frozen=True, eq=False, kw_only=True)
class Size:
    """How large an effect and its misfit are, for all treated units together.

    Attributes:
        att: the mean effect over treated units and periods.
        pre_rmspe: the root mean square gap over the treated units' periods before treatment, and
        post_rmspe: with treatment; NaN for learners that impute nobody.
        gap: [T] the treated units' mean gap in each period; NaN in periods without any.
    """

    att: float
    pre_rmspe: float
    post_rmspe: float
    gap: Floats

    @property
    def ratio(self) -> float:
        """post_rmspe / pre_rmspe; infinite where the fit before treatment is perfect."""
        return float(np.divide(self.post_rmspe, self.pre_rmspe)) if self.pre_rmspe else np.inf


@dataclass(frozen=True, eq=False, kw_only=True)
class PlaceboSpace:
    """The size of the effect, and the sizes of K placebo effects.

    Attributes:
        observed: of the treated units.
        placebos: K sizes.
        units: for each placebo the labels of the units that were said to be treated.
        treated: the labels of the treated units.
        times: [T] labels.
        kept: [K] the placebos that count: all, or those within `pre_rmspe_limit`.
        pre_rmspe_limit: the largest pre_rmspe that counts as a multiple of the observed one.
        exhaustive: whether the placebos are all there are, rather than drawn from them.
        possible: how many there are.
        failed: for each placebo that could not be fitted its units and why; none is among the K.
    """

    observed: Size
    placebos: tuple[Size, ...]
    units: tuple[tuple[Any, ...], ...]
    treated: tuple[Any, ...]
    times: pd.Index
    kept: Bools
    pre_rmspe_limit: float | None
    exhaustive: bool
    possible: int
    failed: tuple[tuple[tuple[Any, ...], str], ...]

    @property
    def att(self) -> Floats:
        """[K] the placebos' ATT."""
        return np.array([each.att for each in self.placebos])

    @property
    def ratio(self) -> Floats:
        """[K] the placebos' ratio of RMSPE with and before treatment."""
        return np.array([each.ratio for each in self.placebos])

    @property
    def gaps(self) -> Floats:
        """[K, T] the placebos' mean gaps, to draw beside the observed one."""
        return np.stack([each.gap for each in self.placebos])

    @property
    def p_value_att(self) -> float:
        """(1 + placebos with at least the observed |ATT|) / (1 + placebos); so on both sides."""
        return _p_value(abs(self.observed.att), np.abs(self.att[self.kept]))

    @property
    def p_value_ratio(self) -> float:
        """The same for the ratio of RMSPE; NaN for learners that impute nobody."""
        return _p_value(self.observed.ratio, self.ratio[self.kept])

    @property
    def rank_ratio(self) -> int:
        """The observed ratio's place among all that count, 1 being the largest."""
        return 1 + int(np.count_nonzero(self.ratio[self.kept] >= self.observed.ratio))

    def to_frame(self) -> pd.DataFrame:
        """Returns the observed size and then the placebos', a row each.

        The columns are units (a label, or a tuple of labels where there are several), placebo,
        kept, att, pre_rmspe, post_rmspe and ratio.
        """
        sizes = (self.observed, *self.placebos)
        units = [each[0] if len(each) == 1 else each for each in (self.treated, *self.units)]
        return pd.DataFrame(
            {
                "units": pd.Series(units, dtype=object),
                "placebo": [False] + [True] * len(self.placebos),
                "kept": [True, *self.kept.tolist()],
                "att": [each.att for each in sizes],
                "pre_rmspe": [each.pre_rmspe for each in sizes],
                "post_rmspe": [each.post_rmspe for each in sizes],
                "ratio": [each.ratio for each in sizes],
            }
        )

    def __str__(self) -> str:
        count = len(self.placebos)
        which = f"all {self.possible} possible" if self.exhaustive else f"{count} drawn"
        treated = enumeration([str(label) for label in self.treated], 4)
        lines = [
            f"Placebo in space, {which} placebos; treated: {treated}",
            f"ATT {self.observed.att:.4g}, p-value {self.p_value_att:.4g} (two-sided)",
        ]
        if np.isfinite(self.observed.pre_rmspe):
            among = 1 + np.count_nonzero(self.kept)
            lines.append(
                f"post/pre RMSPE {self.observed.ratio:.4g}, p-value {self.p_value_ratio:.4g} "
                f"(rank {self.rank_ratio} of {among})"
            )
        if self.pre_rmspe_limit is not None:
            lines.append(
                f"{np.count_nonzero(self.kept)} of {count} placebos fit well enough to count: with "
                f"an RMSPE before treatment of at most {self.pre_rmspe_limit:g} times the observed."
            )
        if self.failed:
            units, reason = self.failed[0]
            named = enumeration([str(label) for label in units], 3)
            lines.append(
                f"{len(self.failed)} placebos could not be fitted and do not count, such as "
                f"{named}: {reason}"
            )
        return "\n".join(lines)


def placebo_space(
    estimator: Any,
    n: int = 100,
    pre_rmspe_limit: float | None = None,
    *,
    distinct: bool = True,
    random_state: object = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> PlaceboSpace:
    """Treats controls instead of the treated units, and fits a learner again each time.

    The pattern of starts stays: with two units treated from 1990 on and one from 1995 on, so are
    the placebos. The treated units take no part, neither as donors nor in the effect regression.

    Args:
        estimator: fitted.
        n: K, the number of placebos. Where there are no more than n different ones, each is made
            once.
        pre_rmspe_limit: c, to count placebos alone whose RMSPE before treatment is at most c times
            that of the treated units; None counts all.
        distinct: False draws n placebos that may be the same, which tests nothing more: for timing.
        random_state: a seed; None for the estimator's.
        n_jobs: for joblib; None for the estimator's.
        progress: whether to show a bar; None in a terminal only.

    Raises:
        InputError: fewer than two controls would be left as donors, arguments out of range, no
            placebo could be fitted, or a limit for a learner that imputes nobody.
        sklearn.exceptions.NotFittedError: the estimator is not fitted.
    """
    refit = parallel.Refit.of(estimator)
    panel = refit.panel
    check_count(n, "n", 1)
    observed = _size(estimator.learned_, panel)
    _check_limit(pre_rmspe_limit, observed)
    sizes = [np.count_nonzero(panel.first_treated == start) for start in panel.cohorts]
    controls = panel.take(panel.never_treated)
    if controls.num_units < sum(sizes) + 2:
        raise InputError(
            f"{sum(sizes)} of {controls.num_units} controls would be treated in each placebo; "
            f"expected at least {sum(sizes) + 2} controls, so that two are left as donors. Use "
            "placebo_time or conformal."
        )
    random_state = estimator.random_state if random_state is None else random_state
    possible = number_of_assignments(controls.num_units, sizes)
    exhaustive = distinct and possible <= n
    if exhaustive:
        assignments = list(all_assignments(range(controls.num_units), sizes))
    else:
        rng = np.random.default_rng(parallel.sequence(random_state))
        assignments = drawn_assignments(controls.num_units, sizes, n, rng, distinct=distinct)
    results = parallel.run(
        _placebo,
        _Placebos(refit.learner, controls, tuple(panel.cohorts.tolist())),
        assignments,
        n_jobs=estimator.n_jobs if n_jobs is None else n_jobs,
        what="placebo in space",
        progress=progress,
    )
    labels = [tuple(controls.units[list(sum(each, ()))]) for each in assignments]
    named = list(zip(labels, results, strict=True))
    failed = [(units, size) for units, size in named if isinstance(size, str)]
    fitted = [(units, size) for units, size in named if not isinstance(size, str)]
    if not fitted:
        raise InputError(
            f"none of {len(failed)} placebos could be fitted, such as "
            f"{enumeration([str(label) for label in failed[0][0]], 3)}: {failed[0][1]}"
        )
    kept = np.ones(len(fitted), dtype=bool)
    if pre_rmspe_limit is not None:
        misfits = np.array([size.pre_rmspe for _, size in fitted])
        kept = misfits <= pre_rmspe_limit * observed.pre_rmspe
    return PlaceboSpace(
        observed=observed,
        placebos=tuple(size for _, size in fitted),
        units=tuple(units for units, _ in fitted),
        treated=tuple(panel.units[panel.treated]),
        times=panel.times,
        kept=kept,
        pre_rmspe_limit=pre_rmspe_limit,
        exhaustive=exhaustive,
        possible=possible,
        failed=tuple(failed),
    )


@dataclass(frozen=True, eq=False)
class _Placebos(parallel.Refit):
    starts: Sequence[int]


def _placebo(placebos: _Placebos, assignment: Assignment) -> Size | str:
    """Returns the size of one placebo, or why it could not be fitted."""
    panel = placebos.panel
    first_treated = np.full(panel.num_units, panel.num_periods, dtype=np.int64)
    for start, rows in zip(placebos.starts, assignment, strict=True):
        first_treated[list(rows)] = start
    panel = panel.with_treatment(first_treated)
    try:
        size = _size(placebos.learner._learn(panel), panel)
    except InputError as error:
        return str(error)
    return size if np.isfinite(size.att) else "there are no outcomes to take an effect from."


def _size(learned: Learned, panel: Panel) -> Size:
    treated = learned.treated
    if treated is None:
        nothing = np.full(panel.num_periods, np.nan)
        return Size(att=float(learned.att), pre_rmspe=np.nan, post_rmspe=np.nan, gap=nothing)
    with_effect = np.arange(panel.num_periods) >= treated.start[:, None]
    return Size(
        att=float(learned.att),
        pre_rmspe=_root_mean_square(treated.gap[~with_effect]),
        post_rmspe=_root_mean_square(treated.gap[with_effect]),
        gap=_mean_gap(treated),
    )


def _root_mean_square(gaps: Floats) -> float:
    observed = gaps[~np.isnan(gaps)]
    return float(np.sqrt(np.mean(observed**2))) if observed.size else np.nan


def _mean_gap(treated: Imputation) -> Floats:
    known = ~np.isnan(treated.gap)
    count = known.sum(axis=0)
    total = np.where(known, treated.gap, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def _p_value(observed: float, placebos: Floats) -> float:
    if np.isnan(observed):
        return np.nan
    return (1 + int(np.count_nonzero(placebos >= observed))) / (1 + len(placebos))


def _check_limit(limit: object, observed: Size) -> None:
    if limit is None:
        return
    if not isinstance(limit, Real) or isinstance(limit, bool) or not limit > 0:
        raise InputError(
            f"pre_rmspe_limit is {limit!r}; expected a number above 0, or None to count all."
        )
    if np.isnan(observed.pre_rmspe):
        raise InputError(
            f"pre_rmspe_limit is {limit!r}, but this learner imputes no treated unit, so there is "
            "no RMSPE before treatment; expected None."
        )
