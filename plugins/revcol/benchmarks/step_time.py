"""Time of a training step in every memory mode, against plain autograd; and plain, against naive.

    python plugins/revcol/benchmarks/step_time.py

Forward and backward of tiny's columns in one process on the same weights, rounds in turn; seconds
of the processor (all threads), and ratios of those and of wall time. About two minutes.
"""

from __future__ import annotations

import argparse
import functools
import statistics

import torch
from straightforward import Straightforward
from timing import interleaved, ratio

from zoo_revcol.experiments.weights import randomise
from zoo_revcol.model import RevCol
from zoo_revcol.variants import VARIANTS

MODES = {
    "none": {"memory": "none"},
    "checkpoint": {"memory": "checkpoint"},
    "reversible, k=1": {"memory": "reversible"},
    "reversible, k=N": {"memory": "reversible", "anchor_every": 9999},
    "reversible, k=N, exact": {"memory": "reversible", "anchor_every": 9999, "exact": True},
}


def main() -> None:
    """Prints seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), N = {arguments.columns}")
    tiny = VARIANTS["tiny"]
    model = RevCol(tiny.channels, tiny.layers, arguments.columns, memory="none").train()
    # Alphas of 1 keep every chain exact enough to compare; time does not depend on them.
    randomise(model, alpha=1.0)
    plain = Straightforward(model)
    for batch, size in ((16, 64), (4, 224)):
        images = torch.randn(batch, 3, size, size)
        with torch.no_grad():
            difference = (plain(images) - model(images)).abs().max() / model(images).abs().max()
        assert difference < 1e-4, f"the outputs differ by {difference:.1g}"

        def step(name: str, images: torch.Tensor = images) -> None:
            model.zero_grad()
            if name in MODES:
                model.columns.remember(**MODES[name])
            outputs = (model if name in MODES else plain)(images)
            outputs.square().mean().backward()

        functions = {name: functools.partial(step, name) for name in (*MODES, "straightforward")}
        times = interleaved(functions, arguments.rounds)
        print(f"\nbatch {batch}, {size} pixels; seconds, and ratios to plain: CPU, wall")
        for name, timing in times.items():
            cpu, wall = (ratio(timing, times["none"], clock) for clock in ("cpu", "wall"))
            print(f"  {name:24} {statistics.median(timing.cpu):6.2f}  {cpu}  {wall}")


if __name__ == "__main__":
    main()
