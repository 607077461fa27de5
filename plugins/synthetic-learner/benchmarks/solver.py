"""The simplex solver beside generic ones, on the same problems: seconds, and who is lower.

    python benchmarks/solver.py [--repeats 5]

Compared are scipy's SLSQP and, where they are installed, cvxpy's default solver. All get the
donors' and targets' centred outcomes; times are medians, ratios theirs / ours with their range.
Gaps are (theirs - ours) / ours of the objective; below -1e-6 ours is not optimal.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_info

from zoo_synthetic_learner.simplex_solver import simplex_weights

Solver = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
# periods, donors, targets, and how many of the targets the peers solve
PROBLEMS = ((19, 38, 38, 38), (60, 200, 50, 10), (200, 500, 200, 3))


def problem(periods: int, donors: int, targets: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns centred donors [F, p], targets [F, q] and a ridge: random walks with noise."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(periods, 3)).cumsum(axis=0)
    both = factors @ rng.normal(size=(3, donors + targets))
    both += rng.normal(size=both.shape)
    both -= both.mean(axis=0)
    return both[:, :donors], both[:, donors:], 0.02 * periods


def ours(donors: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """The plugin's solver, with the Gram matrix's product."""
    return simplex_weights(donors.T @ donors, donors.T @ targets, ridge)


def slsqp(donors: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """scipy's SLSQP with gradients from the Gram matrix."""
    gram, cross = donors.T @ donors, donors.T @ targets
    gram.flat[:: len(gram) + 1] += ridge
    p = len(gram)
    found = np.empty(cross.shape)
    for each in range(cross.shape[1]):
        c = cross[:, each]
        found[:, each] = minimize(
            lambda w, c=c: w @ gram @ w - 2 * c @ w,
            np.full(p, 1 / p),
            jac=lambda w, c=c: 2 * (gram @ w - c),
            bounds=[(0, 1)] * p,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
            method="SLSQP",
            options={"maxiter": 1000, "ftol": 1e-10},
        ).x
    return found


def with_cvxpy(donors: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """cvxpy's default solver for quadratic programs, one compiled problem for all targets."""
    import cvxpy

    weights = cvxpy.Variable(donors.shape[1], nonneg=True)
    target = cvxpy.Parameter(donors.shape[0])
    objective = cvxpy.sum_squares(target - donors @ weights) + ridge * cvxpy.sum_squares(weights)
    asked = cvxpy.Problem(cvxpy.Minimize(objective), [cvxpy.sum(weights) == 1])
    found = np.empty((donors.shape[1], targets.shape[1]))
    for each in range(targets.shape[1]):
        target.value = targets[:, each]
        asked.solve()
        found[:, each] = weights.value
    return found


def objective(donors: np.ndarray, targets: np.ndarray, ridge: float, w: np.ndarray) -> np.ndarray:
    """[q]: what is minimised, of weights that are made feasible."""
    w = np.maximum(w, 0)
    w = w / w.sum(axis=0)
    return ((targets - donors @ w) ** 2).sum(axis=0) + ridge * (w**2).sum(axis=0)


def seconds(solver: Solver, given: tuple[np.ndarray, np.ndarray, float], times: int) -> list[float]:
    """Returns how long each of several calls took, after one to warm up."""
    solver(*given)
    found = []
    for _ in range(times):
        start = time.perf_counter()
        solver(*given)
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    threads = max((each["num_threads"] for each in threadpool_info()), default=1)
    peers: dict[str, Solver] = {"scipy SLSQP": slsqp}
    if importlib.util.find_spec("cvxpy"):
        peers["cvxpy"] = with_cvxpy
    else:
        print("cvxpy is not installed and is left out")
    print(f"{threads} BLAS threads; ms a target: median of {repeats}")
    print("| periods | donors | targets | ours | peer | theirs | theirs / ours | gap |")
    print("|---|---|---|---|---|---|---|---|")
    for periods, donors, targets, few in PROBLEMS:
        outcomes = problem(periods, donors, targets)
        whole = [1e3 * each / targets for each in seconds(ours, outcomes, repeats)]
        best = objective(*outcomes, ours(*outcomes))
        part = (outcomes[0], outcomes[1][:, :few], outcomes[2])
        for name, solver in peers.items():
            theirs = [1e3 * each / few for each in seconds(solver, part, repeats if few > 5 else 1)]
            gap = (objective(*part, solver(*part)) / best[:few] - 1) if few else np.zeros(1)
            mine, other = statistics.median(whole), statistics.median(theirs)
            ratio = f"{other / mine:.0f} ({min(theirs) / max(whole):.0f} to "
            ratio += f"{max(theirs) / min(whole):.0f})"
            print(
                f"| {periods} | {donors} | {targets} | {mine:.3f} | {name} | {other:.2f} | {ratio} "
                f"| {gap.min():.0e} to {gap.max():.0e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
