"""How errors change with the numbers of periods and units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from zoo_core.experiment import Context
from zoo_synthetic_learner.experiments.pairs import Line, difference, mean, verdict
from zoo_synthetic_learner.experiments.runs import ALL, DID_T, T_LEARNER, errors, side_by_side
from zoo_synthetic_learner.experiments.simulation import FIRST_SEED
from zoo_synthetic_learner.simulation import simulated_panel

H1SL_RIDGE: Final = "H1SL, ridge"
H2SL_RIDGE: Final = "H2SL, ridge"
METHODS: Final = (H1SL_RIDGE, H2SL_RIDGE, DID_T, T_LEARNER)
VARIED: Final[Mapping[str, tuple[int, ...]]] = {
    "T0": (15, 30, 60, 120),
    "m": (10, 20, 40, 80),
    "n": (30, 60, 120, 240),
    "T1": (5, 20, 80, 320),
}
"""What is varied, the others being m = 30, n = 60, T0 = 60, T1 = 20."""
_FALLING: Final = (
    ("T0", H1SL_RIDGE),
    ("T0", H2SL_RIDGE),
    ("m", H1SL_RIDGE),
    ("m", H2SL_RIDGE),
    ("n", H2SL_RIDGE),
)


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Yields a row for each number that is varied, its value, method and seed."""
    jobs = [
        (varied, value, name, seed)
        for varied, numbers in VARIED.items()
        for value in numbers
        for name in METHODS
        for seed in context.seeds
    ]
    return side_by_side(context, _measured, jobs)


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether errors fall as they should, stay where they should, and rise for the T-learner.

    An error falls if it is smaller at the last value than at the first beyond the interval, and at
    no value larger than at the one before it beyond the interval.
    """
    lines = [_falls(rows, varied, name) for varied, name in _FALLING]
    lines += [_stays(rows, name) for name in (H1SL_RIDGE, H2SL_RIDGE)]
    first, last = VARIED["T0"][0], VARIED["T0"][-1]
    worse = difference(rows, _where("T0", last, T_LEARNER), _where("T0", first, T_LEARNER), ALL)
    text = f"{T_LEARNER} at T0 = {last} less at {first} {worse}"
    return verdict([*lines, Line(text, worse.low > 0)])


def _falls(rows: Sequence[dict[str, Any]], varied: str, name: str) -> Line:
    numbers = VARIED[varied]
    whole = _change(rows, varied, name, numbers[0], numbers[-1])
    rises = [each for each in pairwise(numbers) if not _change(rows, varied, name, *each).low <= 0]
    means = ", ".join(f"{_mean(rows, varied, value, name):.2f}" for value in numbers)
    text = f"{name} falls with {varied}: {means}, last less first {whole}"
    return Line(text, whole.high < 0 and not rises)


def _stays(rows: Sequence[dict[str, Any]], name: str) -> Line:
    """Averages over 64 times as many periods would have an eighth of the error."""
    few, many = VARIED["T1"][0], VARIED["T1"][-1]
    found = difference(rows, _where("T1", many, name), _where("T1", few, name), ALL, times=2)
    left = _mean(rows, "T1", many, name) / _mean(rows, "T1", few, name)
    text = f"{name} at T1 = {many} is {left:.2f} times that at {few}, twice it less that {found}"
    return Line(text, found.low > 0)


def _change(rows: Sequence[dict[str, Any]], varied: str, name: str, before: int, after: int) -> Any:
    return difference(rows, _where(varied, after, name), _where(varied, before, name), ALL)


def _mean(rows: Sequence[dict[str, Any]], varied: str, value: int, name: str) -> float:
    return mean(rows, ALL, **_where(varied, value, name))


def _where(varied: str, value: int, name: str) -> dict[str, Any]:
    return {"varied": varied, "value": value, "method": name}


def _measured(varied: str, value: int, name: str, seed: int) -> dict[str, Any]:
    data = simulated_panel(FIRST_SEED + seed, **{varied: value})
    return {"varied": varied, "value": value, "method": name, "seed": seed} | errors(name, data)
