"""Conformal inference on the effects on a treated unit (Chernozhukov, Wüthrich and Zhu 2021).

A null says what the effect was in each period with treatment. It is subtracted from the outcomes,
the counterfactual is fitted again on all periods, before and with treatment, and the residuals with
treatment are compared with those before it: see `permutation_test`. Effects that are not rejected
are the interval: see `inversion`.

The test needs a fit that treats all periods alike, and residuals that are stationary. It says
nothing about other units, so one treated unit is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoo_core.errors import InputError, suggestion
from zoo_synthetic_learner.inference import nulls, parallel
from zoo_synthetic_learner.inference.intervals import check_level
from zoo_synthetic_learner.inference.inversion import (
    EVERYTHING,
    UNKNOWN,
    Accepted,
    invert,
    invert_around,
)
from zoo_synthetic_learner.inference.permutation_test import (
    IID,
    MOVING_BLOCK,
    cyclic_shifts,
    p_values,
    shuffles,
    statistic,
)
from zoo_synthetic_learner.numbers_given import as_floats
from zoo_synthetic_learner.panel import Floats, Ints
from zoo_synthetic_learner.semi_synthetic import check_count

PERMUTATIONS = (MOVING_BLOCK, IID)


@dataclass(frozen=True, eq=False, kw_only=True)
class Conformal:
    """The test of a null, and intervals for the effect in each period and for a constant one.

    Attributes:
        unit: its label; None for the average of the treated units.
        times: [L] the periods with treatment; event times where units start at different ones.
        effect: [L] the estimates, from a fit before treatment; NaN where nothing was observed.
        null: [L] the effects that `p_value` is about.
        p_value: of the null as a whole.
        statistic: S_q of the residuals with treatment under the null.
        residuals: [P] all residuals under the null, in the order of time, those observed.
        period_p_values: [L] of the null in each period, without the other periods with treatment.
        low: [L] the lower ends of the pointwise intervals; infinite where the first effect of the
            grid is not rejected, NaN where all are.
        high: [L] the upper ends.
        spacing: [L] of the grid's points, how exact the ends are.
        constant: the interval for an effect that is the same in all periods; NaN where no such
            effect on the grid is accepted. None without intervals.
        alpha: the share of cases an interval may miss.
        q: of the statistic.
        permutations: "moving-block" or "iid".
        notes: sentences.
    """

    unit: Any
    times: pd.Index
    effect: Floats
    null: Floats
    p_value: float
    statistic: float
    residuals: Floats
    period_p_values: Floats
    low: Floats
    high: Floats
    spacing: Floats
    constant: tuple[float, float] | None
    alpha: float
    q: float
    permutations: str
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Returns a row for each period: effect, low, high, null and the null's p_value."""
        return pd.DataFrame(
            {
                "effect": self.effect,
                "low": self.low,
                "high": self.high,
                "null": self.null,
                "p_value": self.period_p_values,
            },
            index=self.times,
        )

    def __str__(self) -> str:
        whom = "the average of treated units" if self.unit is None else f"{self.unit}"
        null = f"{self.null[0]:g}" if np.ptp(self.null) == 0 else "the path given"
        lines = [
            f"Conformal inference for {whom}, {self.permutations} permutations of "
            f"{len(self.residuals)} periods",
            f"effect {null}: p-value {self.p_value:.4g} (S_{self.q:g} {self.statistic:.4g})",
        ]
        if self.constant is not None:
            low, high = self.constant
            lines.append(
                f"constant effect, {100 * (1 - self.alpha):g} % interval [{low:.4g}, {high:.4g}]"
            )
        return "\n".join((*lines, *self.notes))


