"""A layer that is called twice, over the graph's edges or others: right, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from nseg_small import drawn, explainer, same
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GraphConv
from torch_geometric.utils import add_remaining_self_loops, add_self_loops

from zoo_core.errors import InputError


class Shared(nn.Module):
    """Passes messages twice, each time over edges of its own making."""

    def __init__(self, makes: tuple[Callable, Callable], width: int, layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.start, layer = nn.Linear(4, width), GraphConv(width, width)
        self.layers = nn.ModuleList([layer, layer])
        if layers == 2:
            self.layers[1] = copy.deepcopy(layer)
        self.head = nn.Linear(width, 3)
        self.makes = makes
        self.double()

    def forward(self, x, edge_index):
        x = self.start(x) / len(self.start.weight) ** 0.5
        for layer, make in zip(self.layers, self.makes, strict=True):
            x = layer(x, make(edge_index, len(x))).tanh()
        return self.head(x)


def given(edge_index: Tensor, nodes: int) -> Tensor:
    return edge_index


def copied(edge_index: Tensor, nodes: int) -> Tensor:
    return edge_index.clone()


def looped(edge_index: Tensor, nodes: int) -> Tensor:
    return add_self_loops(edge_index, num_nodes=nodes)[0]


def remaining(edge_index: Tensor, nodes: int) -> Tensor:
    return add_remaining_self_loops(edge_index, num_nodes=nodes)[0]


def reverse(edge_index: Tensor, nodes: int) -> Tensor:
    return edge_index.flip(0)


def looped_reverse(edge_index: Tensor, nodes: int) -> Tensor:
    return looped(edge_index, nodes).flip(0)


def shuffled(edge_index: Tensor, nodes: int) -> Tensor:
    return looped(edge_index, nodes).roll(1, 1)


# Nodes, edges and states of a width: the last is summed by sparse products, the first is not.
SIZES = {"small": (14, 24, 8), "large": (300, 900, 64)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "makes",
    [(given, reverse), (copied, reverse), (looped, looped_reverse), (looped, shuffled)],
    ids=lambda makes: "-".join(each.__name__ for each in makes),
)
def test_a_layer_that_is_given_other_edges_the_second_time_is_refused(makes, size):
    nodes, edges, width = SIZES[size]
    with pytest.raises(InputError, match=r"GraphConv passes messages over .* not the graph's"):
        explainer(epochs=2).explain_nodes(Shared(makes, width), drawn(nodes, edges), [0])


def looped_within(nodes: int, edges: int) -> Data:
    """A graph with every self-loop, none of them at the end: with them added it is as long."""
    data = drawn(nodes, edges)
    loops = torch.arange(nodes).expand(2, -1)
    return Data(x=data.x, edge_index=torch.cat([loops, data.edge_index], 1))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "makes",
    [
        (given, given),
        (copied, copied),
        (looped, looped),
        (given, looped),
        (copied, remaining),
        (remaining, copied),
    ],
    ids=lambda makes: "-".join(each.__name__ for each in makes),
)
def test_a_layer_that_is_called_twice_is_as_two_layers(makes, size):
    nodes, edges, width = SIZES[size]
    data = looped_within(nodes, edges) if remaining in makes else drawn(nodes, edges)
    epochs = {"small": 8, "large": 4}[size]
    one, two = (
        explainer(epochs=epochs).explain_nodes(Shared(makes, width, layers), data, [0, 3])
        for layers in (1, 2)
    )
    same(one, two)
    assert float((one[0].edge_mask[one[0].influencing_edge_mask] - 0.5).abs().max()) > 0.05
