"""Whether a query is like the units whose effects were learnt, or tau(s) is extrapolation.

The rule is ours: an ellipsoid by Mahalanobis distance and, where a propensity was learnt, the
range of propensities in which there are both treated and other units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.stats import chi2

from zoo_core.errors import InputError
from zoo_synthetic_learner.panel import Bools, Floats

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUANTILE: Final = 0.99
_RANK: Final = 1e-10
"""Directions with less of the covariates' variance than this share count as having none."""
_OFF: Final = 1e-6
"""So far, in standard deviations, rounding may take a unit in a direction without variance."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Support:
    """The covariates of units whose effects were regressed, as an ellipsoid.

    Attributes:
        center: [d] their means.
        scale: [d] their standard deviations; where those are 0, the size of the mean, or 1.
        whiten: [d, r] from standardised covariates to r uncorrelated ones of variance 1.
        unspanned: [d, d - r] the directions in which the units do not differ at all.
        threshold: the largest distance inside.
        propensity: from covariates [k, d] to propensities [k]; None without one.
        common: the smallest and the largest propensity inside; None without one.
    """

    center: Floats
    scale: Floats
    whiten: Floats
    unspanned: Floats
    threshold: float
    propensity: Callable[[Floats], Floats] | None = None
    common: tuple[float, float] | None = None

    @classmethod
    def of(
        cls,
        covariates: Floats,
        *,
        propensity: Callable[[Floats], Floats] | None = None,
        groups: Sequence[Floats] = (),
    ) -> Support:
        """Returns the support of units.

        The threshold is the largest distance of a unit from the others, which a further unit of
        their kind exceeds with probability 1 / (m + 1); but at most the 0.99 quantile of normal
        covariates (few units leave it wild), and at least the largest distance of the units
        themselves, so that they always are inside.

        Args:
            covariates: [m, d] of the units whose effects were regressed; d may be 0. Units with
                NaN are left out.
            propensity: what tells a unit's chance of treatment from [k, d].
            groups: the covariates of the treated and of the other units. Inside are propensities
                between the larger of the groups' minima and the smaller of their maxima.

        Raises:
            InputError: no unit without NaN.
        """
        known = covariates[~np.isnan(covariates).any(axis=1)]
        if not len(known):
            raise InputError(
                "no unit has all covariates, so their support cannot be told; expected one."
            )
        center, deviation = known.mean(axis=0), known.std(axis=0)
        constant = deviation <= _RANK * np.abs(center)
        size = np.where(center == 0, 1.0, np.abs(center))
        scale = np.where(constant, size, deviation * np.sqrt(len(known) / max(len(known) - 1, 1)))
        standard = np.where(constant, 0.0, (known - center) / scale)
        variance, axes = np.linalg.eigh(standard.T @ standard / max(len(known) - 1, 1))
        spanned = variance > _RANK * max(variance.max(initial=0.0), _RANK)
        whiten = axes[:, spanned] / np.sqrt(variance[spanned])
        return cls(
            center=center,
            scale=scale,
            whiten=whiten,
            unspanned=axes[:, ~spanned],
            threshold=_threshold(standard @ whiten),
            propensity=propensity,
            common=None if propensity is None else _common(propensity, groups),
        )

    def distance(self, covariates: Floats) -> Floats:
        """Returns the Mahalanobis distances [k] of queries from the units' mean.

        Args:
            covariates: [k, d].

        Returns:
            inf for a query off the directions in which the units differ, NaN for one with NaN.

        Raises:
            InputError: another shape.
        """
        if covariates.ndim != 2 or covariates.shape[1] != len(self.center):
            raise InputError(
                f"S has shape {list(covariates.shape)}; expected [k, {len(self.center)}]."
            )
        standard = (covariates - self.center) / self.scale
        distance = np.sqrt(((standard @ self.whiten) ** 2).sum(axis=1))
        off = (np.abs(standard @ self.unspanned) > _OFF).any(axis=1)
        return np.where(off, np.inf, distance)

    def contains(self, covariates: Floats) -> Bools:
        """Returns whether queries [k, d] are inside, [k]; False for those with NaN.

        Raises:
            InputError: another shape.
        """
        inside = self.distance(covariates) <= self.threshold * (1 + 1e-9) + 1e-9
        if self.propensity is not None and self.common is not None and inside.any():
            chance = self.propensity(covariates[inside])
            low, high = self.common
            inside[inside] = (chance >= low - 1e-12) & (chance <= high + 1e-12)
        return inside


def support_of(estimator: Any) -> Support:
    """Returns the support of a fitted estimator's effect regression.

    That is of its treated units and, where the effects of control units were regressed too, of
    both and of the propensities they share. Covariates that vary over time are taken as
    `Panel.static_covariates` has them.
    """
    panel, learned = estimator.panel_, estimator.learned_
    covariates = panel.static_covariates()
    if learned.control is None:
        return Support.of(covariates[panel.treated])
    rows = np.union1d(panel.treated, learned.control.units)
    propensity = learned.parts.get("propensity")
    return Support.of(
        covariates[rows],
        propensity=None if propensity is None else propensity.predict,
        groups=(covariates[panel.treated], covariates[panel.never_treated]),
    )


def _threshold(white: Floats) -> float:
    """The largest distance inside, of whitened units [m, r]."""
    num_units, rank = white.shape
    if rank == 0:
        return 0.0
    squared = (white**2).sum(axis=1)
    own = float(np.sqrt(squared.max()))
    if num_units < 3:
        return own
    # Mean and covariance without a unit, by the formula of Sherman and Morrison.
    left = 1 - squared * num_units / (num_units - 1) ** 2
    # Without this unit a direction is lost, and nothing can be told.
    told = left > 1e-9
    factor = (num_units / (num_units - 1)) ** 2 * (num_units - 2) / (num_units - 1)
    others = np.sqrt(squared[told] * factor / left[told])
    return max(own, min(float(others.max(initial=0.0)), float(np.sqrt(chi2.ppf(_QUANTILE, rank)))))


def _common(
    propensity: Callable[[Floats], Floats], groups: Sequence[Floats]
) -> tuple[float, float] | None:
    known = [group[~np.isnan(group).any(axis=1)] for group in groups]
    chances = [propensity(group) for group in known if len(group)]
    if not chances:
        return None
    return float(max(c.min() for c in chances)), float(min(c.max() for c in chances))
