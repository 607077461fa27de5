"""Small trainings that tests stop, damage and go on with."""

from __future__ import annotations

import torch
from torch_geometric.data import TemporalData

from zoo_tns.model import TemporalGNN
from zoo_tns.training import TrainingConfig, train_link_prediction


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


def train(model, out, data=None, resume=True, node_features=None, **changes):
    config = {"epochs": 1, "batch_size": 40, "lr": 1e-2, "patience": None}
    return train_link_prediction(
        model,
        stream() if data is None else data,
        config=TrainingConfig(**(config | changes)),
        out=out,
        resume=resume,
        node_features=node_features,
        progress=False,
    )
