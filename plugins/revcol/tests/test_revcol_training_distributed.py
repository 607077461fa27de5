"""Two processes on the CPU: one network, the gradients of one process with all the images."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from zoo_revcol.model import RevCol
from zoo_revcol.training import Recipe, fit, tensor_batches

PLAIN = {
    "epochs": 2,
    "lr": 2e-2,
    "lr_images": 8,
    "warmup_epochs": 1,
    "clip": 0.5,
    "ema": 0.8,
    "supervision": True,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
}
COMMON = """
import json, os, signal, sys
import torch
from safetensors.torch import save_file
torch.set_num_threads(1)
from zoo_revcol.training.acceleration import process_place
from zoo_revcol.model import RevCol
from zoo_revcol.training import Recipe, TensorAugmentation, fit, tensor_batches

plain, folder = json.loads(sys.argv[1]), sys.argv[2]
rank, world = process_place()
assert world == 2
generator = torch.Generator().manual_seed(5)
images = torch.randn(35, 3, 32, 32, generator=generator, dtype=torch.float64)
labels = torch.randint(3, (35,), generator=generator)
held_out = tensor_batches(images[:9], labels[:9], 4, training=False)
calls = 0


def network(drop_path=0.0):
    torch.manual_seed(rank)  # the processes are to start from the first one's weights all the same
    return RevCol((4, 8, 16, 32), (1, 1, 1, 1), 4, num_classes=3, drop_path_rate=drop_path,
                  intermediate_supervision=True, layer_scale_init=0.5,
                  memory=MEMORY).double()


def save(name, outcome):
    state = outcome.model.state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, f"{folder}/{name}-{rank}")
    with open(f"{folder}/{name}-{rank}.json", "w") as file:
        json.dump([outcome.step, outcome.signal, outcome.metrics], file)
"""
SCRIPT = (
    COMMON
    + """
MEMORY = "none"
recipe = Recipe(**plain)
save("plain", fit(network(), recipe, tensor_batches(images, labels, 4), validation=held_out))
save("small", fit(network(), recipe, tensor_batches(images, labels, 2), accumulation=2))
MEMORY = "checkpoint"
save("saving", fit(network(), recipe, tensor_batches(images, labels, 4)))

recipe = recipe.changed(mixup=0.8, cutmix=1.0, drop_path=0.5, tensors=True, shift=4.0)
augment = TensorAugmentation.of(recipe)


def signalled(images):
    global calls
    calls += 1
    if rank == 1 and calls == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return augment(images)


from pathlib import Path
made = tensor_batches(images, labels, 4, augment=augment)
save("whole", fit(network(0.5), recipe, made, validation=held_out))
out = Path(folder) / "run"
killed = tensor_batches(images, labels, 4, augment=signalled)
save("stopped", fit(network(0.5), recipe, killed, validation=held_out, out=out))
save("again", fit(network(0.5), recipe, made, validation=held_out, out=out, resume=True))
"""
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two processes saved, by the name of the run: (tensors of rank 0, rank 1, outcome)."""
    folder = tmp_path_factory.mktemp("distributed")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(script), json.dumps(PLAIN), str(folder)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = {}
    for name in ("plain", "small", "saving", "whole", "stopped", "again"):
        ranks = [load_file(folder / f"{name}-{rank}") for rank in (0, 1)]
        outcomes = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
        found[name] = (*ranks, *outcomes)
    return found


@pytest.fixture(scope="module")
def alone():
    """The same run in this process, with all of a step's images in one batch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(35, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (35,), generator=generator)
    torch.manual_seed(0)
    model = RevCol(
        (4, 8, 16, 32),
        (1, 1, 1, 1),
        4,
        num_classes=3,
        intermediate_supervision=True,
        layer_scale_init=0.5,
    ).double()
    held_out = tensor_batches(images[:9], labels[:9], 9, training=False)
    made = tensor_batches(images, labels, 8)
    outcome = fit(model, Recipe(**PLAIN), made, validation=held_out)
    torch.set_num_threads(threads)
    return outcome


@pytest.mark.parametrize("name", ["plain", "small", "saving", "whole", "stopped", "again"])
def test_both_processes_have_the_same_weights(name, results):
    one, other, first, second = results[name]
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert first == second


@pytest.mark.parametrize("name", ["plain", "small", "saving"])
def test_they_are_those_of_one_process_with_the_same_images(name, results, alone):
    tensors, _, (step, _, metrics), _ = results[name]
    assert step == alone.step == 8
    for key, value in alone.model.state_dict().items():
        torch.testing.assert_close(tensors[key], value, rtol=1e-7, atol=1e-9)
    if name == "plain":
        assert metrics["accuracy"] == pytest.approx(alone.metrics["accuracy"])
        assert metrics["ema_loss"] == pytest.approx(alone.metrics["ema_loss"], rel=1e-7)
        ninth = alone.metrics["accuracy"] * 9 / 100
        assert ninth == pytest.approx(round(ninth))  # of nine images, each counted once


def test_a_signal_to_one_process_stops_both_and_they_go_on(results):
    step, number, _ = results["stopped"][2]
    assert step in (2, 3)
    assert number == 15
    whole, again = results["whole"], results["again"]
    assert again[2][0] == 8
    assert again[2] == whole[2]
    assert all(torch.equal(again[0][key], whole[0][key]) for key in whole[0])
