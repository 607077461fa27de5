"""The events of a temporal graph by node and time, to look up any node's history as of any time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_tns import compiled, search
from zoo_tns.checks import (
    Ids,
    Times,
    as_ids,
    as_nodes,
    as_positions,
    as_times,
    check_num_nodes,
    check_width,
    count_nodes,
    cut_times,
    same_dtype,
    window_start,
)
from zoo_tns.histories import Histories, ranges, resized
from zoo_tns.neighbors import Neighbors, Window

if TYPE_CHECKING:
    from torch_geometric.data import TemporalData

Engine = Literal["numpy", "numba", "auto"]
"""What searches and gathers: NumPy, a compiled loop, or the latter where numba is installed."""


class TemporalIndex:
    """Histories of nodes: who they met in which event and when, sorted by time.

    The history of a node as of time t holds its events strictly before t; position 1 is the most
    recent of them. Events of equal times keep the order they were given in. An event enters the
    histories of both its endpoints; a self-loop, whose endpoints are the same, appears twice in a
    row. With `directed=True` it enters that of its destination only, since messages flow from
    source to destination, as everywhere in torch_geometric.

    Queries only read, so that an index can be shared by the workers of a loader. It can be pickled
    and copied.

    Args:
        src: node ids [E].
        dst: node ids [E].
        t: times [E] in any order. Integers are kept as int64 and all else as float64, so that no
            digit is lost; queries may be of either kind, and are compared exactly.
        edge_id: ids of the events [E], such as the rows of their features; by default their
            positions 0..E - 1 in the input.
        num_nodes: how many nodes there are; by default one more than the largest id.
        directed: whether an event enters the history of its destination only.
        engine: "numpy"; "numba", compiled loops from the extra `zoo-tns[fast]`, which take about
            two thirds of the time but a second or two to compile in each process; or "auto", numba
            where it is installed. Their results are the same.

    Raises:
        InputError: arrays of different length, ids or times that are none, nodes beyond num_nodes,
            an engine that does not exist or is not installed.
    """

    def __init__(
        self,
        src: object,
        dst: object,
        t: object,
        edge_id: object | None = None,
        num_nodes: int | None = None,
        directed: bool = False,
        engine: Engine = "numpy",
    ) -> None:
        if engine not in get_args(Engine):
            raise InputError(f"engine is {engine!r}; expected 'numpy', 'numba' or 'auto'.")
        self.directed = bool(directed)
        self._compiled = engine != "numpy" and compiled.available(required=engine == "numba")
        sources = as_ids(src, "src")
        destinations = as_ids(dst, "dst", len(sources))
        times = as_times(t, "t", len(sources))
        edge_ids = (
            np.arange(len(sources)) if edge_id is None else as_ids(edge_id, "edge_id", len(sources))
        )
        known = count_nodes(sources, destinations)
        if num_nodes is None:
            num_nodes = known
        elif check_num_nodes(num_nodes) < known:
            name = "src" if known == count_nodes(sources) else "dst"
            raise InputError(
                f"{name} has the id {known - 1}, but num_nodes is {num_nodes}; "
                f"expected ids below that."
            )
        self._num_events = len(sources)
        self._next_edge_id = int(edge_ids.max()) + 1 if edge_ids.size else 0
        self._last = times.max() if times.size else None
        with _room_for(int(num_nodes)):
            self._is_destination = np.zeros(int(num_nodes), np.bool_)
            self._is_destination[destinations] = True
            entries = self._entries(sources, destinations, edge_ids, times)
            self._histories = Histories(*entries, num_nodes=int(num_nodes))

    @classmethod
    def from_data(
        cls,
        data: TemporalData,
        num_nodes: int | None = None,
        directed: bool = False,
        engine: Engine = "numpy",
    ) -> TemporalIndex:
        """Returns the index of a `torch_geometric.data.TemporalData`, from its src, dst and t.

        Raises:
            InputError: one of them is missing or wrong.
        """
        missing = [name for name in ("src", "dst", "t") if getattr(data, name, None) is None]
        if missing:
            raise InputError(f"data has no {missing[0]}; expected src, dst and t.")
        return cls(
            data.src, data.dst, data.t, num_nodes=num_nodes, directed=directed, engine=engine
        )

    @property
    def num_nodes(self) -> int:
        """How many nodes there are, those without events included."""
        return self._histories.num_nodes

    @property
    def num_events(self) -> int:
        """How many events there are."""
        return self._num_events

    @property
    def num_edge_ids(self) -> int:
        """One more than the largest id of an event; 0 without events."""
        return self._next_edge_id

    @property
    def time_dtype(self) -> torch.dtype:
        """int64 or float64: how the times are kept, and returned."""
        return torch.int64 if self._histories.time.dtype == np.int64 else torch.float64

    def destinations(self) -> Tensor:
        """Returns the nodes that are the destination of an event, in order: int64 [D]."""
        return torch.from_numpy(np.flatnonzero(self._is_destination))

    def __repr__(self) -> str:
        directed = ", directed" if self.directed else ""
        return f"TemporalIndex({self.num_nodes} nodes, {self.num_events} events{directed})"

    def count(self, nodes: object, times: object) -> Tensor:
        """Returns N, how many events each node had strictly before the time: int64 [B].

        Args:
            nodes: ids [B], below `num_nodes`.
            times: [B], integers or floats.

        Raises:
            InputError: the arguments are not as described, or the index has no events.
        """
        return torch.from_numpy(self._count(*self._queries(nodes, times)))

    def gather(self, nodes: object, times: object, index: object) -> Neighbors:
        """Returns the events at given positions of each history; 1 is the most recent.

        Args:
            nodes: ids [B], below `num_nodes`.
            times: [B], integers or floats.
            index: integers [B, K]; those outside 1..N are masked.

        Raises:
            InputError: the arguments are not as described, or the index has no events.
        """
        ids, cuts = self._queries(nodes, times)
        positions = as_positions(index, len(ids), "index")
        return self._take(ids, self._count(ids, cuts), positions)

    def lookup(self, nodes: object, counts: object, positions: object) -> Neighbors:
        """As `gather`, where N is known already from `count`.

        Args:
            nodes: ids [B], below `num_nodes`.
            counts: [B], what `count` returned for them.
            positions: integers [B, K]; those outside 1..N are masked.

        Raises:
            InputError: the arguments are not as described, or the index has no events.
        """
        ids = self._nodes(nodes)
        known = as_ids(counts, "counts", len(ids))
        if (known > self._histories.length[ids]).any():
            raise InputError("counts has more events than the node has; expected what count gave.")
        return self._take(ids, known, as_positions(positions, len(ids), "positions"))

    def window(self, nodes: object, times: object, width: float) -> Window:
        """Returns all events of each node in [t - width, t), newest first.

        Args:
            nodes: ids [B], below `num_nodes`.
            times: [B], integers or floats.
            width: at least 0, in the unit of the times. t - width is computed in float64, or among
                integers exactly.

        Raises:
            InputError: the arguments are not as described, or the index has no events.
        """
        check_width(width)
        ids = self._nodes(nodes)
        end = as_times(times, "times", len(ids))
        older = self._count(ids, self._cuts(window_start(end, width)))
        lengths = self._count(ids, self._cuts(end)) - older
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        newest = self._histories.start[ids] + older + lengths - 1
        # Slots count down within a query: up from the mirrored start, then mirrored back.
        slots = -ranges(-newest, lengths)
        found = self._histories
        return Window(
            torch.from_numpy(offsets),
            torch.from_numpy(found.neighbor.take(slots)),
            torch.from_numpy(found.edge_id.take(slots)),
            torch.from_numpy(found.time.take(slots)),
        )

    def append(
        self,
        src: object,
        dst: object,
        t: object,
        edge_id: object | None = None,
        allow_out_of_order: bool = False,
    ) -> None:
        """Adds events to the end of the stream, in O(number of new events) on average.

        Node ids not seen before add nodes. After it the index is as if built from all events at
        once, in this order. If it raises, the index is unchanged.

        Args:
            src: node ids [E].
            dst: node ids [E].
            t: times [E], not decreasing, none below the last one in the index. They have to be
                representable in its dtype; an empty index takes theirs.
            edge_id: ids [E]; by default they count on from the largest so far.
            allow_out_of_order: also take events older than others; an event goes after those of its
                own time. The histories of the nodes concerned are then sorted anew.

        Raises:
            InputError: the arguments are not as described.
        """
        sources = as_ids(src, "src")
        destinations = as_ids(dst, "dst", len(sources))
        times = as_times(t, "t", len(sources))
        if edge_id is not None:
            edge_ids = as_ids(edge_id, "edge_id", len(sources))
        elif self._next_edge_id > np.iinfo(np.int64).max - len(sources):
            raise InputError(
                f"edge_id cannot count on from {self._next_edge_id - 1}, the largest id so far; "
                f"pass edge_id."
            )
        else:
            edge_ids = self._next_edge_id + np.arange(len(sources))
        if len(sources) == 0:
            return
        if self._last is not None:
            times = same_dtype(times, self._histories.time.dtype, "t")
        in_order = self._in_order(times)
        if not (in_order or allow_out_of_order):
            raise InputError(
                f"t has {_first_late(times, self._last)}, which is older than the event before it; "
                f"sort the events or pass allow_out_of_order=True."
            )
        num_nodes = max(self.num_nodes, count_nodes(sources, destinations))
        last = times.max() if self._last is None else max(self._last, times.max())
        with _room_for(num_nodes):
            self._reserve(num_nodes)
            entries = self._entries(sources, destinations, edge_ids, times)
            if self._last is None:
                self._histories = Histories(*entries, num_nodes=num_nodes)
            else:
                (self._histories.extend if in_order else self._histories.insert)(*entries)
        self._histories.num_nodes = num_nodes
        self._is_destination[destinations] = True
        self._num_events += len(sources)
        self._next_edge_id = max(self._next_edge_id, int(edge_ids.max()) + 1)
        self._last = last

    def grow(self, num_nodes: int) -> None:
        """Adds nodes without events up to `num_nodes`; a smaller number changes nothing.

        Raises:
            InputError: it is no integer of at least 0, or there is no memory for so many.
        """
        size = check_num_nodes(num_nodes)
        with _room_for(size):
            self._reserve(size)
            self._histories.grow(size)

    def _reserve(self, num_nodes: int) -> None:
        """Makes room for nodes without adding any."""
        self._histories.reserve_nodes(num_nodes)
        if num_nodes > len(self._is_destination):
            size = max(num_nodes, 2 * len(self._is_destination))
            self._is_destination = resized(self._is_destination, size)

    def _entries(
        self, src: Ids, dst: Ids, edge_id: Ids, time: Times
    ) -> tuple[Ids, Ids, Ids, Times]:
        """Returns owner, neighbour, event and time of the histories' entries, by event."""
        if self.directed:
            return dst, src, edge_id, time
        owner, neighbor = np.empty((2, 2 * len(src)), np.int64)
        owner[::2], owner[1::2] = src, dst
        neighbor[::2], neighbor[1::2] = dst, src
        return owner, neighbor, np.repeat(edge_id, 2), np.repeat(time, 2)

    def _in_order(self, times: Times) -> bool:
        follows = self._last is None or times[0] >= self._last
        return bool(follows and (times[1:] >= times[:-1]).all())

    def _queries(self, nodes: object, times: object) -> tuple[Ids, Times]:
        ids = self._nodes(nodes)
        return ids, self._cuts(as_times(times, "times", len(ids)))

    def _cuts(self, times: Times) -> Times:
        return cut_times(times, self._histories.time.dtype)

    def _nodes(self, nodes: object) -> Ids:
        ids = as_nodes(nodes, self.num_nodes)
        if ids.size and self._num_events == 0:
            raise InputError("nodes cannot be looked up: the index has no events; append some.")
        return ids

    def _count(self, ids: Ids, cuts: Times) -> Ids:
        found = self._histories
        if self._compiled:
            return compiled.count_before(found.time, found.start, found.length, ids, cuts)
        return search.count_before(found.time, found.start.take(ids), found.length.take(ids), cuts)

    def _take(self, ids: Ids, counts: Ids, positions: Ids) -> Neighbors:
        found = self._histories
        if self._compiled:
            node, edge_id, time, mask = compiled.take(
                found.neighbor, found.edge_id, found.time, found.start, ids, counts, positions
            )
        else:
            counts = counts[:, None]
            mask = (positions >= 1) & (positions <= counts)
            slots = found.start.take(ids)[:, None] + counts - positions
            slots *= mask  # slot 0 holds the padding
            node, edge_id, time = (
                each.take(slots) for each in (found.neighbor, found.edge_id, found.time)
            )
        return Neighbors(*map(torch.from_numpy, (node, edge_id, time, mask)))


@contextmanager
def _room_for(num_nodes: int) -> Iterator[None]:
    try:
        yield
    except (MemoryError, OverflowError, ValueError) as error:
        raise InputError(
            f"there is no memory for {num_nodes} nodes, ids 0 to {num_nodes - 1}, and their "
            f"events; renumber the nodes so that no ids are left out."
        ) from error


def _first_late(times: Times, last: object) -> object:
    before = times[:1] if last is None else np.asarray([last], times.dtype)
    return times[times < np.maximum.accumulate(np.concatenate((before, times[:-1])))][0]
