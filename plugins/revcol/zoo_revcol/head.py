"""The classifier on top of a column."""

from __future__ import annotations

from torch import Tensor, nn

from zoo_core.errors import ConfigError
from zoo_revcol.norm import EPSILON


class Head(nn.Module):
    """Global average pooling, LayerNorm, linear classifier.

    Args:
        channels: channels of the top level.
        num_classes: outputs; 0 leaves the classifier out, and the head gives its normed features.
        global_pool: "avg", or "" for the identity, without norm and classifier.

    Raises:
        ConfigError: another pooling, or a classifier without pooling.
    """

    def __init__(self, channels: int, num_classes: int, global_pool: str = "avg") -> None:
        super().__init__()
        if global_pool not in ("avg", ""):
            raise ConfigError(f"global_pool is {global_pool!r}; expected 'avg' or ''.")
        if num_classes and not global_pool:
            raise ConfigError(
                f"global_pool is '' and num_classes {num_classes}; a classifier needs 'avg'."
            )
        self.global_pool = global_pool
        self.norm = nn.LayerNorm(channels, eps=EPSILON) if global_pool else nn.Identity()
        self.fc = nn.Linear(channels, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Maps c_3 [B, C_3, H, W] to logits [B, K].

        To features [B, C_3] with `pre_logits` or without a classifier; to itself without pooling.
        """
        if not self.global_pool:
            return x
        x = self.norm(x.mean((-2, -1)))
        return x if pre_logits else self.fc(x)
