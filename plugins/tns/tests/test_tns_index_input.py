"""What an index refuses, by the name of the argument, and what it takes as empty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import TemporalData

from zoo_core.errors import InputError
from zoo_tns.index import TemporalIndex

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [1], [1]), "dst has length 1; expected 2"),
        (([0], [1], [1, 2]), "t has length 2; expected 1"),
        (([0], [1], [1], [0, 1]), "edge_id has length 2; expected 1"),
        (([[0]], [1], [1]), r"src has shape \[1, 1\]; expected one dimension"),
        (([0], [1], 1.0), r"t has shape \[\]; expected one dimension"),
        (([0], [[1], [1, 2]], [1]), "dst is no array of numbers"),
        (([-1], [1], [1]), "src has the negative id -1"),
        (([0], [-2], [1]), "dst has the negative id -2"),
        (([0], [1], [1], [-3]), "edge_id has the negative id -3"),
        (([0.0], [1], [1]), "src are of type float64; expected integers"),
        ((torch.tensor([0.0]), [1], [1]), "src are of type float32; expected integers"),
        (([True], [1], [1]), "src are of type bool; expected integers"),
        (([0], ["a"], [1]), "dst are of type <U1; expected integers"),
        (([0], [None], [1]), "dst are of type object; expected integers"),
        (([0], [1], [[1], [1, 2]]), "t is no array of numbers"),
        (("01", [1], [1]), r"src has shape \[\]; expected one dimension"),
        (([0], torch.ones(1, device="meta"), [1]), "dst is on the meta device, without values"),
        (([0], [1], torch.ones(1, device="meta")), "t is on the meta device, without values"),
        (([0], torch.ones(1).to_sparse(), [1]), "dst is no array of numbers"),
        (([0], [torch.ones(1, requires_grad=True)], [1]), "dst is no array of numbers"),
        (([0], np.array([2**63], np.uint64), [1]), "dst has the id 9223372036854775808"),
        (([0], [1], [NAN]), "t has NaN or infinite values"),
        (([0], [1], [-INF]), "t has NaN or infinite values"),
        (([0], [1], ["noon"]), "t are of type <U4; expected integers or floats"),
        (([0], [1], [1j]), "t are of type complex128"),
        (([0], [1], [True]), "t are of type bool"),
        (([0], [1], [2**63 - 1]), "t has the value 9223372036854775807; expected below"),
        (([0], [1], np.array([2**63], np.uint64)), "t has the value 9223372036854775808"),
    ],
)
def test_events_that_are_none(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        TemporalIndex(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_nodes": 3}, "dst has the id 3, but num_nodes is 3"),
        ({"num_nodes": 2}, "dst has the id 3, but num_nodes is 2"),
        ({"num_nodes": 4.0}, "num_nodes is 4.0; expected an integer"),
        ({"num_nodes": True}, "num_nodes is True; expected an integer"),
        ({"engine": "cuda"}, "engine is 'cuda'; expected 'numpy', 'numba' or 'auto'"),
    ],
)
def test_options_that_do_not_fit(options, message) -> None:
    with pytest.raises(InputError, match=message):
        TemporalIndex([2], [3], [1], **options)


def test_the_argument_with_the_id_beyond_is_named() -> None:
    with pytest.raises(InputError, match="src has the id 8, but num_nodes is 5"):
        TemporalIndex([8], [3], [1], num_nodes=5)


def test_a_negative_number_of_nodes_is_refused_without_events_too() -> None:
    with pytest.raises(InputError, match="num_nodes is -1; expected an integer of at least 0"):
        TemporalIndex([], [], [], num_nodes=-1)


@pytest.fixture
def index() -> TemporalIndex:
    return TemporalIndex([0, 1], [1, 2], [3, 5], num_nodes=4)


@pytest.mark.parametrize("ask", ["count", "gather", "window"])
@pytest.mark.parametrize(
    ("nodes", "times", "message"),
    [
        ([4], [1], "nodes has the id 4, but there are 4 nodes"),
        ([-1], [1], "nodes has the negative id -1"),
        ([0.0], [1], "nodes are of type float64"),
        ([0, 1], [1], "times has length 1; expected 2"),
        ([0], [NAN], "times has NaN or infinite"),
        ([0], [INF], "times has NaN or infinite"),
        ([0], ["x"], "times are of type <U1"),
        ([[0]], [1], r"nodes has shape \[1, 1\]"),
        (0, [1], r"nodes has shape \[\]"),
    ],
)
def test_queries_that_are_none(index, ask, nodes, times, message) -> None:
    rest = {"count": (), "gather": (torch.ones(len(np.atleast_1d(nodes)), 2).long(),)}
    with pytest.raises(InputError, match=message):
        getattr(index, ask)(nodes, times, *rest.get(ask, (1,)))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([[1.0]], "are of type float64; expected integers"),
        ([1], r"has shape \[1\]; expected \[1, K\]"),
        ([[1], [1]], r"has shape \[2, 1\]; expected \[1, K\]"),
        ([[True]], "are of type bool"),
        ([[1, 2], [1]], "is no array of numbers"),
        (torch.ones(1, 1, device="meta"), "is on the meta device"),
    ],
)
def test_positions_that_are_none(index, positions, message) -> None:
    with pytest.raises(InputError, match=f"index {message}"):
        index.gather([0], [9], positions)
    with pytest.raises(InputError, match=f"positions {message}"):
        index.lookup([0], [1], positions)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([2], "counts has more events than the node has"),
        ([-1], "counts has the negative id -1"),
        ([1, 1], "counts has length 2; expected 1"),
        ([1.0], "counts are of type float64"),
    ],
)
def test_counts_that_are_none(index, counts, message) -> None:
    with pytest.raises(InputError, match=message):
        index.lookup([0], counts, [[1]])


@pytest.mark.parametrize("width", [-1, NAN, INF, "1", True, None])
def test_widths_that_are_none(index, width) -> None:
    with pytest.raises(InputError, match="width is"):
        index.window([0], [9], width)


def test_windows_reach_beyond_the_smallest_integer_without_turning_over() -> None:
    index = TemporalIndex([0, 0], [1, 1], [-(2**63), 5])
    assert index.window([0, 0], [-(2**63) + 1, 9], 10).time.tolist() == [-(2**63), 5]
    assert index.window([0], [9], 2**62 * 2).time.tolist() == [5]
    assert index.window([0], [-1], 2**80).time.tolist() == [-(2**63)]


@pytest.mark.parametrize("nodes", [[], torch.zeros(0), torch.zeros(0, dtype=torch.int64)])
@pytest.mark.parametrize("events", [0, 2])
def test_an_empty_batch_gives_empty_results(nodes, events) -> None:
    index = TemporalIndex([0, 1][:events], [1, 2][:events], [3, 5][:events])
    assert index.count(nodes, []).shape == (0,)
    found = index.gather(nodes, [], torch.zeros(0, 5, dtype=torch.int64))
    assert [each.shape for each in found] == [(0, 5)] * 4
    window = index.window(nodes, [], 3)
    assert window.offsets.tolist() == [0]
    assert window.node.shape == (0,)


def test_no_columns_give_none(index) -> None:
    assert index.gather([0, 1], [9, 9], np.zeros((2, 0), np.int64)).mask.shape == (2, 0)


def test_an_index_without_events_cannot_be_asked() -> None:
    index = TemporalIndex([], [], [], num_nodes=3)
    assert (index.num_nodes, index.num_events) == (3, 0)
    for ask in (
        lambda: index.count([0], [1]),
        lambda: index.gather([0], [1], [[1]]),
        lambda: index.lookup([0], [0], [[1]]),
        lambda: index.window([0], [1], 1),
    ):
        with pytest.raises(InputError, match="the index has no events; append some"):
            ask()
    with pytest.raises(InputError, match="nodes has the id 0, but there are 0 nodes"):
        TemporalIndex([], [], []).count([0], [1])


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        ([1, 2], torch.int64),
        (np.array([1, 2], np.uint32), torch.int64),
        (torch.tensor([1, 2], dtype=torch.int16), torch.int64),
        ([1.5, 2], torch.float64),
        (torch.tensor([1.1, 2.2]), torch.float64),
        (torch.tensor([1.5, 2.5], dtype=torch.bfloat16), torch.float64),
        (torch.tensor([1.5, 2.5], requires_grad=True), torch.float64),
        (np.array([1.5, 2.5], np.float16), torch.float64),
    ],
)
def test_times_are_integers_or_doubles_and_lose_no_digit(times, kind) -> None:
    index = TemporalIndex([0, 0], [1, 1], times)
    assert index.time_dtype == kind
    found = index.gather([0], [9], [[2, 1]])
    assert found.time.dtype == kind
    assert found.time[0].tolist() == [
        each.item() if hasattr(each, "item") else each for each in times
    ]


def test_temporal_data_is_read() -> None:
    data = TemporalData(src=torch.tensor([0, 1]), dst=torch.tensor([1, 2]), t=torch.tensor([3, 5]))
    index = TemporalIndex.from_data(data, num_nodes=7, directed=True)
    assert (index.num_nodes, index.num_events, index.directed) == (7, 2, True)
    assert index.count([1, 2, 0], [9, 9, 9]).tolist() == [1, 1, 0]
    assert repr(index) == "TemporalIndex(7 nodes, 2 events, directed)"
    with pytest.raises(InputError, match="data has no t; expected src, dst and t"):
        TemporalIndex.from_data(TemporalData(src=data.src, dst=data.dst))


def test_what_was_given_is_neither_changed_nor_kept() -> None:
    src, dst, t = (np.array(each) for each in ([0, 1, 0], [1, 2, 2], [9, 4, 6]))
    index = TemporalIndex(src, dst, t)
    assert (src.tolist(), dst.tolist(), t.tolist()) == ([0, 1, 0], [1, 2, 2], [9, 4, 6])
    src[:], dst[:], t[:] = 5, 5, 0
    assert index.gather([0], [99], [[1, 2]]).time.tolist() == [[9, 6]]
