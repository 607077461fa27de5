"""The chronological split: quantiles of time, and nodes that training never sees."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch_geometric.data import TemporalData

from zoo_core.errors import InputError
from zoo_tns.events import load_dataset
from zoo_tns.splits import chronological_split


def stream(count=200, nodes=40, seed=0, times=None):
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(nodes, (2, count), generator=generator)
    if times is None:
        times = torch.randint(5 * count, (count,), generator=generator).sort().values
    return TemporalData(src=ends[0], dst=ends[1], t=times, msg=torch.arange(count).float()[:, None])


def nodes_of(data):
    return set(data.src.tolist()) | set(data.dst.tolist())


@settings(deadline=None)
@given(
    times=st.lists(st.integers(0, 30), min_size=60, max_size=60),
    seed=st.integers(0, 5),
    ratio=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_the_parts_are_what_the_protocol_says(times, seed, ratio):
    data = stream(60, 15, seed, torch.tensor(sorted(times)))
    early, middle = np.quantile(sorted(times), [0.7, 0.85])
    val_events = [early < time <= middle for time in sorted(times)]
    assume(any(val_events) and times.count(max(times)) < 9)  # else a part has no events
    split = chronological_split(data, new_node_ratio=ratio)
    hidden = set(split.hidden_nodes.tolist())
    train = [
        event
        for event in range(60)
        if data.t[event] <= early and not hidden & {int(data.src[event]), int(data.dst[event])}
    ]
    assert split.train.msg.flatten().tolist() == train
    assert split.val_mask.tolist() == val_events
    assert split.test_mask.tolist() == [time > middle for time in sorted(times)]
    seen = nodes_of(split.train)
    for part, new in ((split.val, split.new_node_val), (split.test, split.new_node_test)):
        expected = [
            int(event)
            for source, destination, event in zip(part.src, part.dst, part.msg, strict=True)
            if int(source) not in seen or int(destination) not in seen
        ]
        assert new.msg.flatten().tolist() == expected
    late = nodes_of(data[torch.from_numpy(np.array(sorted(times)) > early)])
    assert hidden <= late
    assert len(hidden) == min(int(ratio * len(nodes_of(data))), len(late))


def test_the_drawing_depends_on_its_seed_alone():
    data = stream()
    torch.manual_seed(1)
    first = chronological_split(data)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = chronological_split(data)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.hidden_nodes, second.hidden_nodes)
    assert len(first.hidden_nodes) == 4
    other = chronological_split(data, seed=7)
    assert not torch.equal(first.hidden_nodes, other.hidden_nodes)
    assert torch.equal(first.hidden_nodes, first.hidden_nodes.sort().values)


def test_a_node_that_comes_late_is_new_without_being_hidden():
    data = stream()
    data.dst[-1], data.src[-40] = 40, 41
    split = chronological_split(data, new_node_ratio=0)
    assert len(split.hidden_nodes) == 0
    assert split.new_node_test.dst.tolist() == [40]
    assert split.new_node_val.src.tolist() == [41]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_ratio": 0.0}, "val_ratio is 0.0"),
        ({"test_ratio": 1.0}, "test_ratio is 1.0"),
        ({"val_ratio": 0.5, "test_ratio": 0.5}, "less than 1 together"),
        ({"new_node_ratio": 1.0}, "new_node_ratio is 1.0"),
        ({"val_ratio": "0.1"}, "val_ratio is '0.1'"),
        ({"test_ratio": None}, "test_ratio is None"),
        ({"new_node_ratio": "a"}, "new_node_ratio is 'a'"),
        ({"num_nodes": 45.5}, "num_nodes is 45.5"),
        ({"num_nodes": "45"}, "num_nodes is '45'"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"num_nodes": 39}, "num_nodes is 39, but the largest id is 39"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        chronological_split(stream(), **changes)


def test_unusable_streams_are_refused():
    with pytest.raises(InputError, match="out of order"):
        chronological_split(stream(times=torch.arange(200).flip(0)))
    with pytest.raises(InputError, match="no validation events"):
        chronological_split(stream(times=torch.ones(200, dtype=torch.int64)))


def test_ids_of_bytes_are_no_masks():
    data = stream()
    expected = chronological_split(data)
    data = data[:]
    data.src, data.dst = data.src.to(torch.uint8), data.dst.to(torch.uint8)
    split = chronological_split(data)
    assert split.data.src.dtype == split.data.dst.dtype == torch.int64
    for name in ("train_mask", "new_node_val_mask", "new_node_test_mask", "hidden_nodes"):
        assert torch.equal(getattr(split, name), getattr(expected, name))


@pytest.mark.parametrize("largest", [10**7, 10**12, 2**63 - 1])
def test_ids_with_large_gaps_are_refused_before_anything_is_made_of_them(largest):
    data = stream()
    data.dst[3] = largest
    with pytest.raises(InputError, match=f"the id {largest} and 200 events; .*compact_nodes"):
        chronological_split(data)


def test_nodes_that_no_event_names_take_no_room():
    split = chronological_split(stream(), num_nodes=2**50)
    assert torch.equal(split.train_mask, chronological_split(stream()).train_mask)


def test_more_nodes_than_events_name_are_kept_in_mind():
    assert chronological_split(stream(), num_nodes=50).num_nodes == 50
    assert chronological_split(stream()).num_nodes == 40


COUNTS = {
    "jodie-wikipedia": ([110_232, 23_621, 23_621], [3_256, 3_564]),
    "collegemsg": ([41_884, 8_975, 8_976], [1_036, 847]),
    "sfhh-conference": ([49_262, 10_470, 10_529], [332, 327]),
    "bitcoin-otc": ([24_914, 5_339, 5_339], [1_375, 1_323]),
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="ZOO_DATA names no folder with the data")
def test_the_counts_are_those_published(name):
    data = load_dataset(name)
    split = chronological_split(data, new_node_ratio=0)
    events, nodes = COUNTS[name]
    assert [len(part.src) for part in (split.train, split.val, split.test)] == events
    assert [len(nodes_of(part)) for part in (split.val, split.test)] == nodes
    if name == "jodie-wikipedia":
        labels = [int(part.y.sum()) for part in (split.train, split.val, split.test)]
        assert labels == [156, 17, 44]
        hidden = chronological_split(data).hidden_nodes
        assert len(hidden) == 922
