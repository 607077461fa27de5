"""A checkpoint that is not as it was written is refused."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file
from tns_training import network, train

from zoo_core.errors import CheckpointError


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a training that was stopped after the first step of its second epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    model = network()
    plain, calls = model.forward, []

    def forward(*given):
        calls.append(model.training)
        if sum(calls) == 4 and model.training:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*given)

    model.forward = forward
    assert not train(model, folder, epochs=3).finished
    return folder


def damaged_json(folder):
    (folder / "state.json").write_text("{")


def nested(folder):
    (folder / "state.json").write_text("[" * 100_000 + "]" * 100_000)


def stated(**changes):
    """Another state; values may be functions of those there."""

    def rewrite(folder):
        state = json.loads((folder / "state.json").read_text())
        for name, value in changes.items():
            state[name] = value(state[name]) if callable(value) else value
        (folder / "state.json").write_text(json.dumps(state))

    return rewrite


def flipped(name):
    def flip(folder):
        path = folder / f"{name}.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    return flip


def lost(name):
    return lambda folder: (folder / f"{name}.safetensors").unlink()


def cut(name):
    def cut_short(folder):
        path = folder / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:-3])

    return cut_short


def changed(name, change):
    """Another file with the digest that belongs to it."""

    def rewrite(folder):
        path = folder / f"{name}.safetensors"
        save_file(change(load_file(path)), path)
        state = json.loads((folder / "state.json").read_text())
        state["digests"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "state.json").write_text(json.dumps(state))

    return rewrite


def without_first(tensors):
    return dict(list(tensors.items())[1:])


def not_finite(tensors):
    name = next(iter(tensors))
    return tensors | {name: tensors[name] * float("nan")}


def wider(tensors):
    return {
        name: torch.cat([value, value], -1) if value.ndim > 1 else value
        for name, value in tensors.items()
    }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged_json, "cannot be read"),
        (nested, "cannot be read"),
        (stated(format=1), "another format"),
        (stated(step=lambda step: step + 1), r"state\.json is damaged"),
        (stated(history=[]), r"state\.json is damaged"),
        (stated(history=lambda it: [it[0] | {"loss": None}]), r"state\.json is damaged"),
        (stated(history=lambda it: [it[0] | {"epoch": 2}]), r"state\.json is damaged"),
        (stated(best_epoch=0), r"state\.json is damaged"),
        (stated(best_epoch=2), r"state\.json is damaged"),
        (stated(best_val_ap=math.nan), r"state\.json is damaged"),
        (stated(best_val_ap=0.123), r"state\.json is damaged"),
        (stated(sums=lambda it: it | {"loss": math.inf}), r"state\.json is damaged"),
        (stated(sums={}), r"state\.json is damaged"),
        (stated(sums={"loss": 1.0}), r"state\.json is damaged"),
        (stated(batch=True), r"state\.json is damaged"),
        (stated(digests={}), r"state\.json is damaged"),
        (stated(digests=lambda it: {**it, "model": None}), "SHA-256"),
        (cut("model"), "is damaged: its SHA-256"),
        (cut("memory"), "is damaged: its SHA-256"),
        (flipped("best-model"), r"best-model.* is damaged: its SHA-256"),
        (flipped("optimizer"), r"optimizer.* is damaged: its SHA-256"),
        (lost("best-memory"), "cannot be read"),
        (changed("optimizer", not_finite), r"optimizer.* values that are not finite"),
        (changed("model", without_first), "of another model"),
        (changed("model", wider), "of another model"),
        (changed("model", not_finite), "not finite"),
        (changed("best-model", without_first), "of another model"),
        (changed("optimizer", without_first), "not of this model's optimizer"),
        (changed("optimizer", wider), "not of this model's optimizer"),
        (changed("memory", without_first), "not this model's"),
        (changed("best-memory", wider), "not this model's"),
    ],
)
def test_a_damaged_checkpoint_is_refused(stopped, tmp_path, damage, message):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    damage(next((tmp_path / "checkpoints").iterdir()))
    with pytest.raises(CheckpointError, match=message) as error:
        train(network(), tmp_path, epochs=3)
    assert len(str(error.value).splitlines()) == 1
