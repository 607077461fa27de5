"""Small panels for the tests, and the real ones where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoo_synthetic_learner.frames import read_frame
from zoo_synthetic_learner.matrices import read_matrices
from zoo_synthetic_learner.panel import Panel


def small_panel(
    seed: int = 0,
    N: int = 12,
    T: int = 16,
    T0: int = 10,
    m: int = 4,
    d: int = 2,
    *,
    missing: float = 0.0,
    staggered: bool = False,
    time_varying: bool = False,
    labelled: bool = False,
    effect: Callable[[np.ndarray], np.ndarray] | None = None,
    noise: float = 0.3,
) -> Panel:
    """Returns a panel of two random-walk factors whose loadings are tied to the covariates.

    Args:
        seed: of all draws.
        N: units.
        T: periods.
        T0: the first treated period; the last cohort's where `staggered`.
        m: treated units, the first ones.
        d: covariates.
        missing: the share of outcomes that are not observed, in cells without treatment. Every
            third period and the last two units have all outcomes.
        staggered: whether half of the treated start two periods earlier.
        time_varying: whether covariates are [N, T, d].
        labelled: whether units are "u00", "u01", ... and times years from 2000 on.
        effect: of covariates [N, d] on the treated; 1 for all by default.
        noise: the standard deviation of what no factor explains.
    """
    rng = np.random.default_rng(seed)
    covariates = rng.standard_normal((N, d))
    loadings = 0.5 * rng.standard_normal((N, 2))
    loadings[:, : min(d, 2)] += covariates[:, :2]
    factors = np.cumsum(rng.standard_normal((T, 2)), axis=0)
    outcome = 3.0 + loadings @ factors.T + noise * rng.standard_normal((N, T))
    starts = np.zeros(N, dtype=np.int64)
    starts[:m] = T0
    if staggered:
        starts[: m // 2] = T0 - 2
    tau = np.ones(N) if effect is None else effect(covariates)
    for unit in range(m):
        outcome[unit, starts[unit] :] += tau[unit]
    if missing:
        untreated = (starts[:, None] == 0) | (np.arange(T) < starts[:, None])
        holes = (rng.random((N, T)) < missing) & untreated
        holes[:, ::3] = False
        holes[-2:] = False
        outcome[holes] = np.nan
    given = covariates
    if time_varying:
        given = covariates[:, None, :] + 0.1 * rng.standard_normal((N, T, d))
    if not labelled:
        return read_matrices(outcome, starts, given if d else None)
    units = pd.Index([f"u{unit:02d}" for unit in range(N)], name="unit")
    table = pd.DataFrame(outcome, index=units, columns=pd.RangeIndex(2000, 2000 + T, name="year"))
    if d and not time_varying:
        given = pd.DataFrame(given, index=units, columns=[f"x{each}" for each in range(d)])
    return read_matrices(table, starts, given if d else None)


def matrices_of(panel: Panel) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns the Y, D [N] and S that `fit` takes, as plain arrays."""
    starts = np.where(panel.first_treated < panel.num_periods, panel.first_treated, 0)
    given = panel.covariates if panel.covariates.shape[-1] else None
    return panel.outcome.copy(), starts, None if given is None else given.copy()


def frame_of(panel: Panel) -> pd.DataFrame:
    """Returns the long table of a panel.

    Columns are unit, time, outcome, treated (0 or 1), first (the first treated time, NaN for
    never) and the covariates.
    """
    num_units, num_periods = panel.outcome.shape
    unit = np.repeat(np.arange(num_units), num_periods)
    time = np.tile(np.arange(num_periods), num_units)
    starts = panel.first_treated
    label = [panel.times[start] if start < num_periods else np.nan for start in starts]
    table = pd.DataFrame(
        {
            "unit": panel.units.take(unit),
            "time": panel.times.take(time),
            "outcome": panel.outcome.ravel(),
            "treated": (time >= starts[unit]).astype(int),
            "first": pd.Series(label).take(unit).to_numpy(),
        }
    )
    for place, name in enumerate(panel.covariate_names):
        values = panel.covariates[..., place]
        table[name] = values.ravel() if panel.time_varying else values[unit]
    return table


def fit_frame_arguments(panel: Panel) -> dict[str, object]:
    """Returns the arguments of `fit_frame` for the table of `frame_of`."""
    return {
        "unit": "unit",
        "time": "time",
        "outcome": "outcome",
        "treatment": "treated",
        "covariates": list(panel.covariate_names),
    }


def data_root(*files: str) -> str:
    """Returns the folder of data; skips the test where these files of its panels are not there."""
    root = os.environ.get("ZOO_DATA")
    for file in files or ("california_prop99.csv",):
        if not root or not (Path(root) / "panels" / file).exists():
            pytest.skip(f"needs panels/{file} in ZOO_DATA")
    assert root is not None
    return root


def california() -> Panel:
    """Returns cigarette sales of 39 states, California treated from 1989 (T0 = 19) on."""
    from zoo_synthetic_learner.datasets import load_california

    return read_frame(
        load_california(data_root("california_prop99.csv")),
        unit="state",
        time="year",
        outcome="packs",
        treatment="treated",
    )
