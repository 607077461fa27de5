"""The search in runs of one array, and its compiled twin, against Python's bisect."""

from __future__ import annotations

import bisect
import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_core.errors import InputError
from zoo_tns import compiled, search
from zoo_tns.index import TemporalIndex

RUNS = st.lists(st.lists(st.integers(-3, 3), max_size=20).map(sorted), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), runs=RUNS, dtype=st.sampled_from([np.int64, np.float64]))
def test_both_count_what_bisect_counts(data, runs, dtype) -> None:
    """Runs have gaps between them that hold anything, as after runs have moved."""
    gap = data.draw(st.integers(0, 3))
    filler = data.draw(st.sampled_from([-9, 0, 9]))
    time, start = [0], []
    for run in runs:
        start.append(len(time))
        time += [*run, *([filler] * gap)]
    size = st.lists(
        st.tuples(st.integers(0, len(runs) - 1), st.sampled_from([-4, -3, -1, 0, 1, 3, 4])),
        max_size=20,
    )
    asked = data.draw(size)
    ids = np.array([run for run, _ in asked], np.int64)
    cuts = np.array([cut for _, cut in asked], dtype)
    arrays = (
        np.array(time, dtype),
        np.array(start, np.int64),
        np.array([len(run) for run in runs], np.int64),
    )
    expected = [bisect.bisect_left(runs[run], cut) for run, cut in asked]
    per_query = (arrays[0], arrays[1][ids], arrays[2][ids], cuts)
    assert search.count_before(*per_query).tolist() == expected
    assert compiled.count_before(*arrays, ids, cuts).tolist() == expected


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65])
def test_every_place_of_a_run_is_found(length) -> None:
    """One step fewer than the length has bits would miss some."""
    time = np.concatenate(([0], np.arange(length), [-5]))
    cuts = np.arange(-1, length + 2)
    ones = np.ones_like(cuts)
    found = search.count_before(time, ones, ones * length, cuts)
    assert found.tolist() == np.clip(cuts, 0, length).tolist()


def test_a_search_leaves_its_inputs_alone() -> None:
    arrays = [np.array([0, 1, 2, 3]), np.array([1, 1]), np.array([3, 3]), np.array([2, 9])]
    before = [each.copy() for each in arrays]
    found = search.count_before(*arrays)
    found[:] = -1
    for one, other in zip(arrays, before, strict=True):
        assert one.tolist() == other.tolist()
    later = np.array([9, 9])
    search.count_before(*arrays[:3], later)[:] = -1
    assert arrays[2].tolist() == [3, 3]


def test_without_numba_auto_is_numpy_and_numba_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    index = TemporalIndex([0], [1], [1], engine="auto")
    monkeypatch.setattr(
        compiled, "_loops", lambda: pytest.fail("the compiled loops were asked for")
    )
    assert index.count([0], [2]).item() == 1
    assert index.gather([0], [2], [[1]]).node.item() == 1
    with pytest.raises(InputError, match=r"engine is 'numba', .* install zoo-tns\[fast\]"):
        TemporalIndex([0], [1], [1], engine="numba")


def test_numpy_does_not_use_numba_and_auto_does(monkeypatch) -> None:
    def asked() -> None:
        raise AssertionError

    monkeypatch.setattr(compiled, "_loops", asked)
    TemporalIndex([0], [1], [1]).gather([0], [2], [[1]])
    with pytest.raises(AssertionError):
        TemporalIndex([0], [1], [1], engine="auto").count([0], [2])
