"""The edges that a layer gets from its model, beside those of the graph.

Some layers add a self-loop to every node; a mask of the graph's edges must then be laid out anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from zoo_core.errors import InputError
from zoo_nseg.sums import NeighbourSums


class Form:
    """How the edges that a layer gets stand to those of the graph."""

    def __init__(self, keep: Tensor | None, chosen: Tensor | None, loops: int) -> None:
        self.keep = keep
        self._chosen = chosen
        self._loops = loops
        self._sums: dict[str, NeighbourSums] = {}

    def weights(self, weights: Tensor) -> Tensor:
        """The weights of the layer's messages; self-loops that the layer added weigh 1."""
        if self._chosen is not None:
            weights = weights[self._chosen]
        return torch.cat([weights, weights.new_ones(self._loops)]) if self._loops else weights

    def sums(self, edge_index: Tensor, flow: str, num_nodes: int) -> NeighbourSums:
        """The sums over a layer's messages; built when first asked for."""
        if flow not in self._sums:
            ends = edge_index if self.keep is None else edge_index[:, self.keep]
            source, target = ends if flow == "source_to_target" else ends.flip(0)
            self._sums[flow] = NeighbourSums(source, target, num_nodes)
        return self._sums[flow]


class LayerEdges:
    """What layers make of one graph's edges: nothing, or self-loops at the end.

    Args:
        edge_index: [2, E] int64.
        num_nodes: N.
        messages: [M] int64, ascending: the edges whose messages are computed; None for all.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, messages: Tensor | None) -> None:
        edges = edge_index.shape[1]
        device = edge_index.device
        self._nodes = num_nodes
        self._given = edge_index
        loop = edge_index[0] == edge_index[1]
        nodes = torch.arange(num_nodes, device=device)
        loops = nodes.expand(2, -1)
        proper = (~loop).nonzero().squeeze(-1)
        # A graph that ends with every self-loop is equal to its remaining form: a layer that was
        # given it as another tensor has put the self-loops there itself.
        self._edges = {
            "remaining": torch.cat([edge_index[:, proper], loops], 1),
            "given": edge_index,
            "added": torch.cat([edge_index, loops], 1),
        }
        if messages is None:
            chosen = proper if len(proper) < edges else None
            self._forms = {
                "given": Form(None, None, 0),
                "remaining": Form(None, chosen, num_nodes),
                "added": Form(None, None, num_nodes),
            }
        else:
            place = proper.new_full((edges,), -1)
            place[proper] = torch.arange(len(proper), device=device)
            kept = (place[messages] >= 0).nonzero().squeeze(-1)
            self._forms = {
                "given": Form(messages, None, 0),
                "remaining": Form(
                    torch.cat([place[messages[kept]], len(proper) + nodes]),
                    kept if len(kept) < len(messages) else None,
                    num_nodes,
                ),
                "added": Form(torch.cat([messages, edges + nodes]), None, num_nodes),
            }

    def of(self, edge_index: Any, layer: MessagePassing) -> Form:
        """The form of a layer's edges, by what they hold: a layer may be given others each time."""
        if edge_index is self._given:
            return self._forms["given"]
        if not isinstance(edge_index, Tensor) or edge_index.layout != torch.strided:
            raise InputError(
                f"{type(layer).__name__} passes messages over a {type(edge_index).__name__}; masks "
                "need edge_index as a dense tensor [2, E]."
            )
        for name, edges in self._edges.items():
            if edges.shape == edge_index.shape and torch.equal(edges, edge_index):
                return self._forms[name]
        raise InputError(
            f"{type(layer).__name__} passes messages over {edge_index.shape[-1]} edges that are "
            f"not the graph's {self._given.shape[1]}, with or without self-loops (but reversed, "
            "pooled, coalesced or made by the model); a mask of the graph's edges does not apply."
        )