def conformal(
    estimator: Any,
    unit: Any = None,
    *,
    null: npt.ArrayLike = 0.0,
    alpha: float = 0.05,
    q: float = 1.0,
    permutations: str = MOVING_BLOCK,
    n_permutations: int = 1000,
    intervals: bool = True,
    grid: npt.ArrayLike | None = None,
    random_state: object = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> Conformal:
    """Tests what the effect was on one treated unit, or on the treated units on average.

    The average is that of the units' gaps, in the periods that all of them have, counted from each
    unit's own start; its null holds for every unit.

    Args:
        estimator: fitted, a learner that imputes treated units without weights for periods.
        unit: the label of a treated unit; None for the average.
        null: the effect in all periods with treatment, or [L] one for each.
        alpha: in (0, 1).
        q: of the statistic S_q, above 0; large effects in few periods show better with a large one.
        permutations: "moving-block", all cyclic shifts, which keep dependence between periods; or
            "iid", orders drawn at random, where residuals are independent.
        n_permutations: how many orders to draw; "moving-block" draws none.
        intervals: whether to give intervals; without them there are only p-values.
        grid: [G] ascending effects to test for the intervals. None for 101 points from six times
            the root mean square gap before treatment below the estimate to as much above it,
            doubled up to eight times while an end is not rejected.
        random_state: a seed of the orders; None for the estimator's.
        n_jobs: for joblib; None for the estimator's.
        progress: whether to show a bar; None in a terminal only.

    Raises:
        InputError: an unknown unit or an untreated one, arguments out of range, a learner whose
            fit does not treat periods alike: with weights for periods, with the level of the last
            period before treatment, or without imputation.
        sklearn.exceptions.NotFittedError: the estimator is not fitted.
    """
    refit = parallel.Refit.of(estimator)
    alpha = check_level(alpha)
    _check_options(q, permutations)
    check_count(n_permutations, "n_permutations", 1)
    targets = nulls.targets(estimator, unit)
    null = _checked_null(null, targets.num_effects)
    grid = None if grid is None else _checked_grid(grid)
    random_state = estimator.random_state if random_state is None else random_state
    test = _Test(
        refit.learner,
        refit.panel,
        targets=targets,
        null=null,
        alpha=alpha,
        q=float(q),
        draws=n_permutations if permutations == IID else 0,
        seed=int(parallel.seeds(random_state, 1)[0]),
        intervals=intervals,
        grid=grid,
    )
    whole, *single = parallel.run(
        _answer,
        test,
        [None, *range(targets.num_effects)],
        n_jobs=estimator.n_jobs if n_jobs is None else n_jobs,
        what="conformal",
        progress=progress,
    )
    return Conformal(
        unit=unit,
        times=targets.times,
        effect=targets.effect,
        null=null,
        p_value=whole.p_value,
        statistic=whole.statistic,
        residuals=whole.residuals,
        period_p_values=np.array([each.p_value for each in single]),
        low=np.array([each.accepted.low for each in single]),
        high=np.array([each.accepted.high for each in single]),
        spacing=np.array([each.accepted.spacing for each in single]),
        constant=(whole.accepted.low, whole.accepted.high) if intervals else None,
        alpha=alpha,
        q=float(q),
        permutations=permutations,
        notes=_notes(whole, single, alpha) if intervals else (),
    )


@dataclass(frozen=True, eq=False)
class _Test(parallel.Refit):
    targets: nulls.Targets
    null: Floats
    alpha: float
    q: float
    draws: int
    seed: int
    intervals: bool
    grid: Floats | None


@dataclass(frozen=True, eq=False, kw_only=True)
class _Answer:
    p_value: float
    statistic: float
    residuals: Floats
    least: float
    accepted: Accepted


def _answer(test: _Test, period: int | None) -> _Answer:
    """Tests the null in one period with treatment, or in all of them."""
    targets = test.targets
    asked = np.arange(targets.num_effects) if period is None else np.array([period])
    residuals = nulls.residuals(test.learner, test.panel, targets, asked, test.null[None, asked])[0]
    seen = ~np.isnan(residuals)
    num_treated = np.count_nonzero(seen[targets.num_before :])
    if not num_treated:
        return _Answer(
            p_value=np.nan, statistic=np.nan, residuals=residuals, least=np.nan, accepted=UNKNOWN
        )
    observed = residuals[seen]
    orders = _orders(test, len(observed), num_treated)

    def p_values_of(constants: Floats) -> Floats:
        paths = np.repeat(constants[:, None], len(asked), axis=1)
        under = nulls.residuals(test.learner, test.panel, targets, asked, paths)
        return p_values(under[:, seen], orders, test.q)

    least = 1 / len(orders)
    accepted = UNKNOWN
    if test.intervals and least > test.alpha:
        accepted = EVERYTHING
    elif test.intervals and test.grid is not None:
        accepted = invert(p_values_of, test.alpha, test.grid)
    elif test.intervals:
        center = float(np.nanmean(targets.effect[asked]))
        accepted = invert_around(p_values_of, test.alpha, center, targets.scale)
    return _Answer(
        p_value=float(p_values(observed[None], orders, test.q)[0]),
        statistic=float(statistic(observed[len(observed) - num_treated :], test.q)),
        residuals=observed,
        least=least,
        accepted=accepted,
    )


def _orders(test: _Test, num_periods: int, num_treated: int) -> Ints:
    if not test.draws:
        return cyclic_shifts(num_periods, num_treated)
    return shuffles(num_periods, num_treated, test.draws, np.random.default_rng(test.seed))


def _notes(whole: _Answer, single: list[_Answer], alpha: float) -> tuple[str, ...]:
    notes = []
    if whole.least > alpha or any(each.least > alpha for each in single):
        least = max(each.least for each in (whole, *single) if not np.isnan(each.least))
        notes.append(
            f"There are so few periods that no p-value can be below {least:.3g}: with alpha "
            f"{alpha:g} nothing is rejected and intervals are infinite."
        )
    if not whole.residuals.any():
        notes.append(
            "The counterfactual fits all periods but for rounding, so nothing is rejected: take a "
            "synthesizer that cannot, such as 'simplex'."
        )
    if np.isnan(whole.accepted.low):
        notes.append("Every constant effect on the grid is rejected: the effect changes with time.")
    return tuple(notes)


def _check_options(q: object, permutations: object) -> None:
    if not isinstance(q, Real) or isinstance(q, bool) or not 0 < q < np.inf:
        raise InputError(f"q is {q!r}; expected a finite number above 0.")
    if permutations not in PERMUTATIONS:
        hint = suggestion(str(permutations), PERMUTATIONS)
        raise InputError(
            f"permutations is {permutations!r}; expected one of {', '.join(PERMUTATIONS)}.{hint}"
        )


def _checked_null(given: npt.ArrayLike, length: int) -> Floats:
    null = as_floats(given, "null")
    if null.ndim == 0:
        null = np.repeat(null, length)
    if null.shape != (length,):
        raise InputError(
            f"null has shape {list(null.shape)}; expected one number, or [{length}], one for each "
            "period with treatment."
        )
    if not np.isfinite(null).all():
        raise InputError("null has values that are missing or infinite; expected finite ones.")
    return null


def _checked_grid(given: npt.ArrayLike) -> Floats:
    grid = as_floats(given, "grid")
    if grid.ndim != 1 or len(grid) < 2:
        raise InputError(
            f"grid has shape {list(grid.shape)}; expected [G], two or more effects to test."
        )
    if not np.isfinite(grid).all() or (np.diff(grid) <= 0).any():
        raise InputError("grid has effects that are not finite or do not ascend; expected such.")
    return grid
