"""Seconds and memory of the learners on a large panel, each in a process of its own.

    python benchmarks/synthesizers.py [--units 2000] [--periods 500] [--treated 500]

H1SL imputes the treated units, H2SL all units. Memory is the peak over what is in use before the
fit, as a multiple of the outcomes and of the weights that are learnt.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
import warnings

import numpy as np

SYNTHESIZERS = ("did", "ridge", "simplex", "auto", "sdid", "ols", "lasso", "mc")


def fit(synthesizer: str, learner: str, units: int, periods: int, treated: int) -> None:
    """Fits once and prints seconds, the peak in MB over what was in use, and the error."""
    from zoo_synthetic_learner import H1SL, H2SL, simulated_panel

    warnings.simplefilter("ignore")
    start = periods * 4 // 5
    data = simulated_panel(0, m=treated, n=units - treated, T0=start, T1=periods - start)
    kind = {"H1SL": H1SL, "H2SL": H2SL}[learner]
    small = simulated_panel(0, m=10, n=20, T0=30, T1=5)
    kind(synthesizer).fit(small.Y, small.D, small.S)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    found = kind(synthesizer).fit(data.Y, data.D, data.S)
    spent = time.perf_counter() - begin
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{spent:.3f} {peak:.0f} {-found.score(data.S, data.tau):.3f}")


def main() -> None:
    """Prints the table, or fits once where a synthesizer is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=2000)
    parser.add_argument("--periods", type=int, default=500)
    parser.add_argument("--treated", type=int, default=500)
    parser.add_argument("--only", nargs=2, metavar=("SYNTHESIZER", "LEARNER"))
    given = parser.parse_args()
    sizes = given.units, given.periods, given.treated
    if given.only:
        fit(*given.only, *sizes)
        return
    outcomes = given.units * given.periods * 8 / 2**20
    print(
        f"N={sizes[0]}, T={sizes[1]}, m={sizes[2]}; {os.cpu_count()} cores; Y has {outcomes:.1f} MB"
    )
    print("| synthesizer | learner | seconds | peak (MB) | peak / (Y + weights) | RMSE |")
    print("|---|---|---|---|---|---|")
    for synthesizer in SYNTHESIZERS:
        for learner in ("H1SL", "H2SL"):
            command = [sys.executable, __file__, "--only", synthesizer, learner]
            for name, value in zip(("units", "periods", "treated"), sizes, strict=True):
                command += [f"--{name}", str(value)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                print(f"| {synthesizer} | {learner} | {run.stderr.splitlines()[-1]} | | | |")
                continue
            spent, peak, error = (float(each) for each in run.stdout.split())
            control = given.units - given.treated
            sides = 1 if learner == "H1SL" else 2
            weights = sides * control * given.treated * 8 / 2**20
            share = peak / (outcomes + weights)
            print(
                f"| {synthesizer} | {learner} | {spent:.2f} | {peak:.0f} | {share:.1f} | "
                f"{np.round(error, 3)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
