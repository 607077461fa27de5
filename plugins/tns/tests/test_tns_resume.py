"""A training that was stopped anywhere goes on to the bit."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

import pytest
import torch
from tns_training import network, stream

from zoo_core.errors import SaveError
from zoo_core.threads import one_thread
from zoo_tns.training import TrainingConfig, checkpointing, train_link_prediction

KINDS = {
    "tns": {"sampler": "tns", "init_rate": 1.3},
    "uniform": {"sampler": "uniform"},
    "no memory": {"sampler": "tns", "memory": False, "aggr": "mean"},
}
STEPS = 3
"""Of an epoch."""


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
    assert names == [f"step-0000000{4 if every else 3}-epoch-0001"]
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
    assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == [
        "step-00000003-epoch-0001"
    ]
    monkeypatch.undo()
    other, model = network(seed=9), network()
    assert_same(other, train(other, tmp_path), model, train(model))


def test_a_kill_at_an_epochs_end_loses_nothing(whole, tmp_path, monkeypatch):
    settings, model, outcome = whole
    plain, seen = checkpointing.replacing, []

    @contextmanager
    def killed(target):
        # At every moment of a write, the checkpoint from before is whole.
        before = list(target.parent.glob("step-*"))
        with plain(target) as fresh:
            yield fresh
            if len(seen) == 2:
                raise Killed
        assert all(each.exists() for each in before)
        assert target not in before
        seen.append(target.name)

    monkeypatch.setattr(checkpointing, "replacing", killed)
    with pytest.raises(Killed):
        train(network(**settings), tmp_path, checkpoint_every=STEPS)
    assert seen == ["step-00000003-epoch-0000", "step-00000003-epoch-0001"]
    assert [each.name for each in (tmp_path / "checkpoints").glob("step-*")] == seen[1:]
    monkeypatch.undo()
    other = network(seed=9, **settings)
    assert_same(other, train(other, tmp_path), model, outcome)


def test_of_two_checkpoints_the_later_goes_on(whole, tmp_path, monkeypatch):
    settings, model, outcome = whole
    # A kill after the new one is in place, and before the old one is removed.
    plain = checkpointing.shutil.rmtree
    monkeypatch.setattr(
        checkpointing.shutil, "rmtree", lambda it, **options: plain(it, **options) if options else 0
    )
    with pytest.raises(Killed):
        train(at_step(network(**settings), 5, kill), tmp_path, checkpoint_every=STEPS)
    monkeypatch.undo()
    names = sorted(each.name for each in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000003-epoch-0000", "step-00000003-epoch-0001"]
    assert checkpointing.newest_checkpoint(tmp_path).name == names[1]
    other = network(seed=9, **settings)
    assert_same(other, train(other, tmp_path), model, outcome)


def test_dropout_draws_anew_in_every_step_of_every_epoch():
    model, seeds = network(), []
    plain = model.seed_dropout
    model.seed_dropout = lambda seed: (seeds.append(seed), plain(seed))
    train(model, epochs=3)
    validations, tests = 3, 1
    assert len(seeds) == len(set(seeds)) == 3 * STEPS + validations + tests


def test_nothing_in_a_checkpoint_is_unpickled(tmp_path):
    train(network(), tmp_path, epochs=1)
    names = {each.suffix for each in (tmp_path / "checkpoints").rglob("*") if each.is_file()}
    assert names == {".safetensors", ".json"}
