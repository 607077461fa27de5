"""The random draws of an explanation, which depend on the seed and its graph's size alone.

Every instance draws as if it were explained by itself: first the initial logits, then the noise of
each step, in the order of the official code. Graphs of one size so draw the same numbers, and an
explanation is the same alone, in any batch and at any place in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_nseg.instance import Instance
from zoo_nseg.interventions import Drawn
from zoo_nseg.masks import World

_BLOCK = 1 << 21


class Stream:
    """The draws for graphs of one size.

    Args:
        seed: of the generator.
        num_nodes: N of the whole graph.
        num_edges: E of the whole graph.
        parts: for each sample of a step in order, how many numbers it needs.
    """

    def __init__(self, seed: int, num_nodes: int, num_edges: int, parts: Sequence[int]) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.node_logits = self._initial(num_nodes)
        self.edge_logits = self._initial(num_edges)
        self.length = sum(parts)

    def _initial(self, entries: int) -> Tensor:
        """Uniform in +-1 / sqrt(entries)."""
        uniform = torch.rand(entries, generator=self._generator, dtype=torch.float32)
        return (2 * uniform - 1) / math.sqrt(max(entries, 1))

    def steps(self, number: int) -> Tensor:
        """Returns the next uniform numbers in [0, 1): [number, length]."""
        return torch.rand(number, self.length, generator=self._generator, dtype=torch.float32)


class Draws:
    """The draws of a union of instances.

    Args:
        instances: in the union's order.
        worlds: those that a step runs; a complement has noise.
        seed: of every instance.
        amplitude: eps; noise is uniform in +-eps, and none is drawn if it is 0.
        dtype: of what is drawn.

    Attributes:
        edge_logits: [m], initial.
        node_logits: [k], initial.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        worlds: Sequence[World],
        seed: int,
        amplitude: float,
        dtype: torch.dtype,
    ) -> None:
        self._amplitude = amplitude
        self._dtype = dtype
        self._device = instances[0].x.device
        self._parts = [
            (place, what)
            for place, world in enumerate(worlds)
            for what in ("edges", "features")
            if amplitude and getattr(world, what) == "complement"
        ]
        self._worlds = len(worlds)
        sizes = [(each.num_nodes, each.num_edges) for each in instances]
        streams = {
            (nodes, edges): Stream(
                seed, nodes, edges, [edges if what == "edges" else nodes for _, what in self._parts]
            )
            for nodes, edges in dict.fromkeys(sizes)
        }
        self._streams = list(streams.values())
        self.edge_logits, self.node_logits = (
            self._tensor(
                torch.cat(
                    [
                        getattr(streams[size], f"{name}_logits")[getattr(each, ids).cpu()]
                        for each, size in zip(instances, sizes, strict=True)
                    ]
                )
            )
            for name, ids in (("edge", "logit_ids"), ("node", "node_ids"))
        )
        starts, total = {}, 0
        for size, stream in streams.items():
            starts[size] = total
            total += stream.length
        self._index = self._positions(instances, starts)
        self._steps = max(1, _BLOCK // max(1, total))
        self._block = torch.empty(0, total)
        self._at = 0

    def step(self) -> list[Drawn]:
        """Returns the noise of the next step, world by world."""
        drawn: list[list[Tensor | None]] = [[None, None] for _ in range(self._worlds)]
        if self._parts:
            if self._at == len(self._block):
                self._block = torch.cat([each.steps(self._steps) for each in self._streams], 1)
                self._at = 0
            uniform = self._block[self._at]
            self._at += 1
            for (place, what), index in zip(self._parts, self._index, strict=True):
                noise = (2 * uniform[index] - 1) * self._amplitude
                drawn[place][what == "features"] = self._tensor(noise)
        return [(edges, features) for edges, features in drawn]

    def _positions(
        self, instances: Sequence[Instance], starts: dict[tuple[int, int], int]
    ) -> list[Tensor]:
        """Where each part's numbers stand in the draws of a step, one stream after the other."""
        done = dict(starts)
        index = []
        for _, what in self._parts:
            pieces = []
            for each in instances:
                ids = each.edge_ids if what == "edges" else each.node_ids
                pieces.append(ids.cpu() + done[each.num_nodes, each.num_edges])
            index.append(torch.cat(pieces))
            for nodes, edges in done:
                done[nodes, edges] += edges if what == "edges" else nodes
        return index

    def _tensor(self, values: Tensor) -> Tensor:
        return values.to(self._device, self._dtype)
