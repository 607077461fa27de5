"""Nothing at or after the time asked about changes what is found: not if altered, gone or added."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tns_sampling import DETERMINISTIC
from tns_streams import Stream, streams
from torch_geometric.sampler import EdgeSamplerInput, NegativeSampling, NodeSamplerInput

from zoo_tns.index import TemporalIndex
from zoo_tns.samplers import UniformSampler
from zoo_tns.temporal_sampler import TemporalSampler

SAMPLERS: dict[str, TemporalSampler] = {
    **DETERMINISTIC,
    "uniform": UniformSampler([3, 2], seed=0),
    "uniform, event, without replacement": UniformSampler(
        [3, 2], seed=0, neighbor_time="event", replace=False
    ),
}


def index(stream: Stream, kept: list[int], **changed: list[Any]) -> TemporalIndex:
    """Returns the index of some events of a stream, which keep their ids."""
    columns = {"src": stream.src, "dst": stream.dst, "t": stream.t, **changed}
    src, dst, t = ([columns[name][event] for event in kept] for name in ("src", "dst", "t"))
    return TemporalIndex(src, dst, t, edge_id=kept, num_nodes=6, directed=stream.directed)


def poisoned(random: Random, stream: Stream, time: Any) -> Iterator[TemporalIndex]:
    """Yields indices that agree on all events before the time."""
    everything = list(range(len(stream.t)))
    later = [event for event in everything if stream.t[event] >= time]
    yield index(stream, [event for event in everything if event not in later])
    gone = random.sample(later, random.randint(0, len(later)))
    yield index(stream, [event for event in everything if event not in gone])
    src, dst, t = (list(column) for column in stream[:3])
    for event in later:
        src[event], dst[event] = random.randrange(6), random.randrange(6)
        t[event] = time + random.randint(0, 3)
    yield index(stream, everything, src=src, dst=dst, t=t)
    grown = index(stream, everything)
    grown.append(list(range(6)), [0] * 6, [max(stream.t)] * 6)
    grown.append(list(range(6)), [1] * 6, [time] * 6, allow_out_of_order=True)
    yield grown


@st.composite
def moments(draw: st.DrawFn) -> tuple[Stream, Any, Random]:
    """Draws a stream, the time of one of its events that is not the first, and a poisoner."""
    stream = draw(streams(smallest=4))
    time = draw(st.sampled_from(stream.t))
    assume(time > min(stream.t))
    return stream, time, draw(st.randoms(use_true_random=False))


def assert_equal(one: Any, other: Any) -> None:
    """Compares tensors, and whatever holds them."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_equal(mine, theirs)
    else:
        assert one == other


@settings(max_examples=60, deadline=None)
@given(moment=moments())
def test_the_index(moment) -> None:
    stream, time, random = moment
    nodes, times = list(range(6)), [time] * 6
    positions = torch.arange(1, 9).repeat(6, 1)

    def asked(of: TemporalIndex) -> Any:
        return (
            of.count(nodes, times),
            of.gather(nodes, times, positions),
            of.window(nodes, times, 2),
        )

    expected = asked(index(stream, list(range(len(stream.t)))))
    for other in poisoned(random, stream, time):
        assert_equal(asked(other), expected)


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=12, deadline=None)
@given(moment=moments())
def test_every_sampler_and_hop(name, moment) -> None:
    stream, time, random = moment
    nodes, times = torch.arange(6), torch.tensor([time] * 6)
    seeds = NodeSamplerInput(None, nodes, times)
    edges = EdgeSamplerInput(None, nodes[:3], nodes[3:], None, times[:3])

    def asked(of: TemporalIndex) -> Any:
        torch.manual_seed(0)
        found = []
        for ask in (
            lambda sampler: sampler.sample_from_nodes(seeds),
            lambda sampler: sampler.sample_from_edges(edges, NegativeSampling("triplet", 2)),
        ):
            out = ask(SAMPLERS[name].bind(of))
            found.append((out.node, out.row, out.col, out.edge, out.batch, list(out.metadata)))
        return [SAMPLERS[name].bind(of).sample(nodes, times), *found]

    expected = asked(index(stream, list(range(len(stream.t)))))
    for other in poisoned(random, stream, time):
        assert_equal(asked(other), expected)


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_edge_is_older_than_what_it_tells(name, data) -> None:
    """Each hop has its own time: an edge happened strictly before its target is asked about."""
    stream = data.draw(streams())
    times = torch.tensor([data.draw(st.sampled_from(stream.t)) for _ in range(6)])
    out = (
        SAMPLERS[name]
        .bind(stream.index())
        .sample_from_nodes(NodeSamplerInput(None, torch.arange(6), times))
    )
    extra = out.metadata[2]
    asked = extra.node_time[out.col]
    assert bool((extra.edge_time < asked).all())
    assert extra.edge_time.tolist() == [stream.t[event] for event in out.edge.tolist()]
    if SAMPLERS[name].neighbor_time == "event":
        assert extra.node_time[out.row].equal(extra.edge_time)
    else:
        assert extra.node_time.equal(times[out.batch])
