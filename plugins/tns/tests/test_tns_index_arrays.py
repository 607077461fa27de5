"""Ids and times reach torch as arrays that it can share, whatever views they were given as."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from zoo_tns.checks import as_ids, as_nodes, as_positions, as_times
from zoo_tns.index import TemporalIndex


def _frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def _unaligned(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"\0" + array.tobytes(), array.dtype, offset=1)


VIEWS = {
    "reversed": lambda array: array[::-1].copy()[::-1],
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2],
    "read-only": _frozen,
    "unaligned": _unaligned,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "broadcast": lambda array: np.broadcast_to(array, (2, *array.shape))[1],
    "tensor": lambda array: torch.from_numpy(np.repeat(array, 2, axis=0))[::2],
}
CHECKS = {
    "ids": lambda given: as_ids(given, "x"),
    "nodes": lambda given: as_nodes(given, 9),
    "times": lambda given: as_times(given, "x"),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("check", CHECKS)
def test_torch_shares_them_and_may_write(check, size, view) -> None:
    plain = np.arange(size) + 4
    given = VIEWS[view](plain)
    found = CHECKS[check](given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shared = torch.from_numpy(found)
    assert shared.is_contiguous()
    assert shared.tolist() == plain.tolist()


@pytest.mark.parametrize("view", [each for each in VIEWS if each != "unaligned"])
def test_positions_are_shared_as_well(view) -> None:
    plain = np.arange(6).reshape(2, 3)
    found = as_positions(VIEWS[view](plain), 2, "x")
    assert torch.from_numpy(found).tolist() == plain.tolist()
    assert found.flags.writeable


def test_float_times_are_too() -> None:
    times = np.array([0.5, 1.5, 2.5])
    for view in VIEWS.values():
        found = as_times(view(times), "x")
        assert torch.from_numpy(found).tolist() == times.tolist()
        assert found.flags.writeable
        assert found.flags.c_contiguous


def test_what_is_plain_already_is_not_copied() -> None:
    ids, times = np.arange(3), np.arange(3.0)
    assert as_ids(ids, "x") is ids
    assert as_times(times, "x") is times


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_an_index_takes_views_everywhere(engine) -> None:
    src, dst, t = np.array([2, 1, 0]), np.array([5, 4, 3]), np.array([9, 8, 7])
    whole = TemporalIndex(src, dst, t, engine=engine)
    nodes, times, positions = np.arange(6), np.full(6, 10), np.ones((6, 2), np.int64)
    expected = [each.tolist() for each in whole.gather(nodes, times, positions)]
    for view in (VIEWS["reversed"], VIEWS["read-only"]):
        index = TemporalIndex(view(src), view(dst), view(t), engine=engine)
        found = index.gather(view(nodes), view(times), view(positions))
        assert [each.tolist() for each in found] == expected
