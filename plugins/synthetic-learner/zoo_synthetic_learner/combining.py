"""How the two-side learner combines the effects learnt on its sides. The rule is ours to choose:
the paper's own is not known to us, so rules are functions that anybody can replace.

tau(s) = g(s) tau_0(s) + (1 - g(s)) tau_1(s), with tau_0 learnt on control units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from zoo_core.errors import ConfigError, InputError, suggestion
from zoo_synthetic_learner.learned import Effect
from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.propensity import Propensity


class Weight(Protocol):
    """A fitted g(s)."""

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k] weights, of the effect learnt on control units."""


@dataclass(frozen=True, eq=False)
class ConstantWeight:
    """The same weight for all.

    Attributes:
        value: within [0, 1].
    """

    value: float

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k]."""
        return np.full(len(covariates), self.value)


@dataclass(frozen=True, eq=False)
class CombinedEffect:
    """tau(s) of two sides.

    Attributes:
        treated: tau_1, learnt on treated units.
        control: tau_0, learnt on control units.
        weight: g, of tau_0.
    """

    treated: Any
    control: Any
    weight: Any

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k] effects, or [k, L] by event time."""
        one, zero = self.treated.predict(covariates), self.control.predict(covariates)
        weight = np.asarray(self.weight.predict(covariates), dtype=np.float64)
        if weight.shape != (len(covariates),) or not ((weight >= 0) & (weight <= 1)).all():
            raise InputError(
                "the weight of combine= gave something else than one number within [0, 1] for each "
                f"unit: an array of shape {list(weight.shape)}."
            )
        if one.ndim == 1:
            return weight * zero + (1 - weight) * one
        both = one.copy()
        # Late event times may have no cohort that is large enough on the control side.
        length = min(one.shape[1], zero.shape[1])
        both[:, :length] += weight[:, None] * (zero[:, :length] - one[:, :length])
        return both


@dataclass(frozen=True, eq=False)
class Sides:
    """What a rule can look at.

    Attributes:
        propensity: fitted e(s).
        variances: a function that returns the variances of (treated, control) pseudo-effects around
            their regressions, on units left out.
        placebo: a function that returns the effects ([k], [k]) that both sides find for the
            panel's units where treatment is moved ahead in time and nothing is to be found; None
            where there are too few periods for it.
        covariates: [N, d] of the panel's units.
    """

    propensity: Propensity
    variances: Callable[[], tuple[float, float]]
    placebo: Callable[[], tuple[Effect, Effect] | None]
    covariates: Floats


Rule = Callable[[Sides], Weight]


def propensity(sides: Sides) -> Weight:
    """The rule of the X-learner (Künzel et al. 2019): g = e(s)."""
    return sides.propensity


def half(sides: Sides) -> Weight:
    """g = 1/2."""
    return ConstantWeight(0.5)


def precision(sides: Sides) -> Weight:
    """g by the inverse of the variances that the regressions leave on units left out."""
    one, zero = sides.variances()
    total = one + zero
    return ConstantWeight(one / total if total > 0 else 0.5)


def learned(sides: Sides) -> Weight:
    """g that finds least where there is nothing: treatment moved ahead by a horizon.

    Minimises the mean over units of (g tau_0 + (1 - g) tau_1)^2, in closed form.
    """
    found = sides.placebo()
    if found is None:
        return ConstantWeight(0.5)
    one, zero = (each.predict(sides.covariates) for each in found)
    length = min(one.shape[1], zero.shape[1]) if one.ndim == 2 else None
    one, zero = one[..., :length], zero[..., :length]
    step = one - zero
    norm = float((step**2).sum())
    best = float((one * step).sum()) / norm if norm > 0 else 0.5
    return ConstantWeight(min(max(best, 0.0), 1.0))


RULES: dict[str, Rule] = {
    "propensity": propensity,
    "half": half,
    "precision": precision,
    "learned": learned,
}


def rule_of(combine: Any) -> Rule:
    """Returns a rule by its name, or the function given.

    Raises:
        ConfigError: there is no such rule.
    """
    if isinstance(combine, str) and combine in RULES:
        return RULES[combine]
    if isinstance(combine, str) or not callable(combine):
        hint = suggestion(combine, RULES) if isinstance(combine, str) else ""
        raise ConfigError(
            f"combine is {combine!r}; expected one of {', '.join(RULES)}, or a function.{hint}"
        )
    return combine
