"""Rows of covariates that weights have to reproduce besides the outcomes: ours.

Where g_j is linear, the two-side assumption says that weights which reproduce outcomes reproduce
effects, too; that holds only if they reproduce the covariates that effects depend on.
"""

from __future__ import annotations

import numpy as np

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.labels import named
from zoo_synthetic_learner.panel import Floats, Ints, Panel
from zoo_synthetic_learner.synthesizers import Synthesizer, name_of


def balance_rows(
    panel: Panel, donors: Ints, targets: Ints, periods: Ints, synthesizer: Synthesizer
) -> tuple[Floats, Floats] | None:
    """Returns the covariates [d, p] and [d, q] in units of the outcome, or None for d = 0.

    They are standardised over all units and multiplied by the standard deviation, within a donor,
    of the outcomes learnt from, so that a covariate counts like a period.

    Raises:
        ConfigError: the synthesizer has no weights that could reproduce them.
        InputError: a covariate is missing.
    """
    if not getattr(synthesizer, "balances", False):
        raise ConfigError(
            "balance_covariates needs a synthesizer with weights to learn; "
            f"{name_of(synthesizer)!r} has none. Use 'simplex', "
            "'ridge', 'lasso', 'enet', 'ols', 'sdid' or 'auto'."
        )
    covariates = panel.static_covariates()
    if not covariates.shape[1]:
        return None
    used = np.concatenate([donors, targets])
    if np.isnan(covariates[used]).any():
        rows = used[np.isnan(covariates[used]).any(axis=1)]
        raise InputError(
            f"covariates of {named(panel.units, rows)} are missing; balance_covariates needs them."
        )
    spread = np.nanstd(covariates, axis=0)
    scaled = (covariates - np.nanmean(covariates, axis=0)) / np.where(spread > 0, spread, 1.0)
    outcome = panel.outcome[np.ix_(donors, periods)]
    scaled *= (outcome - outcome.mean(axis=1, keepdims=True)).std()
    return scaled[donors].T, scaled[targets].T
