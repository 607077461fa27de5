"""A panel: outcomes of N units over T periods, when each unit is treated, what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
HUGE = 1e100
"""Larger numbers are taken for infinite: their squares, and sums of those, would be."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """A checked panel; `matrices.read_matrices` and `frames.read_frame` make one.

    Attributes:
        outcome: [N, T] float64, NaN where it was not observed.
        first_treated: [N] int64, the index of a unit's first treated period, which is the number
            of periods before its treatment (the paper's T0); T for units that never are treated.
        covariates: static [N, d] or time-varying [N, T, d] float64; d may be 0. NaN where missing.
        units: [N] labels.
        times: [T] labels, in the order of time.
        covariate_names: d names.
        given_covariates: the names of all that were given, with those left out as constant; the
            order of the columns that `effect` takes.
        outcome_name: of the outcome.
        labelled: whether labels and names are the user's own.
    """

    outcome: Floats
    first_treated: Ints
    covariates: Floats
    units: pd.Index
    times: pd.Index
    covariate_names: tuple[str, ...] = ()
    given_covariates: tuple[str, ...] = ()
    outcome_name: str = "outcome"
    labelled: bool = False

    @property
    def num_units(self) -> int:
        """N."""
        return self.outcome.shape[0]

    @property
    def num_periods(self) -> int:
        """T."""
        return self.outcome.shape[1]

    @property
    def time_varying(self) -> bool:
        """Whether covariates differ from period to period."""
        return self.covariates.ndim == 3

    @property
    def treated(self) -> Ints:
        """The rows of the units that are treated at some time."""
        return np.flatnonzero(self.first_treated < self.num_periods)

    @property
    def never_treated(self) -> Ints:
        """The rows of the other units."""
        return np.flatnonzero(self.first_treated >= self.num_periods)

    @property
    def cohorts(self) -> Ints:
        """The first treated periods that occur, ascending."""
        return np.unique(self.first_treated[self.treated])

    def static_covariates(self) -> Floats:
        """Returns [N, d]: a unit's covariates, or their means over periods before any treatment.

        Only those periods are used, as later ones could carry what the treatment changed.
        """
        if not self.time_varying:
            return self.covariates
        before = self.covariates[:, : int(self.first_treated.min())]
        known = ~np.isnan(before)
        total = np.where(known, before, 0.0).sum(axis=1)
        count = known.sum(axis=1)
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    def take(self, rows: npt.ArrayLike) -> Panel:
        """Returns the panel of these rows alone, in this order."""
        rows = np.asarray(rows)
        return replace(
            self,
            outcome=self.outcome[rows],
            first_treated=self.first_treated[rows],
            covariates=self.covariates[rows],
            units=self.units[rows],
        )

    def with_treatment(self, first_treated: Ints) -> Panel:
        """Returns the panel as if its units had been treated from these periods on."""
        return replace(self, first_treated=np.asarray(first_treated, dtype=np.int64))
