"""Time of a training step in every memory mode, against plain autograd; and plain, against naive.

    python plugins/revcol/benchmarks/step_time.py

Forward and backward of tiny's columns in one process, rounds in turn, CPU seconds of the process.
About four minutes.
"""

from __future__ import annotations

import argparse
import copy
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
    models = {name: copy.deepcopy(model) for name in MODES}
    for name, options in MODES.items():
        models[name].columns.remember(**options)
    models["straightforward"] = Straightforward(copy.deepcopy(model))
    for batch, size in ((16, 64), (4, 224)):
        images = torch.randn(batch, 3, size, size)

        def step(name: str, images: torch.Tensor = images) -> None:
            models[name](images).square().mean().backward()

        functions = {name: (lambda name=name: step(name)) for name in models}
        times = interleaved(functions, arguments.rounds)
        print(f"\nbatch {batch}, {size} pixels")
        for name, timing in times.items():
            of_plain = ratio(timing, times["none"])
            print(f"  {name:24} {statistics.median(timing.cpu):6.2f} s  {of_plain} of plain")


if __name__ == "__main__":
    main()
