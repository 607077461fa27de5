"""Fits made by hand, whose gaps, weights and effects are known: what pictures and tables show."""

from __future__ import annotations

from itertools import zip_longest
from types import SimpleNamespace

import numpy as np

from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.panel import Panel


def imputation(panel: Panel, gap: np.ndarray, *, side: str = "treated", **changes) -> Imputation:
    """Returns imputed units with these gaps [q, T], in the order of cohorts and of the panel.

    On the control side, of a panel with one cohort, they are the units that never are treated.
    """
    starts = panel.first_treated[panel.treated]
    units = panel.treated[np.lexsort((panel.treated, starts))]
    start, sign = panel.first_treated[units], 1
    if side == "control":
        units = panel.never_treated
        start, sign = np.full(len(units), panel.cohorts[0]), -1
    given = {
        "units": units,
        "start": start,
        "stop": np.full(len(units), panel.num_periods),
        "predicted": panel.outcome[units] - sign * gap,
        "gap": gap,
        "fit": np.arange(panel.num_periods) < start[:, None],
        "size": np.array([np.sum(starts == each) for each in start], dtype=np.float64),
        "weights": None,
        "intercept": None,
        "time_weights": None,
        "choices": ("did",) * len(units),
    }
    return Imputation(**given | changes)


class Line:
    """tau(s) = intercept + s . slope, or one for each event time."""

    def __init__(self, intercept, slope):
        self.intercept, self.slope = np.asarray(intercept), np.asarray(slope)

    def predict(self, covariates):
        return self.intercept + covariates @ self.slope


class Fitted:
    """What an estimator has after its fit."""

    def __init__(self, panel, treated=None, control=None, effect=None, notes=(), **given):
        self.panel_ = panel
        self.given = given
        att, by_time = np.nan, np.empty(0)
        if treated is not None:
            rows = [row[start:] for row, start in zip(treated.gap, treated.start, strict=True)]
            att = np.nanmean(np.concatenate(rows))
            # Event time by event time, of the units that reach it.
            by_time = np.array(
                [np.nanmean(cells) for cells in zip_longest(*rows, fillvalue=np.nan)]
            )
        d = panel.covariates.shape[-1]
        self.learned_ = SimpleNamespace(
            treated=treated,
            control=control,
            effect=Line(att, np.zeros(d)) if effect is None else effect,
            att=att,
            att_by_time=by_time,
            parts={},
            notes=notes,
        )

    def get_params(self, deep=True):
        return self.given

    def effect(self, covariates):
        return self.learned_.effect.predict(covariates)
