"""An index that grows is, after every batch, the one that would be built from all its events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tns_streams import Stream, assert_same, streams

from zoo_core.errors import InputError
from zoo_tns.index import TemporalIndex


def built(stream: Stream) -> TemporalIndex:
    """Builds an index that has the nodes of its events only."""
    return TemporalIndex(stream.src, stream.dst, stream.t, directed=stream.directed)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_batches_in_order(data) -> None:
    stream = data.draw(streams())
    stream = stream._replace(t=sorted(stream.t))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream.t)), max_size=5)))
    index = built(stream.cut(cuts[0] if cuts else 0))
    for begin, end in zip(cuts, [*cuts[1:], len(stream.t)], strict=False):
        index.append(stream.src[begin:end], stream.dst[begin:end], stream.t[begin:end])
        assert_same(index, built(stream.cut(end)))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_batches_out_of_order(data) -> None:
    stream = data.draw(streams())
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream.t)), max_size=5)))
    index = built(stream.cut(cuts[0] if cuts else 0))
    for begin, end in zip(cuts, [*cuts[1:], len(stream.t)], strict=False):
        batch = (stream.src[begin:end], stream.dst[begin:end], stream.t[begin:end])
        index.append(*batch, allow_out_of_order=True)
        assert_same(index, built(stream.cut(end)))


def test_late_events_go_after_those_of_their_own_time() -> None:
    index = TemporalIndex([0, 0, 0], [1, 2, 3], [1, 2, 3])
    index.append([0, 0], [4, 5], [2, 1], allow_out_of_order=True)
    found = index.gather([0], [9], [[1, 2, 3, 4, 5]])
    assert found.node.tolist() == [[3, 4, 2, 5, 1]]
    assert found.edge_id.tolist() == [[2, 3, 1, 4, 0]]


def test_in_order_still_means_after_the_latest_once_a_late_event_came() -> None:
    index = TemporalIndex([0], [1], [10])
    index.append([0], [1], [4], allow_out_of_order=True)
    with pytest.raises(InputError, match="t has 7, which is older"):
        index.append([0], [1], [7])
    index.append([0], [1], [10])
    assert index.gather([0], [99], [[1, 2, 3]]).time.tolist() == [[10, 10, 4]]


def test_new_ids_add_nodes_and_ids_of_events_count_on() -> None:
    index = TemporalIndex([0], [1], [1.0], edge_id=[41], num_nodes=3)
    index.append([9], [0], [2.0])
    index.append([9], [0], [2.5], edge_id=[7])
    index.append([9], [0], [3.0])
    assert index.num_nodes == 10
    assert index.gather([9], [9.0], [[1, 2, 3]]).edge_id.tolist() == [[43, 7, 42]]
    assert index.count([5, 0], [9.0, 9.0]).tolist() == [0, 4]


@pytest.mark.parametrize("times", [[5, 6], [5.5, 6.5]])
def test_an_empty_index_takes_the_kind_of_its_first_times(times) -> None:
    index = TemporalIndex([], [], [], num_nodes=4)
    index.append([0, 1], [1, 2], times)
    assert_same(index, TemporalIndex([0, 1], [1, 2], times, num_nodes=4))


def test_empty_batches_change_nothing() -> None:
    index = TemporalIndex([0], [1], [1])
    index.append([], [], [])
    assert_same(index, TemporalIndex([0], [1], [1]))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (([0, 1], [1], [9, 9]), "dst has length 1; expected 2"),
        (([0], [1], [9, 9]), "t has length 2; expected 1"),
        (([0], [1], [9], [1, 2]), "edge_id has length 2; expected 1"),
        (([0], [-1], [9]), "dst has the negative id -1"),
        (([0.5], [1], [9]), "src are of type float64"),
        (([0], [1], [float("nan")]), "t has NaN or infinite"),
        (([0], [1], [8.5]), "t has 8.5, and the index holds integer times"),
        (([0], [1], [2.0**70]), "t has 1.18.*e.21, and the index holds integer times"),
        (([0], [1], [4]), "t has 4, which is older than the event before it"),
        (([0, 0], [1, 1], [9, 8]), "t has 8, which is older than the event before it"),
        (([0], [1], [9], [-4]), "edge_id has the negative id -4"),
    ],
)
def test_what_is_refused_leaves_the_index_as_it_was(batch, message) -> None:
    index = TemporalIndex([0, 1], [1, 2], [3, 5])
    with pytest.raises(InputError, match=message):
        index.append(*batch)
    assert_same(index, TemporalIndex([0, 1], [1, 2], [3, 5]))
    index.append([0], [1], [9.0])
    assert index.gather([0], [10], [[1]]).edge_id.item() == 2


def test_integers_that_are_no_float_are_refused_among_floats() -> None:
    index = TemporalIndex([0], [1], [0.5])
    with pytest.raises(InputError, match="t has integers beyond 2\\^53"):
        index.append([0], [1], [2**53 + 1])
    index.append([0], [1], [2**53])
    assert index.count([0], [2**53 + 1]).item() == 2


def test_ids_of_events_do_not_count_beyond_the_largest_integer() -> None:
    index = TemporalIndex([0], [1], [1], edge_id=[2**63 - 2])
    assert index.num_edge_ids == 2**63 - 1
    with pytest.raises(InputError, match=f"edge_id cannot count on from {2**63 - 2}, the largest"):
        index.append([0], [1], [2])
    index.append([0], [1], [2], edge_id=[4])
    assert index.gather([0], [9], [[1, 2]]).edge_id.tolist() == [[4, 2**63 - 2]]


@pytest.mark.parametrize("late", [False, True])
def test_room_grows_in_proportion_to_the_events(late) -> None:
    """Each run doubles, and so do the arrays: otherwise many small batches would take O(E^2)."""
    generator = np.random.default_rng(0)
    index = TemporalIndex([], [], [])
    for time in range(400):
        nodes = generator.integers(0, 20, (2, 5))
        index.append(*nodes, [time % 7 if late else time] * 5, allow_out_of_order=late)
    assert index.num_events == 2000
    assert len(index._histories.time) < 8 * 2 * 2000
