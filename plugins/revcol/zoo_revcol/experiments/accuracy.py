"""Columns beside a wide network of as many parameters, on few images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import torch

from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_revcol.experiments import cifar
from zoo_revcol.experiments.training import Recipe, accuracy, fit

_RECIPE = Recipe(epochs=10)
_ACCURACY = "test accuracy (%)"


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains every network with one recipe, ten epochs each."""
    train, test = (cifar.read(context.data(cifar.FOLDER), part) for part in ("train", "test"))
    cases = [(seed, name) for seed in context.seeds for name in cifar.NETWORKS]
    with one_thread():
        for seed, name in context.progress(cases, "training"):
            torch.manual_seed(seed)
            network = cifar.NETWORKS[name]()
            started = time.process_time()
            fit(network, train, _RECIPE)
            seconds = time.process_time() - started
            inference = [
                each.numel()
                for key, each in network.named_parameters()
                if not key.startswith("supervision.")
            ]
            yield {
                "seed": seed,
                "network": name,
                "parameters": sum(inference),
                _ACCURACY: accuracy(network.eval(), test),
                "CPU seconds": seconds,
            }


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether four columns beat one wide column of as many parameters."""
    means = {
        name: fmean(row[_ACCURACY] for row in rows if row["network"] == name)
        for name in cifar.NETWORKS
    }
    best = max(means["4 columns"], means["4 columns, supervised"])
    return (
        best > means["1 wide column"],
        f"four columns reach {best:.1f} % at best, one wide column {means['1 wide column']:.1f} % "
        "(one standard error of a run is 1.6 points); the paper's gains are those of training on "
        "ImageNet for hundreds of epochs",
    )
