"""An index takes nodes without events, and stays as it was where there is no memory for more."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from tns_streams import assert_same

import zoo_tns.histories
import zoo_tns.index
from zoo_core.errors import InputError
from zoo_tns.index import TemporalIndex

ABSURD = [2**63 - 1, 2**62, 10**14]
"""Ids whose arrays NumPy refuses, or no machine has the memory for."""


def index() -> TemporalIndex:
    return TemporalIndex([0, 1], [1, 2], [3, 5])


def state(of: TemporalIndex) -> bytes:
    """Returns all that the index holds."""
    return pickle.dumps((vars(of), vars(of._histories)))


def test_grown_nodes_have_no_events_until_they_get_some() -> None:
    grown = index()
    grown.grow(np.int64(6))
    assert_same(grown, TemporalIndex([0, 1], [1, 2], [3, 5], num_nodes=6))
    assert grown.destinations().tolist() == [1, 2]
    assert grown.count([5], [9]).tolist() == [0]
    grown.append([5], [4], [6])
    assert_same(grown, TemporalIndex([0, 1, 5], [1, 2, 4], [3, 5, 6], num_nodes=6))
    assert grown.destinations().tolist() == [1, 2, 4]
    with pytest.raises(InputError, match="nodes has the id 6, but there are 6 nodes"):
        grown.count([6], [9])


@pytest.mark.parametrize("num_nodes", [0, 2, 3])
def test_growing_never_shrinks(num_nodes) -> None:
    grown = index()
    grown.grow(num_nodes)
    assert_same(grown, index())


def test_an_index_without_events_grows() -> None:
    empty = TemporalIndex([], [], [])
    empty.grow(4)
    assert empty.num_nodes == 4
    empty.append([0], [1], [2.5])
    assert_same(empty, TemporalIndex([0], [1], [2.5], num_nodes=4))


@pytest.mark.parametrize("num_nodes", [-1, 4.0, True, "4", None])
def test_numbers_of_nodes_that_are_none(num_nodes) -> None:
    grown = index()
    with pytest.raises(InputError, match=r"num_nodes is .*; expected an integer of at least 0"):
        grown.grow(num_nodes)
    assert_same(grown, index())


def test_ids_of_events_are_counted_up_to_the_largest() -> None:
    assert TemporalIndex([], [], []).num_edge_ids == 0
    assert index().num_edge_ids == 2
    events = TemporalIndex([0, 0], [1, 1], [1, 2], edge_id=[7, 3])
    assert events.num_edge_ids == 8
    events.append([0], [1], [3], edge_id=[2])
    assert events.num_edge_ids == 8
    events.append([0], [1], [4])
    assert events.num_edge_ids == 9


@pytest.mark.parametrize("largest", ABSURD)
@pytest.mark.parametrize(
    "add",
    [
        lambda to, node: to.append([0], [node], [9]),
        lambda to, node: to.append([node], [0], [1], allow_out_of_order=True),
        lambda to, node: to.grow(node + 1),
    ],
    ids=["append", "late", "grow"],
)
def test_ids_beyond_all_memory_are_refused_and_change_nothing(add, largest) -> None:
    for kept in (index(), TemporalIndex([], [], [], num_nodes=2)):
        before = state(kept)
        with pytest.raises(InputError, match=f"no memory for {largest + 1} nodes, .*; renumber"):
            add(kept, largest)
        assert state(kept) == before


@pytest.mark.parametrize("largest", ABSURD)
def test_an_index_cannot_be_built_of_such_ids(largest) -> None:
    with pytest.raises(InputError, match=f"ids 0 to {largest}, and their events; renumber"):
        TemporalIndex([0], [largest], [1])
    with pytest.raises(InputError, match=f"no memory for {largest + 1} nodes"):
        TemporalIndex([0], [1], [1], num_nodes=largest + 1)


ADDED: dict[str, Callable[[TemporalIndex], None]] = {
    "append": lambda to: to.append([0, 9], [1, 0], [6, 7]),
    "late": lambda to: to.append([0, 9], [1, 0], [4, 7], allow_out_of_order=True),
    "grow": lambda to: to.grow(10),
}


@pytest.mark.parametrize("name", ADDED)
def test_what_fails_at_any_allocation_can_be_done_again(name, monkeypatch) -> None:
    expected = index()
    ADDED[name](expected)
    resized = zoo_tns.histories.resized
    allowed, refused = 0, 0
    while True:
        calls = 0

        def limited(*arguments):
            nonlocal calls
            calls += 1
            if calls > allowed:  # noqa: B023
                raise MemoryError
            return resized(*arguments)

        for module in (zoo_tns.histories, zoo_tns.index):
            monkeypatch.setattr(module, "resized", limited)
        kept = index()
        try:
            ADDED[name](kept)
        except InputError:
            refused += 1
        else:
            break
        finally:
            monkeypatch.undo()
        assert_same(kept, index())
        assert kept.destinations().tolist() == [1, 2]
        again = copy.deepcopy(kept)
        ADDED[name](again)
        assert_same(again, expected)
        allowed += 1
    assert refused >= 4
    assert_same(kept, expected)
