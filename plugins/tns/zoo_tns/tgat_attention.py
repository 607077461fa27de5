"""The aggregator of TGAT: attention with a residual and layer norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_tns.attention import attend
from zoo_tns.dropout import Dropout
from zoo_tns.merge_layer import MergeLayer


class TGATAttention(nn.Module):
    """AGGR of the official TGAT code, of width D = d_i + d_e + d_t, that of the messages.

    The query is concat(h, zeros(d_e), phi(0)); the projections have no bias; the attended values
    go through a linear layer, dropout, a residual from the query and layer norm, and then through a
    MergeLayer with the node itself. For a node without messages the attended values are zero; the
    official code averages its padding there.
    """

    def __init__(
        self,
        node_dim: int,
        message_dim: int,
        time_dim: int,
        hidden: int,
        out: int,
        *,
        heads: int = 2,
        dropout: float = 0.1,
    ) -> None:
        """Makes the layer.

        Args:
            node_dim: d_i, the width of h.
            message_dim: D, a multiple of `heads`.
            time_dim: d_t.
            hidden: the inner width of the MergeLayer.
            out: the width of the result.
            heads: of the attention.
            dropout: of the attention's weights, and of its output.
        """
        super().__init__()
        width = message_dim
        self.heads = heads
        self.edge_dim = message_dim - node_dim - time_dim
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.merger = MergeLayer(width, node_dim, hidden, out)
        self.dropout = Dropout(dropout)
        self.out_dropout = Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew, as the official code does."""
        width = self.query.in_features
        for layer in (self.query, self.key, self.value):
            nn.init.normal_(layer.weight, std=(2 / (width + width / self.heads)) ** 0.5)
        self.out.reset_parameters()
        nn.init.xavier_normal_(self.out.weight)
        self.norm.reset_parameters()
        self.merger.reset_parameters()

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the result."""
        return self.merger.fc2

    def forward(self, h: Tensor, messages: Tensor, mask: Tensor, now: Tensor) -> Tensor:
        """Aggregates messages; arguments and result are those of `TemporalAttention.forward`."""
        itself = torch.cat([h, h.new_zeros(len(h), self.edge_dim), now.expand(len(h), -1)], dim=1)
        attended, _ = attend(
            self.query(itself),
            messages,
            mask,
            self.key.weight,
            self.value.weight,
            self.heads,
            self.dropout,
        )
        output = self.out_dropout(self.out(attended.flatten(1)))
        return self.merger(self.norm(output + itself), h)
