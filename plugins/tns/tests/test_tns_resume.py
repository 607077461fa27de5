"""A training that was stopped anywhere goes on to the bit, and never in the wrong folder."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch_geometric.data import TemporalData

from zoo_core.errors import CheckpointError, SaveError
from zoo_core.threads import one_thread
from zoo_tns.model import TemporalGNN
from zoo_tns.training import TrainingConfig, checkpointing, train_link_prediction

KINDS = {
    "tns": {"sampler": "tns", "init_rate": 1.3},
    "uniform": {"sampler": "uniform"},
    "no memory": {"sampler": "tns", "memory": False, "aggr": "mean"},
}
STEPS = 3
"""Of an epoch."""


def stream(count=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(8, (count,), generator=generator)
    return TemporalData(
        src=src,
        dst=8 + (2 * src + torch.randint(3, (count,), generator=generator)) % 16,
        t=torch.randint(4 * count, (count,), generator=generator).sort().values,
        msg=torch.randn(count, 2, generator=generator),
    )


def network(seed=0, **changes):
    torch.manual_seed(seed)
    config = {"node_dim": 4, "time_dim": 4, "hidden": 4, "k": 3, "dropout": 0.2}
    return TemporalGNN(None, 2, **(config | changes))


def train(model, out=None, data=None, resume=True, **changes):
    config = {"epochs": 3, "batch_size": 40, "lr": 1e-2, "patience": None}
    return train_link_prediction(
        model,
        stream() if data is None else data,
        config=TrainingConfig(**(config | changes)),
        out=out,
        resume=resume,
        progress=False,
    )


class Killed(Exception):
    """Stands for what leaves a process no time."""


def at_step(model, step, action):
    """Has the model do something when training asks for its scores that often."""
    plain, calls = model.forward, []

    def forward(*given):
        if model.training:
            calls.append(given)
            if len(calls) == step:
                action()
        return plain(*given)

    model.forward = forward
    return model


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def kill():
    raise Killed


def untimed(history):
    return [{key: each[key] for key in each if key != "seconds"} for each in history]


def assert_same(model, outcome, other_model, other_outcome):
    assert untimed(outcome.history) == untimed(other_outcome.history)
    assert outcome.test == other_outcome.test
    assert outcome.new_node_test == other_outcome.new_node_test
    assert outcome.best_epoch == other_outcome.best_epoch
    for mine, theirs in (
        (model.state_dict(), other_model.state_dict()),
        (model.memory_state(), other_model.memory_state()),
    ):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture(scope="module", params=KINDS)
def whole(request):
    """A training that nothing interrupted: (settings of the model, model, outcome)."""
    settings = KINDS[request.param]
    model = network(**settings)
    with one_thread():
        return settings, model, train(model)


@pytest.mark.parametrize("step", [1, 2, STEPS, STEPS + 2, 3 * STEPS])
def test_a_signal_leaves_what_can_be_resumed_to_the_bit(whole, step, tmp_path):
    settings, model, outcome = whole
    handler = signal.getsignal(signal.SIGTERM)
    stopped = train(at_step(network(**settings), step, terminate), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (stopped.finished, stopped.signal) == (False, signal.SIGTERM)
    assert len(stopped.history) == (step - 1) // STEPS
    other = network(seed=9, **settings)
    torch.manual_seed(123)
    assert_same(other, train(other, tmp_path), model, outcome)


@pytest.mark.parametrize("every", [None, 2])
def test_after_a_kill_it_goes_on_from_the_last_checkpoint(whole, every, tmp_path):
    settings, model, outcome = whole
    with pytest.raises(Killed):
        train(at_step(network(**settings), 6, kill), tmp_path, checkpoint_every=every)
    names = [each.name for each in (tmp_path / "checkpoints").iterdir()]
    assert names == ["step-00000003" if every is None else "step-00000004"]
    other = network(seed=9, **settings)
    assert_same(other, train(other, tmp_path), model, outcome)


def test_a_finished_training_is_tested_again_and_more_epochs_go_on(tmp_path):
    first = network()
    outcome = train(first, tmp_path, epochs=2)
    second = at_step(network(seed=9), 1, kill)
    assert_same(second, train(second, tmp_path, epochs=2), first, outcome)
    longer, plain = network(seed=9), network()
    assert_same(longer, train(longer, tmp_path, epochs=3), plain, train(plain, epochs=3))


def test_without_a_folder_an_interrupted_training_says_so():
    stopped = train(at_step(network(), 4, terminate))
    assert (stopped.finished, stopped.signal, len(stopped.history)) == (False, signal.SIGTERM, 1)
    assert stopped.test == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.1}, r"config.lr \(0.01 there, 0.1 here\)"),
        ({"seed": 1}, "config.seed"),
        ({"data": stream(201)}, "data .*events"),
        ({"data": stream(200, seed=1)}, "data "),
    ],
)
def test_another_training_is_not_mixed_in(tmp_path, changes, message):
    train(at_step(network(), 2, terminate), tmp_path)
    with pytest.raises(CheckpointError, match=message):
        train(network(), tmp_path, **changes)
    with pytest.raises(CheckpointError, match=r"model\.hidden"):
        train(network(hidden=6), tmp_path)


def test_a_training_is_not_overwritten(tmp_path):
    train(network(), tmp_path, epochs=1)
    before = sorted((each.name, each.stat().st_mtime_ns) for each in tmp_path.iterdir())
    with pytest.raises(SaveError, match="already holds a training"):
        train(network(), tmp_path, resume=False, epochs=1)
    assert before == sorted((each.name, each.stat().st_mtime_ns) for each in tmp_path.iterdir())
    (tmp_path / "run.json").unlink()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SaveError, match="already holds a saved model"):
        train(network(), tmp_path, resume=False)
    with pytest.raises(SaveError, match="not a folder"):
        train(network(), tmp_path / "config.json")


def damaged_json(folder):
    (folder / "state.json").write_text("{")


def other_step(folder):
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"step": state["step"] + 1}))


def lost_history(folder):
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"history": []}))


def cut(name):
    def cut_short(folder):
        path = folder / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:-3])

    return cut_short


def changed(name, change):
    def rewrite(folder):
        path = folder / f"{name}.safetensors"
        save_file(change(load_file(path)), path)

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
        (other_step, "is damaged"),
        (lost_history, "is damaged"),
        (cut("model"), "cannot be read"),
        (cut("memory"), "cannot be read"),
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
def test_a_damaged_checkpoint_is_refused(tmp_path, damage, message):
    train(at_step(network(), 4, terminate), tmp_path)
    damage(next((tmp_path / "checkpoints").iterdir()))
    with pytest.raises(CheckpointError, match=message):
        train(network(), tmp_path)


def test_a_write_that_fails_leaves_the_checkpoint_from_before(tmp_path, monkeypatch):
    plain, written = checkpointing.write_tensors, []

    def full_disk(path, tensors):
        written.append(path.name)
        if len(written) == 8:
            raise OSError(28, "No space left on device")
        plain(path, tensors)

    monkeypatch.setattr(checkpointing, "write_tensors", full_disk)
    with pytest.raises(SaveError, match="No space left"):
        train(network(), tmp_path)
    assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]
    monkeypatch.undo()
    other, model = network(seed=9), network()
    assert_same(other, train(other, tmp_path), model, train(model))


def test_what_a_killed_write_left_is_cleared(tmp_path):
    left = tmp_path / "checkpoints" / ".step-00000002.abc"
    left.mkdir(parents=True)
    train(network(), tmp_path, epochs=1)
    assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]


def test_nothing_in_a_checkpoint_is_unpickled(tmp_path):
    train(network(), tmp_path, epochs=1)
    names = {each.suffix for each in (tmp_path / "checkpoints").rglob("*") if each.is_file()}
    assert names == {".safetensors", ".json"}
