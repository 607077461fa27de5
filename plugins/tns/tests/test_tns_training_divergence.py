"""A training whose numbers are no longer finite says where, and what to do."""

from __future__ import annotations

import math

import pytest
import torch
from torch_geometric.data import TemporalData

from zoo_core.errors import ZooError
from zoo_tns.model import TemporalGNN
from zoo_tns.training import TrainingConfig, train_link_prediction

STEPS = 3
"""Of an epoch."""


def stream(count=200):
    generator = torch.Generator().manual_seed(0)
    src = torch.randint(8, (count,), generator=generator)
    return TemporalData(
        src=src,
        dst=8 + (2 * src + torch.randint(3, (count,), generator=generator)) % 16,
        t=torch.arange(count),
        msg=torch.randn(count, 2, generator=generator),
    )


def network():
    torch.manual_seed(0)
    return TemporalGNN(None, 2, node_dim=4, time_dim=4, hidden=4, k=3)


def train(model, out=None, **changes):
    config = {"epochs": 3, "batch_size": 40}
    return train_link_prediction(
        model, stream(), config=TrainingConfig(**(config | changes)), out=out, progress=False
    )


@pytest.fixture
def spoil(monkeypatch):
    """Has a step of the optimizer end with a value in all weights of the predictor."""

    def at(model, step, value):
        plain, done = torch.optim.Adam.step, []

        def stepped(self, *given):
            plain(self, *given)
            done.append(self)
            if len(done) == step:
                torch.nn.init.constant_(model.predictor.fc1.weight, value)
                torch.nn.init.constant_(model.predictor.fc2.weight, value)

        monkeypatch.setattr(torch.optim.Adam, "step", stepped)
        return model

    return at


@pytest.mark.parametrize("every", [None, 1])
def test_weights_are_checked_before_they_are_validated(spoil, tmp_path, every):
    model = spoil(network(), 2 * STEPS, math.nan)
    message = (
        r"a weight is not finite in epoch 2, batch 3 of 3; .* from before\. Try a lower learning"
    )
    with pytest.raises(ZooError, match=message):
        train(model, tmp_path, checkpoint_every=every)
    [left] = (tmp_path / "checkpoints").iterdir()
    assert left.name == f"step-0000000{3 if every is None else 5}-epoch-0001"


def test_a_checkpoint_within_an_epoch_has_finite_weights(spoil, tmp_path):
    with pytest.raises(ZooError, match="a weight is not finite in epoch 1, batch 1 of 3"):
        train(spoil(network(), 1, math.inf), tmp_path, checkpoint_every=1)
    assert not (tmp_path / "checkpoints").exists()


def test_finite_weights_that_score_without_bound_are_told_of(spoil):
    model = spoil(network(), STEPS, 3e38)
    with pytest.raises(ZooError, match=r"cannot be scored .* in epoch 1, batch 3 of 3; .*lower"):
        train(model)
