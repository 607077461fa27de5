"""torch.compile takes the whole network, without a graph break, in every memory mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from zoo_revcol.reversible import ModuleLevel, ReversibleColumns

MODES = {
    "none": {"memory": "none"},
    "checkpoint": {"memory": "checkpoint"},
    "within a column": {"memory": "reversible"},
    "one exact chain": {"memory": "reversible", "anchor_every": 99, "exact": True},
}
CONFIG = {"channels": (4, 8, 12, 16), "layers": (1, 1, 1, 1), "num_columns": 2, "num_classes": 5}

every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(autouse=True)
def fresh_compiler():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    torch.set_num_threads(threads)


class Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.3)

    def forward(self, stem, lower, higher):
        total = stem
        for each in (*lower, *higher):
            total = total + each
        return self.dropout(torch.tanh(self.linear(total)))


def gradients(module, call, x):
    module.zero_grad()
    x = x.detach().requires_grad_()
    torch.manual_seed(0)
    call(x).square().sum().backward()
    return [x.grad, *(each.grad for each in module.parameters())]


def difference(given, expected):
    return max(
        float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))
        for ours, theirs in zip(given, expected, strict=True)
    )


@every_mode
def test_columns_with_dropout(mode):
    torch.manual_seed(1)
    columns = ReversibleColumns(
        [[ModuleLevel(Mix(), (4,)) for _ in range(2)] for _ in range(3)], **MODES[mode]
    ).double()
    stem = torch.randn(6, 4, dtype=torch.float64)
    expected = gradients(columns, lambda x: columns(x)[-1], stem)
    compiled = torch.compile(columns, backend="aot_eager", fullgraph=True)
    assert difference(gradients(columns, lambda x: compiled(x)[-1], stem), expected) < 1e-10
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("mode", ["checkpoint", "within a column"])
def test_the_network(mode, make, images):
    model = make({**CONFIG, "drop_path_rate": 0.3, "memory": MODES[mode]["memory"]}).train()
    expected = gradients(model, model, images(2, 3, 32, 32))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert difference(gradients(model, compiled, images(2, 3, 32, 32)), expected) < 1e-10
    assert counters["stats"]["unique_graphs"] == 1


def test_evaluation_without_gradients(make, images):
    model = make(CONFIG)
    with torch.no_grad():
        expected = model(images(2, 3, 32, 32))
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        output = compiled(images(2, 3, 32, 32))
    assert (output - expected).abs().max() <= 1e-10 * expected.abs().max()
