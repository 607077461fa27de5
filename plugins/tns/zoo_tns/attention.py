"""Attention of one query over its messages, without projecting each message.

A query attends once, so keys and values need not be formed: q . (W_k m) = (W_k^T q) . m, and
sum_s a_s W_v m_s = W_v sum_s a_s m_s. That projects two vectors a head instead of 2 S messages,
which is where S - 1 of S parts of the usual multiply-adds go.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def attend(
    query: Tensor,
    messages: Tensor,
    mask: Tensor,
    key_weight: Tensor,
    value_weight: Tensor,
    heads: int,
    dropout: nn.Module,
) -> tuple[Tensor, Tensor]:
    """Returns the attended values, and the sum of each head's weights (1 but for dropout).

    Scores are scaled by 1 / sqrt(d / heads). A bias of the keys would add the same to all scores of
    a query and cancel; one of the values is to be added times the sum of weights.

    Args:
        query: floating [B, d], projected.
        messages: floating [B, S, d_m].
        mask: bool [B, S], which messages there are.
        key_weight: [d, d_m].
        value_weight: [d, d_m].
        heads: divides d.
        dropout: of the weights.

    Returns:
        [B, heads, d / heads], zero for a query without messages; and [B, heads, 1].
    """
    size, width = query.shape
    per_head = width // heads
    # [heads, B, d/heads] x [heads, d/heads, d_m]
    keys = key_weight.view(heads, per_head, -1)
    probes = torch.bmm(query.view(size, heads, per_head).transpose(0, 1), keys).transpose(0, 1)
    scores = torch.bmm(probes, messages.transpose(1, 2)) * per_head**-0.5
    there = mask.unsqueeze(1)
    lowest = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(~there, lowest).softmax(dim=-1)
    # Where nothing is there, softmax is uniform over padding; nothing is what it must attend to.
    weights = dropout(weights * there)
    pooled = torch.bmm(weights, messages)
    values = value_weight.view(heads, per_head, -1).transpose(1, 2)
    attended = torch.bmm(pooled.transpose(0, 1), values).transpose(0, 1)
    return attended, weights.sum(dim=-1, keepdim=True)
