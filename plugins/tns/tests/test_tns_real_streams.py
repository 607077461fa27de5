"""Facts of the real streams: how many queries have histories longer than what is sampled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from zoo_tns.events import load_dataset
from zoo_tns.index import TemporalIndex


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("jodie-wikipedia", (77, 93, 74)),
        ("collegemsg", (90, 87, 32)),
        ("sfhh-conference", (97, 96, 76)),
        ("bitcoin-otc", (60.5, 56, 11.5)),
    ],
)
def test_the_share_of_queries_at_which_a_rate_can_act(name, shares):
    root = os.environ.get("ZOO_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"needs the folder {name} in ZOO_DATA")
    data = load_dataset(name, root)
    index = TemporalIndex.from_data(data)
    destinations = data.dst.unique()
    drawn = torch.randint(
        len(destinations), data.t.shape, generator=torch.Generator().manual_seed(0)
    )
    for nodes, share in zip((data.src, data.dst, destinations[drawn]), shares, strict=True):
        active = (index.count(nodes, data.t) > 10).double().mean()
        assert 100 * float(active) == pytest.approx(share, abs=0.6)
