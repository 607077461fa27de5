"""The regression of pseudo-effects on covariates: from imputed units to tau(s).

How a unit's periods are pooled is a choice of ours: their mean, all cells, or each event time by
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner import base_learners
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.panel import Floats, Ints, Panel

Pool = Literal["mean", "cells", "time"]
POOLS = ("mean", "cells", "time")
CLIP = 10.0
"""Weights of units are kept within this factor of their median."""


@dataclass(frozen=True, eq=False)
class PooledEffect:
    """tau(s), the same at all times.

    Attributes:
        learner: a fitted regressor.
    """

    learner: Any

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k] effects of covariates [k, d]."""
        return np.asarray(self.learner.predict(covariates), dtype=np.float64).reshape(-1)


@dataclass(frozen=True, eq=False)
class TimedEffect:
    """tau_t(s), by event time.

    Attributes:
        learners: a fitted regressor for each of L event times.
    """

    learners: tuple[Any, ...]

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k, L] effects of covariates [k, d]."""
        each = [np.asarray(one.predict(covariates), dtype=np.float64) for one in self.learners]
        return np.stack([one.reshape(-1) for one in each], axis=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """Pseudo-effects of units of one side, as a regression takes them.

    Attributes:
        units: [u] int64, rows of the panel, each once.
        covariates: [u, d], or [u, T, d].
        by_period: [u, T] pseudo-effects by calendar period, NaN where there is none.
        by_event: [u, L] the same by event time.
        counts: [u] int64, how often each unit counts.
        weights: [u] positive, or None.
    """

    units: Ints
    covariates: Floats
    by_period: Floats
    by_event: Floats
    counts: Ints
    weights: Floats | None

    @property
    def means(self) -> Floats:
        """[u]: a unit's mean pseudo-effect."""
        return row_means(self.by_period)

    def take(self, places: Ints) -> Samples:
        """Returns these units alone."""
        return Samples(
            units=self.units[places],
            covariates=self.covariates[places],
            by_period=self.by_period[places],
            by_event=self.by_event[places],
            counts=self.counts[places],
            weights=None if self.weights is None else self.weights[places],
        )


def samples(
    panel: Panel, imputed: Imputation, weights: str | None, counts: Ints | None = None
) -> Samples:
    """Returns the pseudo-effects of a side, those of several cohorts of donors averaged.

    Args:
        panel: N units.
        imputed: units of a side.
        weights: "fit" weighs a unit by the inverse of its mean squared gap before treatment, within
            a factor of 10 of the median; None weighs all alike.
        counts: [N] how often each unit counts; None is once.
    """
    units, place = np.unique(imputed.units, return_inverse=True)
    by_period = averaged(imputed.effect, place, len(units), imputed.size)
    by_event = averaged(imputed.effect_by_event, place, len(units), imputed.size)
    known = ~np.isnan(by_period).all(axis=1)
    if not known.any():
        raise InputError("no unit has an outcome in a treated period, so there is no effect.")
    weight = None
    if weights == "fit":
        mse = averaged(imputed.fit_mse[:, None], place, len(units), imputed.size)[:, 0]
        weight = fit_weights(mse)
    units = units[known]
    return Samples(
        units=units,
        covariates=panel.covariates[units],
        by_period=by_period[known],
        by_event=by_event[known],
        counts=np.ones(len(units), dtype=np.int64) if counts is None else counts[units],
        weights=None if weight is None else weight[known],
    )


def fit_weights(mse: Floats) -> Floats:
    """Returns 1 / mse [u], within a factor of 10 of the median, whose scale does not matter."""
    positive = mse[mse > 0]
    floor = positive.min() * 1e-6 if positive.size else 1.0
    inverse = 1 / np.maximum(mse, floor)
    median = np.median(inverse)
    return np.clip(inverse / median, 1 / CLIP, CLIP)


def learn_effect(
    found: Samples,
    base: Any,
    pool: Pool,
    *,
    interactions: bool = False,
    random_state: int | None = None,
) -> PooledEffect | TimedEffect:
    """Returns tau(s), learnt from pseudo-effects.

    Args:
        found: pseudo-effects of u units.
        base: the learner, as in `base_learners`.
        pool: "mean": a unit's mean over its periods; "cells": every period of every unit; "time":
            every event time by itself.
        interactions: add products of two covariates.
        random_state: for learners that draw.

    Raises:
        InputError: the learner refuses them.
    """

    def learn(rows: Ints, x: Floats, y: Floats) -> Any:
        repeat = found.counts[rows]
        weight = None if found.weights is None else np.repeat(found.weights[rows], repeat)
        return base_learners.fitted(
            base, np.repeat(x, repeat, axis=0), np.repeat(y, repeat), np.repeat(rows, repeat),
            interactions=interactions, sample_weight=weight, random_state=random_state,
        )  # fmt: skip

    everyone = np.arange(len(found.units))
    if pool == "mean":
        return PooledEffect(learn(everyone, found.covariates, found.means))
    if pool == "cells":
        rows, periods = np.nonzero(~np.isnan(found.by_period))
        static = found.covariates.ndim == 2
        x = found.covariates[rows] if static else found.covariates[rows, periods]
        return PooledEffect(learn(rows, x, found.by_period[rows, periods]))
    learners = []
    for event in range(found.by_event.shape[1]):
        rows = np.flatnonzero(~np.isnan(found.by_event[:, event]))
        if not rows.size:
            raise InputError(
                f"no unit has an outcome {event} periods after its treatment began, so pool='time' "
                "has nothing to learn from there; use pool='mean' or a shorter horizon."
            )
        learners.append(learn(rows, found.covariates[rows], found.by_event[rows, event]))
    return TimedEffect(tuple(learners))


def mean_effects(found: Samples) -> tuple[float, Floats]:
    """Returns the mean over all observed cells, and the means [L] by event time."""
    known = ~np.isnan(found.by_period)
    att = float((np.where(known, found.by_period, 0.0).T @ found.counts).sum())
    att /= float((known.T @ found.counts).sum())
    known = ~np.isnan(found.by_event)
    total = np.where(known, found.by_event, 0.0).T @ found.counts
    number = (known.T @ found.counts).astype(np.float64)
    return att, np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)


def row_means(values: Floats) -> Floats:
    """Returns [u] the means of what is not NaN in each row; NaN for rows without any."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def averaged(values: Floats, place: Ints, number: int, size: Floats) -> Floats:
    """Returns means [number, L] of the rows [q, L] at a place, weighted by size, without NaN."""
    place = place.reshape(-1)
    if number == len(values) and (place == np.arange(number)).all():
        return values
    known = ~np.isnan(values)
    total = np.zeros((number, values.shape[1]))
    weight = np.zeros_like(total)
    np.add.at(total, place, np.where(known, values, 0.0) * size[:, None])
    np.add.at(weight, place, known * size[:, None])
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
