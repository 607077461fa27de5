"""Small graphs, networks and searches, and how explanations compare, for several files of tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GraphConv, global_mean_pool

from zoo_nseg.explainer import NSEGExplainer


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Numbers in [0, 1)."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(nodes: int, edges: int, seed: int = 0) -> Data:
    """A directed graph without self-loops."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(nodes, (edges,), generator=generator)
    target = (source + torch.randint(1, nodes, (edges,), generator=generator)) % nodes
    return Data(
        x=torch.randn(nodes, 4, generator=generator, dtype=torch.float64),
        edge_index=torch.stack([source, target]),
        edge_attr=0.5 + torch.rand(edges, generator=generator, dtype=torch.float64),
    )


def explainer(**changes) -> NSEGExplainer:
    """A short search that moves every mask."""
    return NSEGExplainer(
        **{"epochs": 8, "lr": 0.1, "noise": 0.3, "alpha_e": 0.01, "beta_e": 0.1, **changes}
    )


def same(found, expected) -> None:
    """Fails unless masks and probabilities agree, explanation by explanation."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        masks = [name for name in ("edge_mask", "node_mask") if name in other]
        assert masks
        for name in (*masks, "p_full", "p_suff", "p_nec"):
            torch.testing.assert_close(one[name], other[name], rtol=1e-7, atol=1e-9, msg=name)


class Net(nn.Module):
    """Layers by name, alike in every model of the same seed."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = GraphConv(4, width), GraphConv(width, width)
        self.head = nn.Linear(width, 3)
        self.double()


class TwoLayers(Net):
    def forward(self, x, edge_index):
        return self.head(self.second(self.first(x, edge_index).tanh(), edge_index))


class Scaled(Net):
    """A classifier of graphs with an argument that is no tensor of nodes, edges or graphs."""

    def forward(self, x, edge_index, batch=None, scale=1.0):
        x = self.first(x, edge_index).relu()
        return self.head(global_mean_pool(x, batch) * scale)
