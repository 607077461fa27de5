"""Whom a placebo treats: units drawn into the pattern of starts that the treated units have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

Assignment = tuple[tuple[int, ...], ...]
"""For each cohort the drawn units, ascending."""


def number_of_assignments(num_units: int, sizes: Sequence[int]) -> int:
    """Returns how many ways there are to fill cohorts of these sizes from the units."""
    number = 1
    for size in sizes:
        number *= math.comb(num_units, size)
        num_units -= size
    return number


def all_assignments(units: Sequence[int], sizes: Sequence[int]) -> Iterator[Assignment]:
    """Yields each of them once.

    Args:
        units: ascending.
        sizes: of the cohorts.
    """
    if not sizes:
        yield ()
        return
    for chosen in itertools.combinations(units, sizes[0]):
        taken = set(chosen)
        rest = [unit for unit in units if unit not in taken]
        for others in all_assignments(rest, sizes[1:]):
            yield (chosen, *others)


def drawn_assignments(
    num_units: int,
    sizes: Sequence[int],
    number: int,
    rng: np.random.Generator,
    *,
    distinct: bool,
) -> list[Assignment]:
    """Returns assignments of units 0 to num_units - 1, each drawn uniformly.

    Args:
        num_units: at least the sum of sizes.
        sizes: of the cohorts.
        number: how many; where they are to be distinct, no more than there are.
        rng: is advanced.
        distinct: whether a repeated one is drawn again.
    """
    ends = np.cumsum(sizes)[:-1]
    drawn: list[Assignment] = []
    known: set[Assignment] = set()
    while len(drawn) < number:
        chosen = rng.choice(num_units, sum(sizes), replace=False)
        assignment = tuple(tuple(sorted(part.tolist())) for part in np.split(chosen, ends))
        if distinct and assignment in known:
            continue
        known.add(assignment)
        drawn.append(assignment)
    return drawn
