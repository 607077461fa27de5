"""Two linear layers over two concatenated vectors (the MergeLayer of the official TGN, TGAT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MergeLayer(nn.Module):
    """W2 ReLU(W1 concat(a, b) + b1) + b2; both weights are Xavier normal at first."""

    def __init__(self, first: int, second: int, hidden: int, out: int) -> None:
        """Makes the layers.

        Args:
            first: the width of a.
            second: the width of b.
            hidden: the width between the layers.
            out: the width of the result.
        """
        super().__init__()
        self.fc1 = nn.Linear(first + second, hidden)
        self.fc2 = nn.Linear(hidden, out)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        for layer in (self.fc1, self.fc2):
            layer.reset_parameters()
            nn.init.xavier_normal_(layer.weight)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Returns [..., out] of a [..., first] and b [..., second]."""
        return self.fc2(self.fc1(torch.cat([a, b], dim=-1)).relu())
