"""How often intervals hold the truth, and how often the placebo test rejects it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from zoo_core.errors import ZooWarning
from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_synthetic_learner.experiments.pairs import Line, estimate, verdict
from zoo_synthetic_learner.experiments.runs import LEARNERS, side_by_side
from zoo_synthetic_learner.experiments.simulation import FIRST_SEED
from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.semi_synthetic import SemiSynthetic, assign
from zoo_synthetic_learner.simulation import simulated_panel

LEVEL: Final = 0.1
REPLICATES: Final = 100
PLACEBOS: Final = 59
METHODS: Final = ("H1SL, ridge", "H2SL, ridge")
TAU: Final = "covers tau"
ATT: Final = "covers ATT"
REJECTS: Final = "placebo rejects"
MEASURES: Final = (TAU, ATT, REJECTS)
BY_SCORE: Final = "by covariate"
AT_RANDOM: Final = "at random"
_BEFORE: Final = 60


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Yields a row for each way to assign treatment, method and seed."""
    jobs = [
        (assignment, name, seed)
        for assignment in (BY_SCORE, AT_RANDOM)
        for name in METHODS
        for seed in context.seeds
    ]
    return side_by_side(context, _measured, jobs)


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether shares are what they should be, within their 95 % intervals over panels."""
    lines = []
    for assignment in (BY_SCORE, AT_RANDOM):
        for name in METHODS:
            for measure in MEASURES:
                wanted = LEVEL if measure == REJECTS else 1 - LEVEL
                found = estimate(values(rows, measure, treated=assignment, method=name))
                text = (
                    f"{assignment}, {name}: {measure} {found.mean:.2f} ± {found.half:.2f} "
                    f"for {wanted:g}"
                )
                lines.append(Line(text, found.low <= wanted <= found.high))
    return verdict(lines)


def _measured(assignment: str, name: str, seed: int) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        data = drawn(assignment, seed, _linear)
        fitted = LEARNERS[name]().fit(data.Y, data.D, data.S)
        found = fitted.bootstrap(n_boot=REPLICATES, random_state=seed)
        null = drawn(assignment, seed, np.zeros_like)
        placebo = LEARNERS[name]().fit(null.Y, null.D, null.S).placebo_space(
            PLACEBOS, random_state=seed
        )
    low, high = found.effect_interval(LEVEL)
    least, most = found.att_interval(LEVEL)
    return {
        "treated": assignment,
        "method": name,
        "seed": seed,
        TAU: float(np.mean((low <= data.tau) & (data.tau <= high))),
        ATT: bool(least <= data.tau[data.treated].mean() <= most),
        REJECTS: bool(placebo.p_value_att <= LEVEL),
    }
