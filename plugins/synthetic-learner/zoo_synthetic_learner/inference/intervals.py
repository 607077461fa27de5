"""Percentile intervals of replicates, and the level that a user gives."""

from __future__ import annotations

import warnings
from numbers import Real

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner.panel import Floats


def check_level(alpha: object) -> float:
    """Returns the share of cases that an interval may miss.

    Raises:
        InputError: no number between 0 and 1.
    """
    number = isinstance(alpha, Real) and not isinstance(alpha, bool)
    if not number or not 0 < alpha < 1:  # type: ignore[operator]
        raise InputError(
            f"alpha is {alpha!r}; expected a number between 0 and 1, such as 0.05 for intervals of "
            "95 %."
        )
    return float(alpha)  # type: ignore[arg-type]


def percentile_interval(replicates: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Returns the quantiles alpha / 2 and 1 - alpha / 2 over replicates.

    Args:
        replicates: [B, ...], NaN where a replicate has no value; those do not count.
        alpha: in (0, 1).

    Returns:
        Both [...]; NaN where no replicate has a value.

    Raises:
        InputError: another alpha.
    """
    alpha = check_level(alpha)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, high = np.nanquantile(replicates, [alpha / 2, 1 - alpha / 2], axis=0)
    return low, high


def standard_error(replicates: Floats) -> Floats:
    """Returns [...] the standard deviation (ddof=1) over replicates [B, ...]; NaN for fewer than
    two values."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Degrees of freedom", RuntimeWarning)
        return np.asarray(np.nanstd(replicates, axis=0, ddof=1))
