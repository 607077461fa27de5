"""Panels drawn from a factor model of ours, in which the non-panel learners get worse with time.

Covariates load on factors that are random walks, treatment goes to units with large covariates, and
noise is autocorrelated: what learners for independent rows assume is all violated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from zoo_core.errors import InputError, suggestion
from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.semi_synthetic import SemiSynthetic, assign, check_count, effects

_LOADING_NOISE: Final = 0.3
_FACTOR_STEP: Final = 0.5
_AUTOCORRELATION: Final = 0.6
_TREND: Final = 0.02
_ASSIGNMENT_NOISE: Final = 0.5


def linear_effect(covariates: Floats) -> Floats:
    """Returns tau(s) = 1 + 1.5 s1 - s2 [N] of covariates [N, 4]."""
    return 1 + 1.5 * covariates[:, 0] - covariates[:, 1]


def nonlinear_effect(covariates: Floats) -> Floats:
    """Returns tau(s) = 2 tanh(s1) + 2 max(s2, 0) + s3 1{s4 > 0} [N] of covariates [N, 4]."""
    first, second, third, fourth = covariates.T
    return 2 * np.tanh(first) + 2 * np.maximum(second, 0) + third * (fourth > 0)


EFFECTS: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {"linear": linear_effect, "nonlinear": nonlinear_effect}
)
"""Name -> tau."""


def simulated_panel(
    seed: int,
    m: int = 30,
    n: int = 60,
    T0: int = 60,  # noqa: N803
    T1: int = 20,  # noqa: N803
    effect: str | Callable[[Floats], npt.ArrayLike] = "linear",
) -> SemiSynthetic:
    """Draws a panel of N = m + n units and T = T0 + T1 periods with known effects.

    From `numpy.random.default_rng(seed)` are drawn, in this order and each as one array of N(0, 1):

    1. S [N, 4], the covariates;
    2. Z [N], the loading that no covariate tells of;
    3. U [N, 3]; the loadings are L = (S1, S2, Z) + 0.3 U;
    4. V [T, 3]; the factors are F_t = 0.5 (V_0 + ... + V_t);
    5. E [N, T]; the noise is e_0 = E_0, e_t = 0.6 e_{t-1} + sqrt(1 - 0.6^2) E_t, whose variance is
       1 in all periods;
    6. G [N], this one standard Gumbel: treated are the m units with the largest S1 + 0.5 G.

    Outcomes are Y_t(0) = 2 S1 + L F_t + 0.02 t + e_t, t from 0, and tau(S) is added to those of the
    treated from period T0 on. A recipe of ours, not the paper's.

    Args:
        seed: of all draws.
        m: treated units.
        n: control units.
        T0: periods before treatment.
        T1: periods with treatment.
        effect: tau: "linear", "nonlinear", or a function of covariates [N, 4] that returns [N].

    Raises:
        InputError: another effect, or numbers that do not fit.
    """
    for value, name in ((m, "m"), (n, "n"), (T0, "T0"), (T1, "T1")):
        check_count(value, name, 1)
    check_count(seed, "seed", 0)
    if not callable(effect) and effect not in EFFECTS:
        raise InputError(
            f"effect is {effect!r}.{suggestion(str(effect), EFFECTS)} Expected one of "
            f"{', '.join(EFFECTS)}, or a function of covariates."
        )
    tau_of = effect if callable(effect) else EFFECTS[effect]
    num_units, num_periods = m + n, T0 + T1
    rng = np.random.default_rng(seed)
    covariates = rng.standard_normal((num_units, 4))
    loadings = np.column_stack([covariates[:, :2], rng.standard_normal(num_units)])
    loadings += _LOADING_NOISE * rng.standard_normal((num_units, 3))
    factors = np.cumsum(_FACTOR_STEP * rng.standard_normal((num_periods, 3)), axis=0)
    noise = _autoregressive(rng.standard_normal((num_units, num_periods)))
    score = covariates[:, 0] + _ASSIGNMENT_NOISE * rng.gumbel(size=num_units)

    outcome = 2 * covariates[:, :1] + loadings @ factors.T
    outcome += _TREND * np.arange(num_periods) + noise
    tau = effects(tau_of, covariates, "effect")
    first_treated = assign(score, m, T0)
    treated = first_treated > 0
    outcome[treated, T0:] += tau[treated, None]
    return SemiSynthetic(Y=outcome, D=first_treated, S=covariates, tau=tau)


def _autoregressive(shocks: Floats) -> Floats:
    noise = shocks.copy()
    scale = np.sqrt(1 - _AUTOCORRELATION**2)
    for period in range(1, noise.shape[1]):
        noise[:, period] = _AUTOCORRELATION * noise[:, period - 1] + scale * shocks[:, period]
    return noise
