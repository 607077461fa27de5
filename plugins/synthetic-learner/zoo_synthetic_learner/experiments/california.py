"""The effect of California's tobacco law on cigarette sales, by estimators with known answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pandas as pd

from zoo_core.experiment import Context
from zoo_synthetic_learner.baselines.constant import SyntheticControl, SyntheticDiD
from zoo_synthetic_learner.estimator import PanelEstimator
from zoo_synthetic_learner.experiments.pairs import Line, verdict
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.panel_files import load_california

DID: Final = "DiD"
SC: Final = "synthetic control"
DEMEANED: Final = "synthetic control, intercept"
SDID: Final = "SDID"
ATT: Final = "ATT"
_UNIT: Final = "California"
_START: Final = 1989
_SC_WEIGHTS: Final = {
    "Utah": 0.394,
    "Montana": 0.232,
    "Nevada": 0.205,
    "Connecticut": 0.109,
    "New Hampshire": 0.045,
    "Colorado": 0.015,
}
_SDID_WEIGHTS: Final = {"Nevada": 0.124, "New Hampshire": 0.105, "Connecticut": 0.078}
_SDID_YEARS: Final = {1986: 0.3665, 1987: 0.2065, 1988: 0.4271}
_SC_GAPS: Final = {1989: -8.44, 1995: -22.86, 2000: -26.60}
REFERENCE: Final[dict[tuple[str, str], tuple[float, float]]] = {
    (DID, ATT): (-27.349, 0.001),
    (SC, ATT): (-19.514, 0.01),
    (DEMEANED, ATT): (-11.109, 0.02),
    (SDID, ATT): (-15.605, 0.01),
    **{(SC, f"gap in {year}"): (gap, 0.05) for year, gap in _SC_GAPS.items()},
    (SC, "RMSE before"): (1.656, 0.001),
    **{(SC, f"weight of {state}"): (weight, 0.001) for state, weight in _SC_WEIGHTS.items()},
    **{(SDID, f"weight of {state}"): (weight, 0.001) for state, weight in _SDID_WEIGHTS.items()},
    **{(SDID, f"weight of {year}"): (weight, 0.0005) for year, weight in _SDID_YEARS.items()},
}
"""(estimator, quantity) -> the value by closed form or an exact solver, and how far off may be."""
PUBLISHED: Final = {DID: -27.3, SC: -19.6, DEMEANED: -11.1, SDID: -15.6}
"""The ATT in Arkhangelsky et al. (2021), by solvers that stop early."""
_EARLY: Final = {SC: 0.1}
"""How far from the published ATT an exact solver is, where that is more than its rounding."""


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Yields a row for each quantity."""
    table = load_california(context.data("panels").parent)
    found = {DID: _did(table), SC: _sc(table), DEMEANED: _demeaned(table), SDID: _sdid(table)}
    for (name, quantity), (reference, tolerance) in REFERENCE.items():
        estimate = found[name][quantity]
        yield {
            "estimator": name,
            "quantity": quantity,
            "estimate": estimate,
            "reference": reference,
            "tolerance": tolerance,
            "published": PUBLISHED[name] if quantity == ATT else None,
            "off by": abs(estimate - reference),
        }


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether all are within their tolerance, and ATTs are those published up to rounding."""
    lines = []
    for row in rows:
        which = f"{row['estimator']}, {row['quantity']}"
        shown = f"{row['estimate']:.4f} for {row['reference']:g} ± {row['tolerance']:g}"
        lines.append(Line(f"{which} {shown}", row["off by"] <= row["tolerance"]))
        if row["published"] is not None:
            off = abs(row["estimate"] - row["published"])
            text = f"{which} {row['estimate']:.2f} where {row['published']} was published"
            lines.append(Line(text, off <= _EARLY.get(row["estimator"], 0.05)))
    # The weights, where they agree, are left to the table.
    shown = [line for line in lines if ATT in line.text or not line.holds]
    holds, text = verdict(shown)
    return holds, f"{len(lines)} comparisons, of which {text}"


def _did(table: pd.DataFrame) -> dict[str, float]:
    return {ATT: _fitted(H1SL("did", base="constant"), table).att_}


def _demeaned(table: pd.DataFrame) -> dict[str, float]:
    return {ATT: _fitted(SyntheticControl(intercept=True), table).att_}


def _sc(table: pd.DataFrame) -> dict[str, float]:
    learner = _fitted(SyntheticControl(), table)
    gaps = learner.ite_.loc[_UNIT]
    return {
        ATT: learner.att_,
        "RMSE before": float(learner.pre_rmse_[_UNIT]),
        **{f"gap in {year}": float(gap) for year, gap in gaps.items()},
        **_weights(learner),
    }


def _sdid(table: pd.DataFrame) -> dict[str, float]:
    learner = _fitted(SyntheticDiD(), table)
    imputed = learner.learned_.treated
    assert imputed is not None
    assert imputed.time_weights is not None
    years = zip(learner.panel_.times, imputed.time_weights[0], strict=True)
    return {
        ATT: learner.att_,
        **_weights(learner),
        **{f"weight of {year}": float(weight) for year, weight in years if year < _START},
    }


def _weights(learner: PanelEstimator) -> dict[str, float]:
    weights = learner.weights_[_UNIT]
    return {f"weight of {state}": float(weight) for state, weight in weights.items()}


def _fitted(learner: PanelEstimator, table: pd.DataFrame) -> PanelEstimator:
    return learner.fit_frame(table, unit="state", time="year", outcome="packs", treatment="treated")
