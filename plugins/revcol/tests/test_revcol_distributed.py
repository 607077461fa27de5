"""Two processes train as one: DistributedDataParallel and FSDP2 over gloo, in every memory mode."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from zoo_revcol.experiments.weights import randomise
from zoo_revcol.loss import revcol_loss
from zoo_revcol.model import RevCol

MODES = {
    "none": {"memory": "none"},
    "checkpoint": {"memory": "checkpoint"},
    "within a column": {"memory": "reversible"},
    "chains of two": {"memory": "reversible", "anchor_every": 2},
    "one exact chain": {"memory": "reversible", "anchor_every": 99, "exact": True},
}
WAYS = ["ddp", "ddp, supervised", "ddp, accumulated", "fsdp, levels", "fsdp, columns", "fsdp, root"]
LOW_PRECISION = "fsdp, bfloat16"
WORLD = 2
STEPS = 2
TIMEOUT = 240


def build(supervised=False):
    model = RevCol(
        channels=(4, 8, 12, 16),
        layers=(1, 1, 1, 1),
        num_columns=4 if supervised else 3,
        num_classes=5,
        top_down_skip=True,
        intermediate_supervision=supervised,
    )
    return randomise(model).double().train()


def batch(step):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(2 * WORLD, 3, 32, 32, generator=generator, dtype=torch.float64)
    return images, torch.randint(5, (2 * WORLD,), generator=generator)


def loss_of(model, images, labels):
    output = model(images)
    if isinstance(output, tuple):
        return revcol_loss(output, images, labels)[0]
    return torch.nn.functional.cross_entropy(output, labels)


def optimiser_of(model):
    # Momentum SGD, unlike Adam, would show a wrong factor on the gradients.
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def train(model, rows, parts=1, accumulating=contextlib.nullcontext):
    """Some optimiser steps on `rows` of every batch, which are given in `parts`."""
    optimiser = optimiser_of(model)
    for step in range(STEPS):
        images, labels = (each[rows] for each in batch(step))
        optimiser.zero_grad()
        pieces = list(zip(images.chunk(parts), labels.chunk(parts), strict=True))
        for number, piece in enumerate(pieces):
            last = number == parts - 1
            with contextlib.nullcontext() if last else accumulating():
                (loss_of(model, *piece) / parts).backward()
        optimiser.step()


def sharded(model, way):
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    options = {}
    if way == LOW_PRECISION:
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    for column in model.columns:
        if way in ("fsdp, levels", LOW_PRECISION):
            for level in column.levels:
                fully_shard(level, **options)
        if way != "fsdp, root":
            fully_shard(column, **options)
    return fully_shard(model, **options)


def trained_in_two(way, mode, rank):
    """The weights after training, whole."""
    model = build(way == "ddp, supervised")
    model.columns.remember(**MODES[mode])
    rows = slice(2 * rank, 2 * rank + 2)
    if way.startswith("ddp"):
        parallel = DistributedDataParallel(model)
        if way == "ddp, accumulated":
            train(parallel, rows, parts=2, accumulating=parallel.no_sync)
        else:
            train(parallel, rows)
        return [each.detach() for each in model.parameters()]
    train(sharded(model, way), rows)
    return [each.full_tensor().detach() for each in model.parameters()]


def alone(way):
    model = build(way == "ddp, supervised")
    model.columns.remember("none")
    start = [each.detach().clone() for each in model.parameters()]
    train(model, slice(None))
    return start, [each.detach() for each in model.parameters()]


def worst(given, expected):
    return max(
        float((ours - theirs).abs().max()) for ours, theirs in zip(given, expected, strict=True)
    )


def worker(rank, folder):
    """Runs everything as one of the processes, and writes what it found."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=(folder / "rendezvous").as_uri(), rank=rank, world_size=WORLD
    )
    found = {}
    for way in WAYS:
        start, expected = alone(way)
        for mode in MODES:
            found[f"{way}: {mode}"] = worst(trained_in_two(way, mode, rank), expected)
        found[way] = worst(start, expected)
    plain = trained_in_two(LOW_PRECISION, "none", rank)
    found[f"{LOW_PRECISION}: checkpoint"] = worst(
        trained_in_two(LOW_PRECISION, "checkpoint", rank), plain
    )
    (folder / f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """For each process what it found."""
    folder: Path = tmp_path_factory.mktemp("distributed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(WORLD)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="this torch has no gloo")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_train_as_one(way, mode, found):
    for of_process in found:
        assert of_process[way] > 1e-3  # training moves the weights
        assert of_process[f"{way}: {mode}"] < 1e-10


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="this torch has no gloo")
def test_mixed_precision_of_fsdp(found):
    for of_process in found:
        assert of_process[f"{LOW_PRECISION}: checkpoint"] < 1e-10


if __name__ == "__main__":
    worker(int(sys.argv[1]), Path(sys.argv[2]))
