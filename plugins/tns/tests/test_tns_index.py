"""Counts, positions and windows of the index against a loop over all events, in both engines."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tns_streams import HALVES, INTEGERS, NODES, Stream, at, queries, rows, streams

from zoo_tns.index import TemporalIndex

ENGINES = ["numpy", "numba"]


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_counts_are_those_of_the_events_strictly_before(engine, data) -> None:
    stream = data.draw(streams())
    nodes, times = data.draw(queries(stream))
    found = stream.index(engine=engine).count(nodes, times)
    assert found.dtype == torch.int64
    expected = [len(stream.history(*query)) for query in zip(nodes, times, strict=True)]
    assert found.tolist() == expected


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_positions_count_back_from_the_most_recent(engine, data) -> None:
    stream = data.draw(streams())
    nodes, times = data.draw(queries(stream))
    row = st.lists(st.integers(-2, 40), min_size=3, max_size=3)
    index = data.draw(st.lists(row, min_size=len(nodes), max_size=len(nodes)))
    positions = torch.tensor(index, dtype=torch.int64).view(len(nodes), 3)
    of = stream.index(engine=engine)
    found = of.gather(nodes, times, positions)
    histories = [stream.history(*query) for query in zip(nodes, times, strict=True)]
    expected = [
        [at(history, each) for each in row] for history, row in zip(histories, index, strict=True)
    ]
    assert rows(found) == expected
    again = of.lookup(nodes, of.count(nodes, times), positions)
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_window_holds_all_from_its_beginning_on_and_not_its_end(engine, data) -> None:
    stream = data.draw(streams())
    nodes, times = data.draw(queries(stream))
    whole = all(isinstance(each, int) for each in stream.t)
    width = data.draw(st.sampled_from([0, 1, 3, 100] if whole else [0, 0.25, 1, 2.5, 100]))
    found = stream.index(engine=engine).window(nodes, times, width)
    columns = (found.node.tolist(), found.edge_id.tolist(), found.time.tolist())
    entries = list(zip(*columns, strict=True))
    offsets = found.offsets.tolist()
    assert offsets[0] == 0
    assert offsets[-1] == len(entries)
    for query, (node, time) in enumerate(zip(nodes, times, strict=True)):
        history = stream.history(node, time)
        expected = [entry for entry in history if entry[2] >= time - width]
        assert entries[offsets[query] : offsets[query + 1]] == expected


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_permuted_batch_gives_permuted_results(data) -> None:
    stream = data.draw(streams())
    nodes, times = data.draw(queries(stream))
    order = data.draw(st.permutations(range(len(nodes))))
    positions = torch.arange(1, 5).repeat(len(nodes), 1)
    index = stream.index()
    plain = index.gather(nodes, times, positions)
    permuted = index.gather([nodes[i] for i in order], [times[i] for i in order], positions)
    for one, other in zip(plain[:4], permuted[:4], strict=True):
        assert torch.equal(one[list(order)], other)


@settings(max_examples=40, deadline=None)
@given(stream=streams(times=INTEGERS), node=NODES, time=HALVES)
def test_integer_times_are_asked_about_between_two_of_them(stream, node, time) -> None:
    assert stream.index().time_dtype == torch.int64
    assert stream.index().count([node], [time]).item() == len(stream.history(node, time))


EDGE = 2**53


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("events", "time"),
    [
        ([EDGE, EDGE + 1, EDGE + 2], float(EDGE + 2)),
        ([float(EDGE), float(EDGE + 2)], EDGE + 1),
        ([float(EDGE), float(EDGE + 2), float(EDGE + 4)], EDGE + 3),
        ([float(EDGE), float(EDGE + 2)], EDGE + 2),
        ([-float(EDGE + 2), -float(EDGE)], -EDGE - 1),
        ([-float(EDGE + 4), -float(EDGE + 2)], -EDGE - 3),
        ([2.0**62, 2.0**63], 2**63 - 2),
        ([2**62, 2**63 - 2], 1e300),
        ([-(2**63), 2**62], -1e300),
        ([-(2**63), 2**62], -(2.0**63)),
        ([-(2**63), 2**62], 2.0**63),
        ([1, 2, 3], -0.5),
        ([-3, -2, -1], -2.5),
        ([0], -0.0),
    ],
)
def test_integers_and_floats_are_compared_exactly_where_no_common_type_is(
    engine, events, time
) -> None:
    size = len(events)
    index = TemporalIndex([0] * size, [1] * size, events, engine=engine)
    times = torch.tensor([time], dtype=torch.float64 if isinstance(time, float) else torch.int64)
    assert index.count([0], times).item() == sum(each < time for each in events)


def test_seconds_near_a_billion_keep_their_fractions() -> None:
    times = [1_500_000_000.25, 1_500_000_000.5, 1_500_000_001.0]
    index = TemporalIndex([0, 0, 0], [1, 2, 3], times)
    found = index.gather([0, 0], [1_500_000_000.5, 1_500_000_000.75], [[1, 2], [1, 2]])
    assert found.time.tolist() == [[times[0], 0.0], [times[1], times[0]]]
    assert index.time_dtype == torch.float64


def test_a_self_loop_is_in_the_history_twice_and_once_if_directed() -> None:
    loop = Stream([0, 1, 0], [1, 1, 1], [1, 2, 3])
    assert loop.index().count([1], [9]).item() == 4
    found = loop.index().gather([1], [9], [[1, 2, 3, 4, 5]])
    assert found.edge_id.tolist() == [[2, 1, 1, 0, -1]]
    assert loop._replace(directed=True).index().count([1, 0], [9, 9]).tolist() == [3, 0]


def test_node_0_and_event_0_are_like_any_other() -> None:
    found = TemporalIndex([0, 0], [1, 0], [0.0, 5.0]).gather([1], [1.0], [[1, 2]])
    assert rows(found) == [[(0, 0, 0.0), (-1, -1, 0.0)]]


def test_ids_of_events_are_those_given_whatever_the_order() -> None:
    index = TemporalIndex([0, 0, 0], [1, 2, 3], [30, 10, 20], edge_id=[7, 8, 100])
    assert index.gather([0], [99], [[1, 2, 3]]).edge_id.tolist() == [[7, 100, 8]]


def test_destinations_are_the_nodes_events_lead_to() -> None:
    index = TemporalIndex([0, 4, 0], [2, 1, 2], [1, 2, 3], num_nodes=6)
    assert index.destinations().tolist() == [1, 2]
    index.append([1], [7], [4])
    assert index.destinations().tolist() == [1, 2, 7]


def test_a_node_without_events_has_an_empty_history() -> None:
    index = TemporalIndex([0], [1], [5], num_nodes=9)
    assert index.count([8, 0, 1], [9, 5, 9]).tolist() == [0, 0, 1]
    assert rows(index.gather([8], [9], [[1, 2]])) == [[(-1, -1, 0), (-1, -1, 0)]]
    assert index.window([8, 1], [9, 9], 4).offsets.tolist() == [0, 0, 1]


@pytest.mark.parametrize("engine", ENGINES)
def test_copies_and_pickles_answer_alike_and_grow_apart(engine) -> None:
    index = TemporalIndex([0, 1, 0], [1, 2, 2], [1.5, 2.5, 3.5], engine=engine)
    for other in (copy.deepcopy(index), pickle.loads(pickle.dumps(index))):  # noqa: S301
        assert other.count([0, 1, 2], [9.0] * 3).tolist() == [2, 2, 2]
        other.append([0], [1], [4.0])
        assert other.count([0], [9.0]).item() == 3
        assert index.count([0], [9.0]).item() == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_strided_and_small_integers_are_read_as_they_are(engine) -> None:
    index = TemporalIndex([0, 0, 0], [1, 1, 1], [1, 2, 3], engine=engine)
    nodes = np.array([0, 9, 1, 9], np.int32)[::2]
    times = np.array([2, 9, 4, 9], np.uint8)[::2]
    positions = torch.tensor([[1, 2], [3, 4]], dtype=torch.int16).t()
    assert index.count(nodes, times).tolist() == [1, 3]
    assert index.gather(nodes, times, positions).edge_id.tolist() == [[0, -1], [1, -1]]


def test_results_are_the_callers_own() -> None:
    index = TemporalIndex([0, 0], [1, 1], [1, 2])
    for found in (index.gather([0], [9], [[1, 2]]), index.window([0], [9], 9)):
        for each in found[1:3]:
            each.fill_(55)
    index.count([0], [9]).fill_(55)
    assert rows(index.gather([0], [9], [[1, 2]])) == [[(1, 1, 2), (1, 0, 1)]]
    assert index.count([0], [9]).item() == 2
