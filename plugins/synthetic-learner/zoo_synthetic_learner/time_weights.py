"""Time weights and the noise level of synthetic difference in differences.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), section 2.
"""

from __future__ import annotations

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner.frank_wolfe import sparse_simplex_weights
from zoo_synthetic_learner.panel import Floats, Ints
from zoo_synthetic_learner.simplex_solver import simplex_weights

SHARE = 1e-6
"""zeta of the time weights in units of the noise level."""


def noise_level(pre: Floats, periods: Ints | None = None) -> float:
    """Returns sigma, the standard deviation (ddof=1) of first differences over time.

    Args:
        pre: [n, F] float64, outcomes of n units before the treatment.
        periods: [F] the periods of the columns, ascending; only neighbours are subtracted.
            None: all are neighbours.

    Returns:
        0 where there are fewer than two differences.
    """
    steps = np.diff(pre, axis=1)
    if periods is not None:
        steps = steps[:, np.diff(periods) == 1]
    return float(steps.std(ddof=1)) if steps.size > 1 else 0.0


def time_weights(
    pre: Floats, post_mean: Floats, zeta: float | None = None, sparsify: bool = False
) -> Floats:
    """Returns lambda: the pre-periods whose weighted mean tells the donors' later outcomes best.

    min (1/n) sum_i (post_mean_i - l_0 - pre_i lambda)^2 + zeta^2 |lambda|^2 over the intercept l_0
    and lambda on the simplex, exactly.

    Args:
        pre: [n, F] float64, the donors' outcomes before the treatment.
        post_mean: [n] float64, their means after it.
        zeta: at least 0; None is 1e-6 of the noise level.
        sparsify: search as the authors' R package does, which ends near the minimum with fewer
            weights.

    Returns:
        [F] float64.

    Raises:
        InputError: shapes do not fit, nothing is there, or a value is not finite.
    """
    pre = np.asarray(pre, dtype=np.float64)
    post_mean = np.asarray(post_mean, dtype=np.float64)
    if pre.ndim != 2 or post_mean.shape != pre.shape[:1] or not pre.size:
        raise InputError(
            f"pre has the shape {list(pre.shape)} and post_mean {list(post_mean.shape)}; expected "
            "[n, F] and [n], neither empty."
        )
    noise = noise_level(pre)
    zeta = SHARE * noise if zeta is None else zeta
    pre = pre - pre.mean(axis=0)
    post_mean = post_mean - post_mean.mean()
    # The weights' sum is 1, so what all periods of a donor share can be taken from both sides.
    shared = pre.mean(axis=1)
    pre -= shared[:, None]
    post_mean -= shared
    count = len(pre)
    gram, cross = pre.T @ pre / count, (pre.T @ post_mean / count)[:, None]
    if not sparsify:
        return simplex_weights(gram, cross, zeta**2)[:, 0]
    level = np.array([np.square(post_mean).mean()])
    return sparse_simplex_weights(gram, cross, level, zeta**2, noise)[:, 0]
