"""Known effects added to real outcomes: wages of 50 states, cigarette sales of 38."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from zoo_core.experiment import Context
from zoo_synthetic_learner.experiments.pairs import Line, below_all, difference, verdict
from zoo_synthetic_learner.experiments.runs import (
    ALL,
    DID_T,
    S_LEARNER,
    SC,
    T_LEARNER,
    X_LEARNER,
    errors,
    side_by_side,
)
from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.panel_files import cps_panel, smoking_panel
from zoo_synthetic_learner.semi_synthetic import semi_synthetic_panel

METHODS: Final = (
    "H1SL, simplex",
    "H2SL, simplex",
    "H2SL, simplex, half",
    "H1SL, auto",
    "H2SL, auto",
    "H1SL, ridge by GCV",
    "H1SL, did",
    "H2SL, did",
    DID_T,
    T_LEARNER,
    S_LEARNER,
    X_LEARNER,
    SC,
)
OURS: Final = ("H1SL, simplex", "H2SL, simplex", "H1SL, auto", "H2SL, auto")
OTHERS: Final = (DID_T, T_LEARNER, S_LEARNER)


@dataclass(frozen=True)
class _Design:
    panel: Callable[[Path], tuple[pd.DataFrame, pd.DataFrame]]
    tau: Callable[[Floats], Floats]
    treated: int
    before: int


def _wage_effect(covariates: Floats) -> Floats:
    return 0.05 + 0.05 * covariates[:, 0] - 0.03 * covariates[:, 1]


def _smoking_effect(covariates: Floats) -> Floats:
    return -10 - 6 * covariates[:, 0] + 4 * covariates[:, 1]


_CPS: Final = _Design(cps_panel, _wage_effect, treated=15, before=30)
_SMOKING: Final = _Design(smoking_panel, _smoking_effect, treated=12, before=19)


def run_cps(context: Context) -> Iterator[dict[str, Any]]:
    """Yields a row for each method and seed: log wages, 15 of 50 states treated after 30 years."""
    return _run(context, _CPS)


def run_smoking(context: Context) -> Iterator[dict[str, Any]]:
    """Yields a row for each method and seed: packs, 12 of 38 states treated after 19 years."""
    return _run(context, _SMOKING)


def check_cps(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the synthetic learners are below the others, and below half of one effect for all."""
    halves = [below_all(rows, name, (SC,), ALL, times=2) for name in OURS]
    return verdict([*_below_others(rows), *halves])


def check_smoking(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the synthetic learners are below the others, and two sides not above one."""
    sides = []
    for kind in ("simplex", "auto"):
        two, one = f"H2SL, {kind}", f"H1SL, {kind}"
        found = difference(rows, {"method": two}, {"method": one}, ALL)
        sides.append(Line(f"{two} less {one} {found}", found.mean <= 0))
    return verdict([*_below_others(rows), *sides])


def _below_others(rows: Sequence[dict[str, Any]]) -> list[Line]:
    return [below_all(rows, name, OTHERS, ALL) for name in OURS]


def _run(context: Context, design: _Design) -> Iterator[dict[str, Any]]:
    outcome, covariates = design.panel(context.data("panels").parent)
    jobs = [
        (outcome.to_numpy(), covariates.to_numpy(), design, name, seed)
        for name in METHODS
        for seed in context.seeds
    ]
    return side_by_side(context, _measured, jobs)


def _measured(
    outcome: Floats, covariates: Floats, design: _Design, name: str, seed: int
) -> dict[str, Any]:
    data = semi_synthetic_panel(
        outcome, covariates, design.tau, design.treated, seed, design.before
    )
    return {"method": name, "seed": seed} | errors(name, data)
