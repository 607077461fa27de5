"""Small streams of events in plain Python, what hypothesis draws of them, and slow look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st

from zoo_tns.index import TemporalIndex
from zoo_tns.neighbors import Neighbors

Entry = tuple[int, int, float]
"""Neighbour, event id and time."""

NOTHING: Entry = (-1, -1, 0)


class Stream(NamedTuple):
    """Events in any order; Python compares its integers and floats exactly."""

    src: list[int]
    dst: list[int]
    t: list[Any]
    num_nodes: int = 6
    directed: bool = False

    def index(self, **options: Any) -> TemporalIndex:
        return TemporalIndex(
            self.src, self.dst, self.t, num_nodes=self.num_nodes, directed=self.directed, **options
        )

    def history(self, node: int, time: float) -> list[Entry]:
        """Returns the events of a node strictly before a time, most recent first."""
        found: list[Entry] = []
        for event in sorted(range(len(self.t)), key=lambda each: self.t[each]):
            if self.t[event] < time:
                if not self.directed and self.src[event] == node:
                    found.append((self.dst[event], event, self.t[event]))
                if self.dst[event] == node:
                    found.append((self.src[event], event, self.t[event]))
        return found[::-1]

    def cut(self, size: int) -> Stream:
        return self._replace(src=self.src[:size], dst=self.dst[:size], t=self.t[:size])


def at(history: Sequence[Entry], position: int) -> Entry:
    """Returns what is at a position, 1 being the most recent, or padding."""
    return history[position - 1] if 1 <= position <= len(history) else NOTHING


def rows(found: Neighbors) -> list[list[Entry]]:
    """Returns the entries of each query, having checked that the mask agrees with them."""
    assert found.mask.equal(found.edge_id >= 0)
    assert found.mask.equal(found.node >= 0)
    columns = (found.node.tolist(), found.edge_id.tolist(), found.time.tolist())
    return [list(zip(*row, strict=True)) for row in zip(*columns, strict=True)]


def everything(index: TemporalIndex) -> list[list[torch.Tensor]]:
    """Returns the whole history of every node, asked after all events and at each of them."""
    found = []
    for time in [*sorted(set(index._histories.time.tolist())), 2.0**62]:
        nodes = torch.arange(index.num_nodes)
        positions = torch.arange(1, 80).repeat(index.num_nodes, 1)
        found.append(list(index.gather(nodes, [time] * len(nodes), positions)))
    return found


def assert_same(one: TemporalIndex, other: TemporalIndex) -> None:
    assert (one.num_nodes, one.num_events) == (other.num_nodes, other.num_events)
    assert one.time_dtype == other.time_dtype
    for mine, theirs in zip(everything(one), everything(other), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a, b)


NODES = st.integers(0, 5)
INTEGERS = st.integers(0, 12)
HALVES = st.integers(0, 24).map(lambda each: each / 2)
UNIX = st.integers(0, 40).map(lambda each: 1_000_000_000 + each / 8)
NANOSECONDS = st.integers(0, 12).map(lambda each: 1_600_000_000_000_000_000 + each)
TIMES = st.sampled_from([INTEGERS, HALVES, UNIX, NANOSECONDS])


@st.composite
def streams(draw: st.DrawFn, smallest: int = 1, times: Any = None, largest: int = 30) -> Stream:
    """Draws streams with few nodes and times, so that both repeat; self-loops are among them."""
    time = times if times is not None else draw(TIMES)
    events = draw(st.lists(st.tuples(NODES, NODES, time), min_size=smallest, max_size=largest))
    src, dst, t = map(list, zip(*events, strict=True)) if events else ([], [], [])
    return Stream(src, dst, t, directed=draw(st.booleans()))


@st.composite
def queries(draw: st.DrawFn, stream: Stream, largest: int = 12) -> tuple[list[int], list[Any]]:
    """Draws nodes and times: those of events, and some before, between and after them."""
    time = st.sampled_from(stream.t) if stream.t else st.just(0)
    whole = all(isinstance(each, int) for each in stream.t)
    moved = st.sampled_from([-1, 0, 0, 1] if whole else [-1, -0.25, 0, 0, 0.25, 1])
    pairs = draw(st.lists(st.tuples(NODES, time, moved), max_size=largest))
    return [node for node, _, _ in pairs], [when + by for _, when, by in pairs]
