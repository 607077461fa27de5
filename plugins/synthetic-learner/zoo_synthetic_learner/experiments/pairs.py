"""Comparisons of what was measured with the same seeds, and lists of them that all have to hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from zoo_core.errors import InputError
from zoo_core.rows import values

Row = Mapping[str, Any]


class Estimate(NamedTuple):
    """A mean over seeds and half the width of its interval by Student's t, at 95 % or as asked.

    Attributes:
        mean: over the seeds.
        half: NaN for one seed, for which no comparison holds.
    """

    mean: float
    half: float

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half

    def __str__(self) -> str:
        if not self.half:
            return f"{self.mean:+.2g} ± {self.half:.1g}"
        # Two digits of the interval, and as many places of the mean.
        places = 1 if math.isnan(self.half) else max(1 - math.floor(math.log10(self.half)), 0)
        return f"{self.mean:+.{places}f} ± {self.half:.{places}f}"


class Line(NamedTuple):
    """One of the statements that a claim consists of."""

    text: str
    holds: bool


def estimate(numbers: npt.ArrayLike, level: float = 0.95) -> Estimate:
    """Returns the mean of numbers [n], one of each seed, with its interval at a level."""
    given = np.asarray(numbers, dtype=np.float64)
    half = math.nan
    if len(given) > 1:
        error = given.std(ddof=1) / math.sqrt(len(given))
        half = float(student.ppf((1 + level) / 2, len(given) - 1) * error)
    return Estimate(float(given.mean()), half)


def difference(
    rows: Sequence[Row],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    measure: str,
    *,
    times: float = 1.0,
) -> Estimate:
    """Returns `times` what one variant measures less what another does, seed by seed.

    Args:
        rows: of an experiment.
        first: column -> value, of the rows of one variant.
        second: the same of the other.
        measure: the column that is compared.
        times: a factor of the first.

    Raises:
        InputError: the two have not the same seeds, each once.
    """
    one, other = (_by_seed(rows, where, measure) for where in (first, second))
    if one.keys() != other.keys():
        raise InputError(f"{_named(first)} and {_named(second)} have not the same seeds.")
    return estimate([times * one[seed] - other[seed] for seed in one])


def below_all(
    rows: Sequence[Row],
    name: str,
    others: Iterable[str],
    measure: str,
    *,
    times: float = 1.0,
    **fixed: Any,
) -> Line:
    """Returns whether a method is below all others by more than the intervals of differences.

    The text has the others that it is not below, or the one it is closest to.

    Args:
        rows: of an experiment, with the methods' names in the column "method".
        name: the method.
        others: names of others.
        measure: the column that is compared.
        times: a factor of the method's.
        **fixed: values of other columns.
    """
    found = {
        other: difference(
            rows, {**fixed, "method": name}, {**fixed, "method": other}, measure, times=times
        )
        for other in others
    }
    failed = [other for other, each in found.items() if not each.high < 0]
    shown = failed or [max(found, key=lambda other: found[other].high)]
    where = "".join(f"{value}: " for value in fixed.values())
    factor = f"{times:g} times " if times != 1 else ""
    texts = ", ".join(f"less {other} {found[other]}" for other in shown)
    more = f", the closest of {len(found)}" if len(found) > 1 and not failed else ""
    return Line(f"{where}{factor}{name} {texts}{more}", not failed)


def mean(rows: Sequence[Row], measure: str, **where: Any) -> float:
    """Returns the mean of a column over the rows whose other columns are as given."""
    return float(np.mean(values(rows, measure, **where)))


def verdict(lines: Iterable[Line]) -> tuple[bool, str]:
    """Returns whether all lines hold, and all of them as one, those that fail first."""
    given = sorted(lines, key=lambda line: line.holds)
    failed = sum(not line.holds for line in given)
    texts = "; ".join(line.text if line.holds else f"NOT {line.text}" for line in given)
    return not failed, f"{len(given) - failed} of {len(given)} hold: {texts}"


def _by_seed(rows: Sequence[Row], where: Mapping[str, Any], measure: str) -> dict[float, float]:
    seeds = values(rows, "seed", **where)
    found = dict(zip(seeds, values(rows, measure, **where), strict=True))
    if len(found) != len(seeds):
        raise InputError(f"{_named(where)} has several rows of one seed.")
    return found


def _named(where: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in where.values())
