"""The classifier on top of the last column."""

from __future__ import annotations

from torch import Tensor, nn

from zoo_revcol.norm import EPSILON


class Head(nn.Module):
    """Global average pooling, LayerNorm, linear classifier.

    Args:
        channels: channels of the top level.
        num_classes: outputs; 0 leaves the classifier out, and the head gives its normed features.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.fc = nn.Linear(channels, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Maps c_3 [B, C_3, H, W] to logits [B, K], or to features [B, C_3] with `pre_logits`."""
        x = self.norm(x.mean((-2, -1)))
        return x if pre_logits else self.fc(x)
