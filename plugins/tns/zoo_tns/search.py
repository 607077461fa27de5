"""How many events of a node happened before a time, for many queries at once.

Each node's events are a sorted run in one array. All queries search their own run at the same time,
one probe of each per step: no loop over queries, and as many steps as the longest run has bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo_tns.checks import Ids, Times


def count_before(time: Times, start: Ids, length: Ids, cuts: Times) -> NDArray[np.int64]:
    """Returns, for each query, the number of events strictly before its time: int64 [B].

    Args:
        time: [P], the runs; slot 0 belongs to none.
        start: [B], where the run of each query's node begins, at least 1.
        length: [B], how long it is.
        cuts: [B], the times asked about, in the dtype of `time`.
    """
    # A run that ends before the cut counts whole: in a stream that is nearly all of them.
    base = start - 1
    open_runs = np.flatnonzero(time.take(base + length) >= cuts)
    if open_runs.size == 0:
        return length.copy()
    if open_runs.size == length.size:
        return _bisect(time, base, length, cuts)
    counts = length.copy()
    counts[open_runs] = _bisect(time, base[open_runs], length[open_runs], cuts[open_runs])
    return counts


def _bisect(time: Times, base: Ids, length: Ids, cuts: Times) -> NDArray[np.int64]:
    # The count's bits from the highest down: one is set if so many events are still too early.
    slot = base.copy()
    end = base + length
    step = (1 << int(length.max()).bit_length()) >> 1
    while step:
        probe = slot + step
        earlier = probe <= end
        # What lies beyond a run, or all of them, is read and not used.
        earlier &= time.take(probe, mode="clip") < cuts
        slot += step * earlier
        step >>= 1
    return slot - base
