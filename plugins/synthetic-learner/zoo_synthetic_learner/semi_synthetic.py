"""Real outcomes with an effect that is known, as we put it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoo_core.errors import InputError
from zoo_synthetic_learner.numbers_given import as_floats
from zoo_synthetic_learner.panel import Floats, Ints

EffectLike = Callable[[Floats], npt.ArrayLike] | npt.ArrayLike
"""tau: a function of covariates [N, d] that returns [N], or [N] itself."""


@dataclass(frozen=True, eq=False)
class SemiSynthetic:
    """A panel whose effects are known.

    Attributes:
        Y: [N, T] float64 outcomes, with the effect in treated cells; a DataFrame where one was
            given.
        D: [N] int64 the index of the first treated period, 0 for units that never are treated.
        S: [N, d] float64 covariates; a DataFrame where one was given.
        tau: [N] float64 the effect that treatment has, or would have, on each unit.
    """

    Y: Any
    D: Ints
    S: Any
    tau: Floats

    @property
    def treated(self) -> Ints:
        """The rows of the treated units."""
        return np.flatnonzero(self.D > 0)


def semi_synthetic_panel(
    Y: Any,  # noqa: N803
    S: Any,  # noqa: N803
    tau: EffectLike,
    m: int,
    seed: int,
    T0: int,  # noqa: N803
    gumbel: float = 1.0,
) -> SemiSynthetic:
    """Treats some units of a panel in which nobody was, with an effect that is known.

    The `m` units with the largest S[:, 0] + gumbel * G are treated from period `T0` on, G being
    drawn from the standard Gumbel distribution by `numpy.random.default_rng(seed).gumbel(size=N)`.
    A recipe of ours, not the paper's.

    Args:
        Y: [N, T] outcomes without treatment; NaN where not observed.
        S: [N, d] covariates, d at least 1, in the rows of Y.
        tau: [N] effects, or a function that returns them for S as an array.
        m: how many units are treated.
        seed: of the draw.
        T0: how many periods are before treatment.
        gumbel: the scale of the noise; 0 treats the units with the largest S[:, 0].

    Raises:
        InputError: shapes, numbers or labels that do not fit.
    """
    outcome = as_floats(Y, "Y")
    covariates = as_floats(S, "S")
    if outcome.ndim != 2 or not outcome.size:
        raise InputError(f"Y has shape {list(outcome.shape)}; expected [N, T], not empty.")
    num_units, num_periods = outcome.shape
    if covariates.ndim != 2 or len(covariates) != num_units or not covariates.shape[1]:
        raise InputError(
            f"S has shape {list(covariates.shape)}; expected [{num_units}, d] with d at least 1."
        )
    if isinstance(Y, pd.DataFrame) and isinstance(S, pd.DataFrame) and not Y.index.equals(S.index):
        raise InputError("S and Y have different indices; expected the same units in one order.")
    if not np.isfinite(covariates).all():
        raise InputError("S has values that are missing or infinite; expected finite ones.")
    check_count(m, "m", 1, num_units - 1)
    check_count(T0, "T0", 1, num_periods - 1)
    check_count(seed, "seed", 0)
    check_scale(gumbel, "gumbel")
    effect = effects(tau, covariates, "tau")
    noise = np.random.default_rng(seed).gumbel(size=num_units)
    first_treated = assign(covariates[:, 0] + gumbel * noise, m, T0)
    treated = first_treated > 0
    outcome[treated, T0:] += effect[treated, None]
    return SemiSynthetic(Y=_like(Y, outcome), D=first_treated, S=_like(S, covariates), tau=effect)


def assign(score: Floats, m: int, start: int) -> Ints:
    """Returns D [N]: `start` for the m units with the largest score [N], 0 for the others."""
    first_treated = np.zeros(len(score), dtype=np.int64)
    first_treated[np.argsort(-score, kind="stable")[:m]] = start
    return first_treated


def effects(effect: EffectLike, covariates: Floats, name: str) -> Floats:
    """Returns tau [N] of units with covariates [N, d].

    Raises:
        InputError: another shape, or values that are not finite.
    """
    values = as_floats(effect(covariates.copy()) if callable(effect) else effect, name)
    if values.shape != (len(covariates),):
        raise InputError(f"{name} has shape {list(values.shape)}; expected [{len(covariates)}].")
    if not np.isfinite(values).all():
        raise InputError(f"{name} has values that are missing or infinite; expected finite ones.")
    return values


def check_count(value: object, name: str, least: int, most: int | None = None) -> None:
    """Raises InputError where a value is no whole number from `least` to `most`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} is {value!r}; expected a whole number {span}.")


def check_scale(value: object, name: str) -> None:
    """Raises InputError where a value is no finite number of at least 0."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or isinstance(value, bool) or not 0 <= value < np.inf:  # type: ignore[operator]
        raise InputError(f"{name} is {value!r}; expected a finite number of at least 0.")


def _like(given: Any, values: Floats) -> Any:
    if not isinstance(given, pd.DataFrame):
        return values
    return pd.DataFrame(values, index=given.index, columns=given.columns)
