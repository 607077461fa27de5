"""Simulated panels where treated units lie at the edge of the controls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_synthetic_learner.experiments.pairs import Line, below_all, estimate, verdict
from zoo_synthetic_learner.experiments.runs import (
    ALL,
    CONSTANT,
    DID_T,
    S_LEARNER,
    T_LEARNER,
    errors,
    side_by_side,
)
from zoo_synthetic_learner.simulation import simulated_panel

FIRST_SEED: Final = 1000
"""Panels are drawn from this seed and the next ones."""
LINEAR: Final = "linear"
NONLINEAR: Final = "nonlinear"
FEW_TREATED: Final = "m = 10, n = 80"
FEW_CONTROLS: Final = "m = 60, n = 30"
MANY: Final = "m = 60, n = 120"
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    LINEAR: {},
    NONLINEAR: {"effect": "nonlinear"},
    FEW_TREATED: {"m": 10, "n": 80},
    FEW_CONTROLS: {"m": 60, "n": 30},
    MANY: {"m": 60, "n": 120},
}
"""Setting -> arguments of `simulated_panel`; without others m = 30, n = 60, T0 = 60, T1 = 20."""
_OTHERS: Final = (DID_T, T_LEARNER, S_LEARNER, CONSTANT)
METHODS: Final = (
    "H1SL, ridge",
    "H2SL, ridge",
    "H1SL, simplex",
    "H2SL, simplex",
    *_OTHERS,
)
_PILOT: Final[Mapping[str, tuple[float, ...]]] = {
    LINEAR: (0.79, 0.70, 1.05, 0.94, 1.42, 2.42, 2.31, 2.53),
    NONLINEAR: (1.27, 1.22, 1.47, 1.35, 1.73, 2.62, 2.41, 2.50),
    FEW_TREATED: (2.24, 2.06, 1.63, 1.49, 3.58, 6.24, 3.01, 2.96),
    FEW_CONTROLS: (0.63, 1.08, 1.50, 1.14, 1.66, 2.83, 2.33, 2.18),
    MANY: (0.50, 0.47, 1.04, 0.93, 0.95, 1.48, 2.17, 2.45),
}
"""Means of 50 seeds of an earlier prototype, in the order of `METHODS`."""


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Yields a row for each setting, method and seed."""
    jobs = [
        (setting, name, seed) for setting in SETTINGS for name in METHODS for seed in context.seeds
    ]
    return side_by_side(context, _measured, jobs)


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether free weights win, two sides help where there are many controls, and one where not.

    How many means agree with the prototype's is said, and does not count.
    """
    lines = [
        _below(rows, setting, f"{kind}, ridge", f"{kind}, simplex")
        for setting in (LINEAR, NONLINEAR)
        for kind in ("H1SL", "H2SL")
    ]
    lines += [
        _below(rows, setting, "H2SL, ridge", "H1SL, ridge")
        for setting in (LINEAR, FEW_TREATED, MANY)
    ]
    lines.append(_below(rows, FEW_CONTROLS, "H1SL, ridge", "H2SL, ridge"))
    lines += [
        _below(rows, setting, name, *_OTHERS)
        for setting in SETTINGS
        for name in ("H1SL, ridge", "H2SL, ridge")
    ]
    holds, text = verdict(lines)
    return holds, f"{text}; {_agreement(rows)}"


def _below(rows: Sequence[dict[str, Any]], setting: str, name: str, *others: str) -> Line:
    return below_all(rows, name, others, ALL, setting=setting)


def _agreement(rows: Sequence[dict[str, Any]]) -> str:
    """Says which means are further than 2 standard errors of a difference from the prototype's.

    The prototype's standard errors are taken to be ours, as it had as many seeds.
    """
    far = []
    for setting, numbers in _PILOT.items():
        for name, pilot in zip(METHODS, numbers, strict=True):
            found = values(rows, ALL, setting=setting, method=name)
            mean = estimate(found).mean
            spread = math.sqrt(sum((each - mean) ** 2 for each in found) / max(len(found) - 1, 1))
            if abs(mean - pilot) > 2 * math.sqrt(2 / len(found)) * spread + 0.005:
                far.append(f"{setting}: {name} {mean:.2f}, there {pilot:.2f}")
    cells = len(SETTINGS) * len(METHODS)
    said = f"{cells - len(far)} of {cells} means within 2 standard errors of the prototype's"
    return f"{said}; not so {', '.join(far)}" if far else said


def _measured(setting: str, name: str, seed: int) -> dict[str, Any]:
    data = simulated_panel(FIRST_SEED + seed, **SETTINGS[setting])
    pilot = _PILOT[setting][METHODS.index(name)]
    which = {"setting": setting, "method": name, "prototype": pilot, "seed": seed}
    return which | errors(name, data)
