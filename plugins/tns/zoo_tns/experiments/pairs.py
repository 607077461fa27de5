"""Differences between two variants, seed by seed, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from zoo_core.errors import InputError
from zoo_core.rows import values


class Difference(NamedTuple):
    """The mean of a difference over seeds, and its 95 % interval by Student's t.

    Attributes:
        mean: over the seeds.
        half: half the width of the interval; NaN for one seed.
        n: the number of seeds.
    """

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.half:.1f}"


def difference(
    rows: Sequence[Mapping[str, Any]],
    first: str,
    second: str,
    measure: str = "test AP",
    column: str = "sampling",
    **fixed: Any,
) -> Difference:
    """Returns how much more one variant measures than another with the same seeds.

    Args:
        rows: of an experiment.
        first: the variant whose measure counts positive.
        second: the other one.
        measure: the column that is compared.
        column: where the variants' names are.
        **fixed: values of other columns.

    Raises:
        InputError: the two have not the same seeds, each once.
    """
    found = []
    for name in (first, second):
        where = {column: name, **fixed}
        seeds = values(rows, "seed", **where)
        found.append(dict(zip(seeds, values(rows, measure, **where), strict=True)))
        if len(found[-1]) != len(seeds):
            raise InputError(f"{name} has several rows of one seed.")
    if not found[0] or found[0].keys() != found[1].keys():
        raise InputError(f"{first} and {second} have not the same seeds.")
    gaps = np.array([found[0][seed] - found[1][seed] for seed in found[0]])
    half = math.nan
    if len(gaps) > 1:
        error = gaps.std(ddof=1) / math.sqrt(len(gaps))
        half = float(student.ppf(0.975, len(gaps) - 1) * error)
    return Difference(float(gaps.mean()), half, len(gaps))
