"""Slow samplers, in Python loops over the streams of tns_streams, for those without randomness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tns_streams import Entry, Stream

from zoo_tns.samplers import ExpandedSampler, RecentSampler, TNSSampler
from zoo_tns.temporal_sampler import TemporalSampler

Weighted = tuple[Entry, float | None]

DETERMINISTIC: dict[str, TemporalSampler] = {
    "recent": RecentSampler([3, 2]),
    "recent, window": RecentSampler([3, 2], window=3),
    "recent, event": RecentSampler([3, 2, 2], neighbor_time="event"),
    "expanded": ExpandedSampler([3, 2], rate=2),
    "expanded, fraction, event": ExpandedSampler([3, 2], rate=1.5, neighbor_time="event"),
    "expanded, clip": ExpandedSampler([3, 2], rate=3, short="clip"),
    "tns": TNSSampler([3, 2], rate=2.25),
    "tns, truncate, window": TNSSampler([3, 2], rate=[1.25, 2.0], short="truncate", window=4),
    "tns, event": TNSSampler([3, 2, 2], rate=1.75, neighbor_time="event"),
}


def columns(sampler: TemporalSampler, stream: Stream, node: int, time: Any, hop: int) -> list[Any]:
    """Returns (entry, weight) for each event read, pairs of them for interpolated positions."""
    history = stream.history(node, time)
    if sampler.window is not None:
        history = [each for each in history if each[2] >= time - sampler.window]
    k, size = sampler._sizes[hop], len(history)
    rate, short = getattr(sampler, "rate", 1), getattr(sampler, "short", "truncate")
    rate = rate[hop] if isinstance(rate, list) else rate
    pairs = type(sampler) is TNSSampler or short == "clip" or rate != int(rate)
    if short == "clip":
        rate = min(rate, (size - 1) / (k - 1)) if size >= k and k > 1 else 1
    found = []
    for step in range(k):
        position = 1 + step * rate
        if position > size + 1e-9:
            break
        position = min(position, size)
        if pairs:
            floor = int(position)
            found.append((history[floor - 1], 1 - (position - floor)))
            found.append((history[min(floor + 1, size) - 1], position - floor))
        else:
            found.append((history[int(position) - 1], None))
    return found


def subgraph(
    sampler: TemporalSampler, stream: Stream, seeds: Sequence[int], times: Sequence[Any]
) -> dict[str, Any]:
    """Returns nodes as (seed, node, time) and edges as (source, target, event, time, weight)."""
    nodes: list[tuple[int, int, Any]] = [
        (seed, node, time) for seed, (node, time) in enumerate(zip(seeds, times, strict=True))
    ]
    edges, frontier = [], list(range(len(nodes)))
    num_nodes, num_edges = [len(nodes)], []
    for hop in range(sampler.num_hops):
        reached, found = len(nodes), []
        for target in frontier:
            seed, node, time = nodes[target]
            weights: dict[Entry, float] = {}
            for (other, event, when), weight in columns(sampler, stream, node, time, hop):
                if weight == 0:
                    continue
                key = (seed, other, time if sampler.neighbor_time == "query" else when)
                if key not in nodes:
                    nodes.append(key)
                edge = (nodes.index(key), target, event, when)
                if weight is None:
                    found.append((*edge, None))
                elif (other, event, when) in weights:
                    weights[other, event, when] += weight
                else:
                    weights[other, event, when] = weight
                    found.append(edge)
            found = [
                each if len(each) == 5 else (*each, weights[nodes[each[0]][1], *each[2:]])
                for each in found
            ]
        edges += found
        num_nodes.append(len(nodes) - reached)
        num_edges.append(len(found))
        frontier = list(range(reached, len(nodes)))
    return {"nodes": nodes, "edges": edges, "num_nodes": num_nodes, "num_edges": num_edges}
