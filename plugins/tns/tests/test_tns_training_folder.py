"""A folder belongs to one training, and to one process at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from tns_training import network, stream, train

from zoo_core.errors import CheckpointError, ConfigError, SaveError, ZooError, ZooWarning
from zoo_tns.splits import chronological_split
from zoo_tns.training import TrainingConfig, train_link_prediction
from zoo_tns.training.locking import locked, require_free


def contents(folder):
    return {each.name: each.stat().st_mtime_ns for each in folder.iterdir() if each.name != ".lock"}


HOLDER = """
import sys, time
from pathlib import Path
from zoo_tns.training.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains in the folder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_is_gone(holder, tmp_path):
    for refused in (lambda: train(network(), tmp_path), lambda: require_free(tmp_path)):
        with pytest.raises(SaveError, match=r"another process trains in .* already"):
            refused()
    assert contents(tmp_path) == {}
    holder.kill()  # leaves it no time to clean up
    holder.wait()
    require_free(tmp_path)
    assert train(network(), tmp_path).finished


def test_the_folder_is_held_for_the_whole_run_and_then_free(tmp_path):
    tried = []

    def intrude(record):
        with pytest.raises(SaveError, match="another process"):
            train(network(), tmp_path)
        tried.append(record["epoch"])

    train_link_prediction(
        network(),
        stream(),
        config=TrainingConfig(epochs=2, batch_size=40),
        out=tmp_path,
        progress=False,
        callbacks=[intrude],
    )
    assert tried == [1, 2]
    with locked(tmp_path):
        pass
    with pytest.raises(CheckpointError):
        train(network(), tmp_path, lr=1.0)
    with locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch):
    def unknown(self, **options):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", unknown)
    with pytest.warns(ZooWarning, match="without locks"), locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.1}, r"config.lr \(0.01 there, 0.1 here\)"),
        ({"seed": 1}, "config.seed"),
        ({"data": stream(201)}, "data .*events"),
        ({"data": stream(200, seed=1)}, "data "),
        ({"data": chronological_split(stream(), seed=1)}, r"different are: data \("),
    ],
)
def test_another_training_is_not_mixed_in(tmp_path, changes, message):
    train(network(), tmp_path)
    with pytest.raises(CheckpointError, match=message):
        train(network(), tmp_path, **changes)
    with pytest.raises(CheckpointError, match=r"model\.hidden"):
        train(network(hidden=6), tmp_path)


def test_another_rate_type_or_feature_is_another_training(tmp_path):
    train(network(), tmp_path, node_features=torch.ones(24, 4))
    held = network()
    held.hold_rate(2.0)
    for model, features, message in (
        (network(), torch.zeros(24, 4), "node_features"),
        (network(), None, r"node_features .* None here"),
        (held, torch.ones(24, 4), "held_rates"),
        (network().double(), torch.ones(24, 4), r"dtype .*float32' there, 'torch.float64' here"),
    ):
        with pytest.raises(CheckpointError, match=message):
            train(model, tmp_path, node_features=features)
    assert train(network(), tmp_path, node_features=torch.ones(24, 4)).finished


def test_a_training_is_not_overwritten(tmp_path):
    train(network(), tmp_path)
    before = contents(tmp_path)
    with pytest.raises(SaveError, match="already holds a training"):
        train(network(), tmp_path, resume=False)
    (tmp_path / "run.json").rename(tmp_path / "other.json")
    with pytest.raises(CheckpointError, match=r"has checkpoints and no run\.json"):
        train(network(), tmp_path)
    (tmp_path / "other.json").rename(tmp_path / "run.json")
    assert contents(tmp_path) == before
    with pytest.raises(SaveError, match="not a folder"):
        train(network(), tmp_path / "run.json")


@pytest.mark.parametrize("resume", [True, False])
def test_a_saved_model_is_not_overwritten(tmp_path, resume):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SaveError, match="already holds a saved model"):
        train(network(), tmp_path, resume=resume)
    assert list(contents(tmp_path)) == ["config.json"]


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_a_damaged_identity_is_refused(tmp_path, text):
    train(network(), tmp_path)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json cannot be read"):
        train(network(), tmp_path)


@pytest.mark.parametrize("resume", [True, False])
def test_a_first_attempt_that_failed_is_started_anew_and_told_of(tmp_path, resume):
    broken = network()
    torch.nn.init.constant_(broken.predictor.fc2.bias, float("nan"))
    with pytest.raises(ZooError, match="the loss is nan"):
        train(broken, tmp_path, lr=1e-3)
    assert (tmp_path / "run.json").exists()
    with pytest.warns(ZooWarning, match="without a checkpoint; it starts anew"):
        train(network(), tmp_path, resume=resume)
    assert train(network(), tmp_path).finished


def test_fewer_epochs_than_were_done_are_refused(tmp_path):
    train(network(), tmp_path, epochs=2)
    with pytest.raises(ConfigError, match=r"epochs is 1, and .* has 2 already"):
        train(network(), tmp_path, epochs=1)


def test_an_empty_folder_name_is_refused():
    with pytest.raises(ZooError, match="out is '', which is no usable path"):
        train(network(), "")


def test_what_a_killed_process_left_is_cleared(tmp_path):
    kept = tmp_path / "checkpoints" / "step-by-step"
    left = [
        tmp_path / "checkpoints" / ".step-00000002-epoch-0000.abc",
        tmp_path / ".run.json.abc",
        tmp_path / ".log.jsonl.abc",
        tmp_path / ".memory.safetensors.abc",
        tmp_path / ".zoo-abc",
    ]
    for each in (kept, *left):
        each.mkdir(parents=True)
    train(network(), tmp_path)
    assert not any(each.exists() for each in left)
    names = sorted(each.name for each in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000003-epoch-0001", "step-by-step"]
