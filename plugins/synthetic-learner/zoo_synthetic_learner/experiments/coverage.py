"""How often intervals hold the truth, and how often the placebo test rejects it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import binomtest

from zoo_core.errors import ZooWarning
from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_synthetic_learner.experiments.pairs import Line, estimate, verdict
from zoo_synthetic_learner.experiments.runs import LEARNERS, side_by_side
from zoo_synthetic_learner.experiments.simulation import FIRST_SEED
from zoo_synthetic_learner.panel import Floats
from zoo_synthetic_learner.semi_synthetic import SemiSynthetic, assign
from zoo_synthetic_learner.simulation import linear_effect, simulated_panel

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
_SIZES: Final = {"m": 30, "n": 60}
_PLACEBO_SIZES: Final = {"m": 10, "n": 80}
"""With as few treated units, placebos have nearly as many donors as those have."""


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
    """Whether shares are what they should be, within intervals over panels that hold together.

    The intervals are Student's for shares of units, the exact binomial ones for shares of panels,
    each at 1 - 0.05 / their number.
    """
    places = [
        (assignment, name, measure)
        for assignment in (BY_SCORE, AT_RANDOM)
        for name in METHODS
        for measure in MEASURES
    ]
    level = 1 - 0.05 / len(places)
    lines = []
    for assignment, name, measure in places:
        found = values(rows, measure, treated=assignment, method=name)
        low, high = _units(found, level) if measure == TAU else _panels(found, level)
        wanted = LEVEL if measure == REJECTS else 1 - LEVEL
        share = f"{np.mean(found):.2f} [{low:.2f}, {high:.2f}]"
        text = f"{assignment}, {name}: {measure} {share} for {wanted:g}"
        lines.append(Line(text, low <= wanted <= high))
    return verdict(lines)


def _units(found: list[float], level: float) -> tuple[float, float]:
    each = estimate(found, level)
    return each.low, each.high


def _panels(found: list[float], level: float) -> tuple[float, float]:
    test = binomtest(round(sum(found)), len(found))
    interval = test.proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)


def drawn(assignment: str, seed: int, sizes: Mapping[str, int], *, effect: bool) -> SemiSynthetic:
    """Returns a simulated panel with the linear effect or with none.

    Treated are units with large covariates, as the simulation has it, or any, from another stream
    of the seed.
    """
    tau = linear_effect if effect else _no_effect
    if assignment == BY_SCORE:
        return simulated_panel(seed, **sizes, T0=_BEFORE, effect=tau)
    data = simulated_panel(seed, **sizes, T0=_BEFORE, effect=_no_effect)
    lots = np.random.default_rng([seed, 1]).random(len(data.D))
    first_treated = assign(lots, sizes["m"], _BEFORE)
    true = tau(data.S)
    outcome = data.Y.copy()
    outcome[first_treated > 0, _BEFORE:] += true[first_treated > 0, None]
    return SemiSynthetic(Y=outcome, D=first_treated, S=data.S, tau=true)


def _no_effect(covariates: Floats) -> Floats:
    return np.zeros(len(covariates))


def _measured(assignment: str, name: str, seed: int) -> dict[str, Any]:
    of_panel = FIRST_SEED + seed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        data = drawn(assignment, of_panel, _SIZES, effect=True)
        fitted = LEARNERS[name]().fit(data.Y, data.D, data.S)
        found = fitted.bootstrap(n_boot=REPLICATES, random_state=of_panel, n_jobs=1, progress=False)
        null = drawn(assignment, of_panel, _PLACEBO_SIZES, effect=False)
        placebo = (
            LEARNERS[name]()
            .fit(null.Y, null.D, null.S)
            .placebo_space(PLACEBOS, random_state=of_panel, n_jobs=1, progress=False)
        )
    low, high = found.effect_interval(LEVEL)
    least, most = found.att_interval(LEVEL)
    true = data.tau[data.treated].mean()
    return {
        "treated": assignment,
        "method": name,
        "seed": seed,
        TAU: float(np.mean((low <= data.tau) & (data.tau <= high))),
        ATT: bool(least <= true <= most),
        REJECTS: bool(placebo.p_value_att <= LEVEL),
    }
