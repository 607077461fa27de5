"""The aggregator of TGN: temporal attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_tns.attention import attend
from zoo_tns.dropout import Dropout
from zoo_tns.merge_layer import MergeLayer


class TemporalAttention(nn.Module):
    """AGGR of the official TGN code: multi-head attention, then a MergeLayer with the node itself.

    The query is concat(h, phi(0)); keys and values are the messages. There is no residual and no
    layer norm. A node without messages gets zeros in place of the attention's output. What
    `torch.nn.MultiheadAttention` has besides is a bias of the keys, which has no effect.
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
            message_dim: d_m.
            time_dim: d_t; d_i + d_t is a multiple of `heads`.
            hidden: the inner width of the MergeLayer.
            out: the width of the result.
            heads: of the attention.
            dropout: of the attention's weights.
        """
        super().__init__()
        width = node_dim + time_dim
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(message_dim, width, bias=False)
        self.value = nn.Linear(message_dim, width)
        self.out = nn.Linear(width, width)
        self.merger = MergeLayer(width, node_dim, hidden, out)
        self.dropout = Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew, each projection Xavier uniform by itself.

        So does `torch.nn.MultiheadAttention` where messages are not as wide as the query.
        """
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)
        self.out.reset_parameters()
        for bias in (self.query.bias, self.value.bias, self.out.bias):
            nn.init.zeros_(bias)
        self.merger.reset_parameters()

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the result."""
        return self.merger.fc2

    def forward(self, h: Tensor, messages: Tensor, mask: Tensor, now: Tensor) -> Tensor:
        """Aggregates messages (Eq. 4, 11).

        Args:
            h: floating [B, d_i], the nodes' own embeddings below this layer.
            messages: floating [B, S, d_m].
            mask: bool [B, S], which messages there are.
            now: floating [d_t], phi(0).

        Returns:
            floating [B, out].
        """
        query = self.query(torch.cat([h, now.expand(len(h), -1)], dim=1))
        attended, total = attend(
            query, messages, mask, self.key.weight, self.value.weight, self.heads, self.dropout
        )
        values = attended + total * self.value.bias.view(self.heads, -1)
        some = mask.any(dim=1, keepdim=True)
        return self.merger(self.out(values.flatten(1)) * some, h)
