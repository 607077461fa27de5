"""The search and the look-up as one compiled loop over queries, if numba is installed.

numba is imported and the loops are compiled at the first query. They are not cached on disk: the
folder of the code cannot always be written to.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_core.errors import InputError
from zoo_tns.checks import Ids, Times


def available(required: bool = False) -> bool:
    """Returns whether numba is installed.

    Raises:
        InputError: it is required, and not.
    """
    found = importlib.util.find_spec("numba") is not None
    if required and not found:
        raise InputError("engine is 'numba', which is not installed; install zoo-tns[fast].")
    return found


def count_before(time: Times, start: Ids, length: Ids, ids: Ids, cuts: Times) -> Ids:
    """As `zoo_tns.search.count_before`, with start and length by node."""
    counts = np.empty(len(ids), np.int64)
    # Another memory layout would be another type, and compiled anew.
    ids, cuts = np.ascontiguousarray(ids), np.ascontiguousarray(cuts)
    _loops()[0](time, start, length, ids, cuts, counts)
    return counts


def take(
    neighbor: Ids, edge_id: Ids, time: Times, start: Ids, ids: Ids, counts: Ids, positions: Ids
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns neighbour, event, time and mask [B, K] at positions [B, K] of histories."""
    shape = positions.shape
    found = (
        np.empty(shape, np.int64),
        np.empty(shape, np.int64),
        np.empty(shape, time.dtype),
        np.empty(shape, np.bool_),
    )
    given = (np.ascontiguousarray(each) for each in (ids, counts, positions))
    _loops()[1](neighbor, edge_id, time, start, *given, *found)
    return found


@functools.cache
def _loops() -> tuple[Callable[..., Any], Callable[..., Any]]:
    import numba

    @numba.njit(nogil=True)
    def count_all(time, start, length, ids, cuts, counts):  # type: ignore[no-untyped-def]
        for query in range(len(ids)):
            base = start[ids[query]]
            low, high = 0, length[ids[query]]
            cut = cuts[query]
            if high and time[base + high - 1] < cut:
                low = high
            while low < high:
                middle = (low + high) >> 1
                if time[base + middle] < cut:
                    low = middle + 1
                else:
                    high = middle
            counts[query] = low

    @numba.njit(nogil=True)
    def take_all(  # type: ignore[no-untyped-def]
        neighbor, edge_id, time, start, ids, counts, positions, node, edge, when, mask
    ):
        for query in range(positions.shape[0]):
            end = start[ids[query]] + counts[query]
            for column in range(positions.shape[1]):
                position = positions[query, column]
                here = 1 <= position <= counts[query]
                slot = end - position if here else 0
                node[query, column] = neighbor[slot]
                edge[query, column] = edge_id[slot]
                when[query, column] = time[slot]
                mask[query, column] = here

    return count_all, take_all
