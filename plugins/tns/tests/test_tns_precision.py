"""Times stay exact, whatever the precision of the weights."""

from __future__ import annotations

import pytest
import torch

from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN
from zoo_tns.time_encoding import TimeEncoder

SRC, DST = [0, 1, 0, 2, 0, 1, 0, 2], [3, 3, 4, 3, 3, 4, 4, 3]
T = [100_000 * each for each in range(1, 9)]


def _model(**changes):
    torch.manual_seed(0)
    made = {"edge_dim": 0, "node_dim": 8, "time_dim": 8, "hidden": 8, "k": 2, "layers": 2}
    model = TemporalGNN(**(made | changes)).eval()
    return model.bind(TemporalGraph(TemporalIndex(SRC, DST, T)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_phases_are_not_rounded_to_half_precision(dtype):
    encoder = TimeEncoder(6)
    elapsed = torch.tensor([2_049, 16_383], dtype=torch.int64)
    with torch.no_grad():
        encoder.bias.fill_(0.5)
    exact = encoder(elapsed)
    found = encoder.to(dtype)(elapsed)
    assert found.dtype == dtype
    weight = encoder.weight.float()
    expected = (elapsed.float().unsqueeze(1) * weight + 0.5).cos()
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.01)
    assert exact.dtype == torch.float32


@pytest.mark.parametrize("sampler", ["recent", "tns"])
@pytest.mark.parametrize("memory", [False, True])
def test_half_precision_gives_finite_embeddings(sampler, memory):
    model = _model(sampler=sampler, memory=memory).half()
    model.update([0], [3], [850_000])
    assert model.embed([0, 3, 4], [900_000, 900_000, 50]).isfinite().all()


@pytest.mark.parametrize("sampler", ["recent", "tns"])
def test_autocast_leaves_times_alone(sampler):
    model = _model(sampler=sampler)
    exact = model.embed([0, 3], [900_001, 900_001])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.embed([0, 3], [900_001, 900_001])
    scale = exact.abs().max()
    assert float((found.float() - exact).abs().max() / scale) < 0.03


def test_an_event_in_nanoseconds_is_asked_at_its_own_time():
    base = 1_600_000_000_000_000_000
    made = {"edge_dim": 0, "node_dim": 8, "time_dim": 8, "hidden": 8, "layers": 2, "k": 3}
    model = TemporalGNN(**made, memory=False, sampler="recent", neighbor_time="event").eval()
    times = torch.tensor([base + 10, base + 200, base + 250, base + 250])
    model.bind(TemporalGraph(TemporalIndex([1, 1, 1, 0], [2, 2, 2, 1], times)))
    asked = torch.tensor([base + 512])  # a float64, and so is no time of these events
    assert torch.equal(model.embed([0], asked), model.embed([0], asked.double()))
