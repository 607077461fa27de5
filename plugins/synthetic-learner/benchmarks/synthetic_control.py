"""Classical synthetic control of California, ours beside pysyncon's: estimate, weights and time.

    python plugins/synthetic-learner/benchmarks/synthetic_control.py [--data DIR] [--search]

Proposition 99: 39 states, 19 years before treatment and 12 with it; weights are learnt from
outcomes alone, no intercept. pysyncon divides each year by its standard deviation over states; it
is given the years' variances as V, which undoes that, so that both solve the same problem. With
`--search` it also searches for V once, as it does by default: that takes minutes.

One thread; rounds of all cases alternate. Times are of the process, medians over rounds with the
smallest and the largest, from a table of outcomes to the estimate. A peer that is not installed is
named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from zoo_synthetic_learner import SyntheticControl
from zoo_synthetic_learner.datasets import load_california

TREATED, START = "California", 1989


class Found(NamedTuple):
    """The mean effect on the treated, the root mean squared gap before, and weights by state."""

    att: float
    pre_rmse: float
    weights: pd.Series


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ZOO_DATA"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--search", action="store_true")
    given = parser.parse_args()
    if given.data is None:
        parser.error("give the folder that holds panels/ with --data or ZOO_DATA")
    table = load_california(given.data).pivot(index="state", columns="year", values="packs")
    cases: dict[str, Callable[[], Found]] = {"ours": partial(ours, table)}
    peer = "pysyncon is not installed"
    if importlib.util.find_spec("pysyncon"):
        peer = f"pysyncon {metadata.version('pysyncon')}"
        cases["pysyncon"] = partial(pysyncon, table, searched=False)
    print(f"numpy {np.__version__}, {peer}, 1 thread, {given.rounds} rounds\n")
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        compare(cases, given.rounds)
        if given.search and "pysyncon" in cases:
            began = time.process_time()
            found = pysyncon(table, searched=True)
            seconds = time.process_time() - began
            print(f"\npysyncon, searched: ATT {found.att:.3f}, {seconds:.0f} s")


def ours(table: pd.DataFrame) -> Found:
    """By `SyntheticControl`."""
    start = int((table.columns < START).sum())
    learner = SyntheticControl().fit(table, np.where(table.index == TREATED, start, 0))
    return Found(learner.att_, float(learner.pre_rmse_.iloc[0]), learner.weights_[TREATED])


def pysyncon(table: pd.DataFrame, searched: bool) -> Found:
    """By pysyncon's `Synth`."""
    from pysyncon import Synth

    outcome = table.T
    past = outcome.index < START
    donors, target = outcome.drop(columns=TREATED), outcome[TREATED]
    learner = Synth()
    learner.fit(
        X0=donors[past],
        X1=target[past],
        Z0=donors[past],
        Z1=target[past],
        custom_V=None if searched else outcome[past].var(axis=1).to_numpy(),
    )
    weights = pd.Series(learner.W, index=donors.columns)
    gap = target - donors @ weights
    return Found(float(gap[~past].mean()), float(np.sqrt((gap[past] ** 2).mean())), weights)


def compare(cases: dict[str, Callable[[], Found]], rounds: int) -> None:
    """Prints estimates, weights and times."""
    results = {name: case() for name, case in cases.items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            began = time.process_time()
            case()
            seconds[name].append(time.process_time() - began)
    base = statistics.median(next(iter(seconds.values())))
    print("| | ATT | RMSE before | largest weights | ms | times ours |\n|---|---|---|---|---|---|")
    for name, found in results.items():
        largest = found.weights.sort_values(ascending=False).head(6)
        listed = ", ".join(f"{state} {value:.3f}" for state, value in largest.items())
        times = [1e3 * value for value in seconds[name]]
        middle = statistics.median(times)
        spread = f"{middle:.1f} ({min(times):.1f} to {max(times):.1f})"
        print(
            f"| {name} | {found.att:.3f} | {found.pre_rmse:.4f} | {listed} | {spread} | "
            f"{middle / (1e3 * base):.1f} |"
        )


if __name__ == "__main__":
    main()
