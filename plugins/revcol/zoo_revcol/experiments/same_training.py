"""Training in less memory is the same training."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_revcol.experiments import cifar
from zoo_revcol.experiments.training import Recipe, accuracy, fit

_MODES = {
    "none": {"memory": "none"},
    "checkpoint": {"memory": "checkpoint"},
    "reversible, k=1": {"memory": "reversible"},
    "reversible, k=4, exact": {"memory": "reversible", "anchor_every": 4, "exact": True},
}
_RECIPE = Recipe(epochs=2)
_HEADS = tuple(f"accuracy of head {head} (%)" for head in (1, 2, 3, 4))


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains one network from one seed in every memory mode, two epochs each."""
    train, test = (cifar.read(context.data(cifar.FOLDER), part) for part in ("train", "test"))
    cases = [(seed, mode) for seed in context.seeds for mode in _MODES]
    with one_thread():
        for seed, mode in context.progress(cases, "training in every memory mode"):
            torch.manual_seed(seed)
            network = cifar.NETWORKS["4 columns, supervised"]()
            network.columns.remember(**_MODES[mode])
            started = time.process_time()
            loss = fit(network, train, _RECIPE)
            seconds = time.process_time() - started
            accuracies = (accuracy(head, test) for head in heads(network))
            yield {
                "seed": seed,
                "memory": mode,
                "loss": loss,
                **dict(zip(_HEADS, accuracies, strict=True)),
                "CPU seconds": seconds,
            }


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether loss and accuracies are those of plain autograd, seed by seed."""
    plain = {row["seed"]: row for row in rows if row["memory"] == "none"}
    loss = max(abs(row["loss"] - plain[row["seed"]]["loss"]) for row in rows)
    points = max(abs(row[head] - plain[row["seed"]][head]) for row in rows for head in _HEADS)
    return (
        loss <= 1e-3 and points <= 0.5,
        f"against memory='none' the loss differs by at most {loss:.1g} (limit 1e-3), an accuracy "
        f"by at most {points:.1f} points (0.5)",
    )


def heads(network: nn.Module) -> Iterator[Any]:
    """Yields images -> logits of every supervised head, the last one last; in evaluation mode."""
    network.eval()

    def earlier(place: int) -> Any:
        def logits(images: Tensor) -> Tensor:
            column = network.supervised_columns[place]
            return network.supervision.heads[place](network.forward_columns(images)[column][-1])

        return logits

    for place in range(len(network.supervised_columns)):
        yield earlier(place)
    yield network
