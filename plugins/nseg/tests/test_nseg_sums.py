"""Weighted sums of neighbours as sparse products: values and gradients against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, GIN, GCNConv, GINConv, GraphConv, GraphSAGE, SAGEConv

from zoo_nseg import sums
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.sums import NeighbourSums


def has_sparse_products() -> bool:
    """Asked of torch itself: `sums.available` would also be False for a mistake of ours."""
    one = torch.ones(1, 1)
    try:
        torch.sparse.sampled_addmm(one.to_sparse_csr(), one, one)
    except RuntimeError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_sparse_products(), reason="torch without sparse products")

NODES = 6
SOURCE = torch.tensor([0, 3, 3, 1, 2, 2, 5, 0, 3])
TARGET = torch.tensor([1, 1, 0, 3, 2, 4, 0, 1, 1])
"""Out of order, with parallel edges, a self-loop, and node 5 that nothing reaches."""


def plainly(weights: torch.Tensor, states: torch.Tensor, mean: bool) -> torch.Tensor:
    rows = []
    for node in range(NODES):
        into = [edge for edge in range(len(TARGET)) if TARGET[edge] == node]
        total = states.new_zeros(states.shape[1])
        for edge in into:
            total = total + weights[edge] * states[SOURCE[edge]]
        rows.append(total / max(len(into), 1) if mean else total)
    return torch.stack(rows)


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(len(SOURCE), generator=generator, dtype=torch.float64)
    states = torch.randn(NODES, 3, generator=generator, dtype=torch.float64)
    return weights.requires_grad_(), states.requires_grad_()


@pytest.mark.parametrize("mean", [False, True])
def test_values_and_both_gradients_are_those_of_plain_loops(inputs, mean) -> None:
    gradient = torch.randn(NODES, 3, generator=torch.Generator().manual_seed(1)).double()
    found = NeighbourSums(SOURCE, TARGET, NODES)(*inputs, mean=mean)
    wanted = plainly(*inputs, mean)
    torch.testing.assert_close(found, wanted)
    for one, other in zip(
        torch.autograd.grad(found, inputs, gradient),
        torch.autograd.grad(wanted, inputs, gradient),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_gradients_are_those_of_finite_differences(inputs) -> None:
    assert torch.autograd.gradcheck(NeighbourSums(SOURCE, TARGET, NODES), inputs)


@pytest.mark.parametrize("wanted", [0, 1], ids=["weights", "states"])
def test_either_gradient_alone(inputs, wanted) -> None:
    given = [each if place == wanted else each.detach() for place, each in enumerate(inputs)]
    NeighbourSums(SOURCE, TARGET, NODES)(*given).sum().backward()
    found = inputs[wanted].grad
    inputs[wanted].grad = None
    plainly(*given, False).sum().backward()
    torch.testing.assert_close(found, inputs[wanted].grad)


def test_a_gradient_that_is_not_contiguous(inputs) -> None:
    NeighbourSums(SOURCE, TARGET, NODES)(*inputs).t()[:2].sum().backward()
    found = [each.grad.clone() for each in inputs]
    for each in inputs:
        each.grad = None
    plainly(*inputs, False).t()[:2].sum().backward()
    for one, other in zip(found, inputs, strict=True):
        torch.testing.assert_close(one, other.grad)


def test_no_edges_sum_to_nothing() -> None:
    none = torch.empty(0, dtype=torch.long)
    states = torch.ones(3, 2, requires_grad=True)
    found = NeighbourSums(none, none, 3)(torch.empty(0), states)
    found.sum().backward()
    assert not found.any()
    assert not states.grad.any()


@pytest.mark.parametrize("conv", [GCN, GIN, GraphSAGE])
@pytest.mark.parametrize("kind", ["edge", "feature", "joint"])
def test_explanations_are_those_of_messages_one_by_one(conv, kind, monkeypatch) -> None:
    generator = torch.Generator().manual_seed(3)
    graph = Data(
        x=torch.randn(20, 4, generator=generator, dtype=torch.float64),
        edge_index=torch.randint(0, 20, (2, 50), generator=generator),
    )
    torch.manual_seed(0)
    model = conv(4, 8, num_layers=3, out_channels=3).double()
    found = []
    for worth in (0, 10**12):
        monkeypatch.setattr("zoo_nseg.masking._WORTH", worth)
        found.append(
            NSEGExplainer(epochs=30, lr=0.1).explain_nodes(model, graph, [0, 7, 13], kind=kind)
        )
    for one, other in zip(*found, strict=True):
        for name in ("edge_mask", "node_mask"):
            if name in one:
                torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-9)
        assert float(one.p_suff) == pytest.approx(float(other.p_suff), abs=1e-9)
        assert one.loss_history[0] > one.loss_history[-1]


class Own(GCNConv):
    def message(self, x_j, edge_weight):
        return super().message(x_j, edge_weight) ** 2


def test_only_plain_layers_of_the_library_are_taken_for_sums() -> None:
    width = 3
    assert sums.kind(GCNConv(width, width)) == "sum"
    assert sums.kind(GINConv(nn.Linear(width, width))) == "sum"
    assert sums.kind(GraphConv(width, width, aggr="mean")) == "mean"
    assert sums.kind(SAGEConv(width, width)) == "mean"
    assert sums.kind(SAGEConv(width, width, aggr="max")) is None
    assert sums.kind(SAGEConv(width, width, aggr=["sum", "mean"])) is None
    assert sums.kind(Own(width, width)) is None
    hooked = GCNConv(width, width)
    hooked.register_message_forward_hook(lambda *_: None)
    assert sums.kind(hooked) is None
    changed = GCNConv(width, width)
    changed.explain_message = lambda inputs, dim_size: inputs
    assert sums.kind(changed) is None


def test_a_build_without_sparse_products_goes_without(monkeypatch) -> None:
    def fails(*_, **_options):
        raise RuntimeError("no sparse products here")

    sums.available.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(torch.sparse, "sampled_addmm", fails)
            assert not sums.available()
            patch.setattr(torch.sparse, "sampled_addmm", lambda empty, *_, **_options: -empty)
            sums.available.cache_clear()
            assert not sums.available()
        sums.available.cache_clear()
        assert sums.available()
    finally:
        sums.available.cache_clear()
