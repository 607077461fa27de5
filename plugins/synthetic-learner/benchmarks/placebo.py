"""How long placebo tests in space take: 200 draws on California, on one and more processes.

    python plugins/synthetic-learner/benchmarks/placebo.py [--data DIR] [--draws 200] [--jobs 1 2]

39 states, 31 years, one of them treated; each draw treats one of the 38 others instead and fits
again. There are 38 different ones, so draws are with replacement (`distinct=False`): the time is
what is looked at, no p-value. Seconds are of the wall clock, medians over rounds with the smallest
and the largest; the first round, which starts the processes, is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings

import numpy as np

from zoo_synthetic_learner import H1SL, PanelEstimator, SyntheticControl, SyntheticDiD
from zoo_synthetic_learner.datasets import load_california


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ZOO_DATA"))
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.data is None:
        parser.error("give the folder that holds panels/ with --data or ZOO_DATA")
    warnings.simplefilter("ignore")
    table = load_california(given.data)
    learners = {
        "synthetic control": SyntheticControl(),
        "synthetic DiD": SyntheticDiD(),
        "H1SL, simplex": H1SL("simplex"),
        "H1SL, auto": H1SL("auto"),
    }
    print(f"numpy {np.__version__}, {given.draws} draws, {given.rounds} rounds\n")
    print("| | " + " | ".join(f"{jobs} process(es), s" for jobs in given.jobs) + " |")
    print("|---" * (1 + len(given.jobs)) + "|")
    for name, learner in learners.items():
        learner.fit_frame(table, unit="state", time="year", outcome="packs", treatment="treated")
        cells = [seconds(learner, given.draws, jobs, given.rounds) for jobs in given.jobs]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def seconds(learner: PanelEstimator, draws: int, jobs: int, rounds: int) -> str:
    """Returns how long the placebos of a fitted learner take."""
    found = []
    for _ in range(1 + rounds):
        began = time.perf_counter()
        learner.placebo_space(draws, distinct=False, n_jobs=jobs, progress=False)
        found.append(time.perf_counter() - began)
    timed = found[1:]
    return f"{statistics.median(timed):.2f} ({min(timed):.2f} to {max(timed):.2f})"


if __name__ == "__main__":
    main()
