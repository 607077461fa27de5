"""The permutation test of residuals of Chernozhukov, Wüthrich and Zhu (2021).

Under the right null the residuals of a fit on all periods are as good in one order as in another,
so the last ones are compared with what would stand there in other orders.
"""

from __future__ import annotations

import numpy as np

from zoo_synthetic_learner.panel import Floats, Ints

MOVING_BLOCK = "moving-block"
IID = "iid"

_TIE = 1e-9
"""Statistics that differ by less, relative to the largest, are the same but for rounding."""


def statistic(residuals: Floats, q: float) -> Floats:
    """Returns S_q = (sum |u_t|^q / sqrt(T1))^(1/q) [...] of residuals with treatment [..., T1]."""
    total = (np.abs(residuals) ** q).sum(axis=-1)
    return np.asarray((total / np.sqrt(residuals.shape[-1])) ** (1 / q))


def cyclic_shifts(num_periods: int, num_treated: int) -> Ints:
    """Returns the periods that come to stand last in all T cyclic shifts: [T, T1], itself first."""
    shifts = np.arange(num_periods)[:, None]
    last = np.arange(num_periods - num_treated, num_periods)
    return (last + shifts) % num_periods


def shuffles(num_periods: int, num_treated: int, number: int, rng: np.random.Generator) -> Ints:
    """Returns those of the order as it is, and of orders drawn at random: [1 + number, T1]."""
    orders = np.tile(np.arange(num_periods), (number, 1))
    drawn = rng.permuted(orders, axis=1)[:, num_periods - num_treated :]
    last = np.arange(num_periods - num_treated, num_periods)
    return np.concatenate([last[None], drawn])


def p_values(residuals: Floats, orders: Ints, q: float) -> Floats:
    """Returns the share of orders whose statistic is at least that of the first, which is as it is.

    Args:
        residuals: [G, T], a row for each null.
        orders: [R, T1] the periods that stand last, as of `cyclic_shifts`.
        q: of the statistic.

    Returns:
        [G] in [1 / R, 1].
    """
    statistics = np.stack([statistic(residuals[:, order], q) for order in orders])
    least = statistics[0] - _TIE * statistics.max(axis=0)
    return np.asarray(np.count_nonzero(statistics >= least, axis=0) / len(orders))
