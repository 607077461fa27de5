"""Times several functions in turn, so that what else the machine does falls on all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """CPU seconds of the process (all threads) and wall seconds, one a round."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]


@dataclass(frozen=True)
class Ratio:
    """Of two timings, round by round."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Calls every function once a round, after one round to warm up."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            cpu, wall = time.process_time(), time.perf_counter()
            function()
            if number:
                taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: Timing(*(tuple(column) for column in zip(*times, strict=True)))
        for name, times in taken.items()
    }


def ratio(above: Timing, below: Timing, clock: str = "cpu") -> Ratio:
    """Returns how many times longer the one takes than the other: median, lowest and highest."""
    pairs = zip(getattr(above, clock), getattr(below, clock), strict=True)
    ratios = [one / other for one, other in pairs]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))
