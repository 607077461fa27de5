"""The aggregators of the paper's equations: mean (Eq. 5) and sum."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pooling(nn.Module):
    """u = ReLU(W1 pool(m) + b1), h' = W2 concat(h, u) + b2.

    The pool is the mean or the sum over the messages that are there, and zero where none is (ours).
    """

    def __init__(
        self, node_dim: int, message_dim: int, hidden: int, out: int, *, mean: bool
    ) -> None:
        """Makes the layer.

        Args:
            node_dim: d_i, the width of h.
            message_dim: d_m.
            hidden: d_h, the width of u.
            out: d_o.
            mean: whether the pool is the mean, else the sum.
        """
        super().__init__()
        self.mean = mean
        self.fc1 = nn.Linear(message_dim, hidden)
        self.fc2 = nn.Linear(node_dim + hidden, out)

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        self.fc1.reset_parameters()
        self.fc2.reset_parameters()

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the result."""
        return self.fc2

    def forward(self, h: Tensor, messages: Tensor, mask: Tensor, now: Tensor) -> Tensor:
        """Aggregates messages; arguments and result are those of `TemporalAttention.forward`.

        `now` is not used: Eq. 5 has no query.
        """
        weights = mask.to(messages.dtype)
        if self.mean:
            weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)
        pooled = torch.bmm(weights.unsqueeze(1), messages).squeeze(1)
        return self.fc2(torch.cat([h, self.fc1(pooled).relu()], dim=1))
