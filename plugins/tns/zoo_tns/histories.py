"""The histories of all nodes: one sorted run of entries each, in arrays shared by all.

A run is (start, length, capacity) into the arrays. Built at once, runs lie back to back (a CSR
matrix); a run that outgrows its capacity moves to the end of the arrays with twice the room, as a
list does, so that adding n entries takes O(n) time on average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo_tns.checks import Ids, Times

_SMALLEST = 8
"""The capacity of a run that moves for the first time, at least."""


class Histories:
    """Entries (neighbour, event, time) per node, oldest first; equal times in order of arrival.

    Attributes:
        num_nodes: V, how many nodes have a run, an empty one included.
        start: int64 [at least V], where a node's run begins.
        length: int64 [at least V], its number of entries.
        neighbor: int64 [P]. Slot 0 belongs to no run and holds the padding, (-1, -1, 0).
        edge_id: int64 [P].
        time: int64 or float64 [P].
    """

    def __init__(
        self, owner: Ids, neighbor: Ids, edge_id: Ids, time: Times, num_nodes: int
    ) -> None:
        """Sorts entries, given in order of arrival, by node and time."""
        self.num_nodes = num_nodes
        self.length = np.bincount(owner, minlength=num_nodes).astype(np.int64)
        self.start = 1 + _before(self.length)
        self._capacity = self.length.copy()
        self._used = 1 + len(owner)
        order = _by_owner_and_time(owner, time)
        self.neighbor = np.concatenate(([-1], neighbor[order]))
        self.edge_id = np.concatenate(([-1], edge_id[order]))
        self.time = np.concatenate((np.zeros(1, time.dtype), time[order]))

    def grow(self, num_nodes: int) -> None:
        """Adds nodes without entries, up to `num_nodes`."""
        self.reserve_nodes(num_nodes)
        self.num_nodes = max(self.num_nodes, num_nodes)

    def reserve_nodes(self, num_nodes: int) -> None:
        """Makes room for nodes without adding any."""
        if num_nodes > len(self.length):
            size = max(num_nodes, 2 * len(self.length))
            # Assigned together: if there is no memory for one of them, all stay as they were.
            self.start, self.length, self._capacity = (
                resized(self.start, size, 1),
                resized(self.length, size),
                resized(self._capacity, size),
            )

    def extend(self, owner: Ids, neighbor: Ids, edge_id: Ids, time: Times) -> None:
        """Adds entries that are no older than any there, in order of time; room for nodes is there.

        If it raises, the histories are as they were.
        """
        order = _stable_order(owner)
        nodes, counts = _run_lengths(owner[order])
        self._reserve(nodes, counts)
        slots = np.empty_like(order)
        slots[order] = ranges(self.start[nodes] + self.length[nodes], counts)
        self._write(slots, neighbor, edge_id, time)
        self.length[nodes] += counts

    def insert(self, owner: Ids, neighbor: Ids, edge_id: Ids, time: Times) -> None:
        """Adds entries of any age, in order of arrival: after those there of the same time.

        Rewrites the whole runs of the nodes concerned; as `extend` otherwise.
        """
        nodes, counts = np.unique(owner, return_counts=True)
        lengths = self.length[nodes]
        old = ranges(self.start[nodes], lengths)
        owners = np.concatenate((np.repeat(nodes, lengths), owner))
        times = np.concatenate((self.time[old], time))
        order = _by_owner_and_time(owners, times)
        neighbors = np.concatenate((self.neighbor[old], neighbor))[order]
        edge_ids = np.concatenate((self.edge_id[old], edge_id))[order]
        times = times[order]
        self._reserve(nodes, counts)
        slots = ranges(self.start[nodes], lengths + counts)
        self._write(slots, neighbors, edge_ids, times)
        self.length[nodes] += counts

    def _reserve(self, nodes: Ids, more: Ids) -> None:
        """Makes room for `more` entries in the runs of distinct nodes."""
        needed = self.length[nodes] + more
        full = needed > self._capacity[nodes]
        if not full.any():
            return
        nodes, needed = nodes[full], needed[full]
        capacity = np.maximum(2 * needed, _SMALLEST)
        end = self._used + int(capacity.sum())
        if end > len(self.time):
            size = max(end, 2 * len(self.time))
            self.neighbor, self.edge_id, self.time = (
                resized(each, size) for each in (self.neighbor, self.edge_id, self.time)
            )
        start = self._used + _before(capacity)
        old = ranges(self.start[nodes], self.length[nodes])
        new = ranges(start, self.length[nodes])
        self._write(new, self.neighbor[old], self.edge_id[old], self.time[old])
        self.start[nodes] = start
        self._capacity[nodes] = capacity
        self._used = end

    def _write(self, slots: Ids, neighbor: Ids, edge_id: Ids, time: Times) -> None:
        self.neighbor[slots] = neighbor
        self.edge_id[slots] = edge_id
        self.time[slots] = time


def _by_owner_and_time(owner: Ids, time: Times) -> NDArray[np.intp]:
    if bool((time[1:] >= time[:-1]).all()):
        return _stable_order(owner)
    by_time = np.argsort(time, kind="stable")
    return by_time[_stable_order(owner[by_time])]


def _stable_order(owner: Ids) -> NDArray[np.intp]:
    # NumPy sorts integers of 16 bits by radix, several times faster than longer ones.
    if owner.size and owner.max() < 2**16:
        owner = owner.astype(np.uint16)
    return np.argsort(owner, kind="stable")


def _run_lengths(ordered: Ids) -> tuple[Ids, Ids]:
    """Returns the distinct values of a sorted array and how often each is there."""
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[first], np.diff(np.concatenate((first, [len(ordered)])))


def _before(counts: Ids) -> Ids:
    """Returns how many come before each: the cumulative sum, moved by one."""
    return np.cumsum(counts) - counts


def ranges(start: Ids, counts: Ids) -> Ids:
    """Returns start[i], start[i] + 1, ..., counts[i] of them, for each i in turn."""
    end = np.cumsum(counts)
    return np.arange(end[-1] if end.size else 0) + np.repeat(start - (end - counts), counts)


def resized(array: np.ndarray, size: int, filler: int = 0) -> np.ndarray:
    """Returns a copy with more room at its end."""
    larger = np.zeros(size, array.dtype)
    larger[: len(array)] = array
    if filler:
        larger[len(array) :] = filler
    return larger
