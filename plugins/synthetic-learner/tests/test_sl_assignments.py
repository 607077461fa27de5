"""Whom placebos treat: all ways or some, each as likely as the others."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from zoo_synthetic_learner.inference.assignments import (
    all_assignments,
    drawn_assignments,
    number_of_assignments,
)


def _slow(num_units, sizes):
    """All orders of the units, cut into cohorts, of which the order within does not count."""
    found = set()
    for order in itertools.permutations(range(num_units), sum(sizes)):
        ends = np.cumsum(sizes)[:-1]
        found.add(tuple(tuple(sorted(part.tolist())) for part in np.split(order, ends)))
    return found


@pytest.mark.parametrize(
    ("num_units", "sizes"), [(5, [1]), (5, [2]), (6, [2, 1]), (5, [1, 1]), (6, [1, 2, 1])]
)
def test_all_assignments_are_those_of_all_orders(num_units, sizes):
    found = list(all_assignments(range(num_units), sizes))
    expected = _slow(num_units, sizes)
    assert set(found) == expected
    assert len(found) == len(expected) == number_of_assignments(num_units, sizes)


def test_the_number_by_hand():
    assert number_of_assignments(38, [1]) == 38
    # 10 units: 3 of 10 and then 2 of the other 7.
    assert number_of_assignments(10, [3, 2]) == 120 * 21
    assert number_of_assignments(10_000, [50, 50]) > 10**200


def test_draws_are_uniform_over_all_ways():
    rng = np.random.default_rng(0)
    drawn = drawn_assignments(5, [2, 1], 30_000, rng, distinct=False)
    counts = Counter(drawn)
    assert set(counts) == set(all_assignments(range(5), [2, 1]))
    # 30 ways, each 1000 times with a standard deviation of 31.
    assert max(abs(count - 1000) for count in counts.values()) < 150


def test_distinct_draws_are_distinct_up_to_all_of_them():
    drawn = drawn_assignments(6, [2], 15, np.random.default_rng(0), distinct=True)
    assert set(drawn) == set(all_assignments(range(6), [2]))
    assert len(drawn) == 15


def test_draws_that_may_repeat_do():
    drawn = drawn_assignments(6, [1], 200, np.random.default_rng(0), distinct=False)
    assert len(drawn) == 200
    assert len(set(drawn)) == 6
