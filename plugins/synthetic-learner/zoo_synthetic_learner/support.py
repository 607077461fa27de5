"""Whether a query is like the units whose effects were learnt, or tau(s) is extrapolation.

The rule is ours: an ellipsoid by Mahalanobis distance for each regression of effects and, where a
propensity was learnt, overlap: that it is not at the bounds it was clipped to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from scipy.stats import chi2

from zoo_core.errors import InputError
from zoo_synthetic_learner.panel import Bools, Floats
from zoo_synthetic_learner.propensity import CLIP

_QUANTILE: Final = 0.99
_RANK: Final = 1e-10
"""Directions with less of the covariates' variance than this share count as having none."""
_OFF: Final = 1e-6
"""So far, in standard deviations, rounding may take a unit in a direction without variance."""
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Ellipsoid:
    """Where the covariates of units lie.

    Attributes:
        center: [d] their means.
        scale: [d] their standard deviations; where those are 0, the size of the mean, or 1.
        whiten: [d, r] from standardised covariates to r uncorrelated ones of variance 1.
        unspanned: [d, d - r] the directions in which the units do not differ at all.
        threshold: the largest distance inside.
    """

    center: Floats
    scale: Floats
    whiten: Floats
    unspanned: Floats
    threshold: float

    @classmethod
    def of(cls, covariates: Floats) -> Self:
        """Returns the ellipsoid of units.

        The threshold is the largest distance of a unit from the others, which a further unit of
        their kind exceeds with probability 1 / (m + 1); but at most the 0.99 quantile of normal
        covariates (few units leave it wild), and at least the largest distance of the units
        themselves, so that they always are inside.

        Args:
            covariates: [m, d]; d may be 0. Units with NaN are left out.

        Raises:
            InputError: no unit without NaN.
        """
        known = covariates[~np.isnan(covariates).any(axis=1)]
        if not len(known):
            raise InputError(
                "no unit has all covariates, so their support cannot be told; expected one."
            )
        spare = max(len(known) - 1, 1)
        center, deviation = known.mean(axis=0), known.std(axis=0)
        constant = deviation <= _RANK * np.abs(center)
        size = np.where(center == 0, 1.0, np.abs(center))
        scale = np.where(constant, size, deviation * np.sqrt(len(known) / spare))
        standard = np.where(constant, 0.0, (known - center) / scale)
        variance, axes = np.linalg.eigh(standard.T @ standard / spare)
        spanned = variance > _RANK * max(variance.max(initial=0.0), _RANK)
        whiten = axes[:, spanned] / np.sqrt(variance[spanned])
        return cls(
            center=center,
            scale=scale,
            whiten=whiten,
            unspanned=axes[:, ~spanned],
            threshold=_threshold(standard @ whiten),
        )

    def distance(self, covariates: Floats) -> Floats:
        """Returns the Mahalanobis distances [k] of queries [k, d] from the units' mean.

        They are inf off the directions in which the units differ, and NaN for queries with NaN.
        """
        standard = (covariates - self.center) / self.scale
        distance = np.sqrt(((standard @ self.whiten) ** 2).sum(axis=1))
        off = (np.abs(standard @ self.unspanned) > _OFF).any(axis=1)
        return np.where(off, np.inf, distance)


@dataclass(frozen=True, eq=False, kw_only=True)
class Support:
    """The covariates of which effects are known, rather than extrapolated.

    Attributes:
        groups: the units of each regression of effects.
        propensity: from covariates [k, d] to propensities [k]; None without one.
    """

    groups: tuple[Ellipsoid, ...]
    propensity: Callable[[Floats], Floats] | None = None

    @classmethod
    def of(cls, *groups: Floats, propensity: Callable[[Floats], Floats] | None = None) -> Self:
        """Returns the support that groups of units share.

        Args:
            *groups: [m, d] each, the covariates of units whose effects were regressed together.
            propensity: what tells a unit's chance of treatment from [k, d], clipped to
                [0.05, 0.95].

        Raises:
            InputError: a group has no unit without NaN.
        """
        return cls(groups=tuple(map(Ellipsoid.of, groups)), propensity=propensity)

    def distance(self, covariates: Floats) -> Floats:
        """Returns the Mahalanobis distances [k] of queries from the group that is furthest.

        Args:
            covariates: [k, d].

        Returns:
            inf for a query off the directions in which the units differ, NaN for one with NaN.

        Raises:
            InputError: another shape.
        """
        self._check(covariates)
        return np.max([group.distance(covariates) for group in self.groups], axis=0)

    def contains(self, covariates: Floats) -> Bools:
        """Returns whether queries [k, d] are inside, [k]; False for those with NaN.

        Inside are those within the ellipsoid of every group whose propensity is not clipped.

        Raises:
            InputError: another shape.
        """
        self._check(covariates)
        inside = np.all(
            [
                group.distance(covariates) <= group.threshold * (1 + _ROUNDING) + _ROUNDING
                for group in self.groups
            ],
            axis=0,
        )
        if self.propensity is not None and inside.any():
            chance = self.propensity(covariates[inside])
            inside[inside] = (chance > CLIP) & (chance < 1 - CLIP)
        return inside

    def _check(self, covariates: Floats) -> None:
        d = len(self.groups[0].center)
        if covariates.ndim != 2 or covariates.shape[1] != d:
            raise InputError(f"S has shape {list(covariates.shape)}; expected [k, {d}].")


def support_of(estimator: Any) -> Support:
    """Returns the support of a fitted estimator's effect.

    That is of its treated units and, where the effects of control units were regressed too, of
    those and of the propensity. Covariates that vary over time are taken as
    `Panel.static_covariates` has them.
    """
    panel, learned = estimator.panel_, estimator.learned_
    covariates = panel.static_covariates()
    treated = covariates[panel.treated]
    if learned.control is None:
        return Support.of(treated)
    propensity = learned.parts.get("propensity")
    return Support.of(
        treated,
        covariates[np.unique(learned.control.units)],
        propensity=None if propensity is None else propensity.predict,
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
