"""What the networks over tokens share: columns of transformer blocks, a head, timm's methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from torch import Tensor, nn

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.layers import layer_id, without_weight_decay
from zoo_revcol.norm import EPSILON
from zoo_revcol.reversible import Column, ReversibleColumns
from zoo_revcol.token_level import TokenLevel
from zoo_revcol.validation import MAX_DEPTH, integer, real

POOLS: Final = ("avg", "")


class TokenHead(nn.Module):
    """Average over the tokens, LayerNorm, linear classifier.

    Args:
        width: channels of a token.
        num_classes: outputs; 0 leaves the classifier out, and the head gives its normed features.
        global_pool: "avg"; or "", which norms and classifies each token by itself.

    Raises:
        ConfigError: another pooling.
    """

    def __init__(self, width: int, num_classes: int, global_pool: str = "avg") -> None:
        super().__init__()
        if global_pool not in POOLS:
            raise ConfigError(f"global_pool is {global_pool!r}; expected 'avg' or ''.")
        self.global_pool = global_pool
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.fc = nn.Linear(width, num_classes) if num_classes else nn.Identity()

    def forward(
        self, x: Tensor, pre_logits: bool = False, padding_mask: Tensor | None = None
    ) -> Tensor:
        """Maps tokens [B, T, C] to logits [B, K], or [B, T, K] without pooling.

        Args:
            x: the top map of a column.
            pre_logits: whether to stop before the classifier, at C features.
            padding_mask: bool [B, T], True for tokens to leave out of the average.
        """
        if self.global_pool and padding_mask is not None:
            present = ~padding_mask.unsqueeze(-1)
            x = x.where(present, 0).sum(1) / present.sum(1)
        elif self.global_pool:
            x = x.mean(1)
        x = self.norm(x)
        return x if pre_logits else self.fc(x)


class TokenModel(nn.Module):
    """A stem, a chain of reversible columns over tokens, and a head on the last one.

    Args:
        stem: gives the tokens [B, T, width].
        width: channels of a token, the same in all levels; a multiple of `heads`.
        heads: attention heads.
        layers: transformer blocks in each level of one column; as many levels as there are numbers.
        num_columns: columns.
        num_classes: outputs of the head.
        global_pool: see `TokenHead`.
        causal: whether a token sees only itself and those before it.
        dropout: probability of dropping attention weights, and values that a branch gives.
        drop_path_rate: stochastic depth, rising linearly from 0 to this rate over the blocks of a
            column, in [0, 1); every column has the same schedule.
        layer_scale_init: initial value of the blocks' layer scale; None leaves it out.
        alpha_init: initial value of the shortcuts' scale `alpha`.
        alpha_min: smallest magnitude of `alpha` in use, above 0.
        memory: what training keeps of the columns: "none", "checkpoint" or "reversible"; see
            `ReversibleColumns`, also for the next two.
        anchor_every: for "reversible": how many columns make a chain.
        exact: for "reversible": whether to keep what the inverse loses.

    Raises:
        ConfigError: an argument of the wrong type or out of its range.
    """

    def __init__(
        self,
        stem: nn.Module,
        *,
        width: int,
        heads: int,
        layers: Sequence[int],
        num_columns: int,
        num_classes: int,
        global_pool: str,
        causal: bool,
        dropout: float,
        drop_path_rate: float,
        layer_scale_init: float | None,
        alpha_init: float,
        alpha_min: float,
        memory: str,
        anchor_every: int,
        exact: bool,
    ) -> None:
        super().__init__()
        self.layers = _depths(layers)
        self.num_columns = integer("num_columns", num_columns, 1, MAX_DEPTH)
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = self.embed_dim = width
        self.dropout = real("dropout", dropout, minimum=0.0, below=1.0)
        self.drop_path_rate = real("drop_path_rate", drop_path_rate, minimum=0.0, below=1.0)
        if layer_scale_init is not None:
            layer_scale_init = real("layer_scale_init", layer_scale_init)
        if width % integer("heads", heads, minimum=1):
            raise ConfigError(f"heads is {heads}; expected a divisor of the width, {width}.")
        options = {
            "dropout": self.dropout,
            "layer_scale_init": layer_scale_init,
            "causal": causal,
            "alpha_init": alpha_init,
            "alpha_min": alpha_min,
        }
        self.stem = stem
        self.columns = ReversibleColumns(
            (
                Column(self._levels(width, heads, first=index == 0, **options))
                for index in range(self.num_columns)
            ),
            memory,
            anchor_every,
            exact,
        )
        self.head = TokenHead(width, num_classes, global_pool)
        self.apply(initialise)

    def _levels(self, width: int, heads: int, first: bool, **options: Any) -> Iterator[TokenLevel]:
        """Builds the levels of one column; the first column has no up paths."""
        last = max(sum(self.layers) - 1, 1)
        start = 0
        for index, number in enumerate(self.layers):
            yield TokenLevel(
                width,
                heads,
                down=index > 0,
                up=not first and index < len(self.layers) - 1,
                drop_path_rates=[
                    self.drop_path_rate * block / last for block in range(start, start + number)
                ],
                **options,
            )
            start += number

    def forward_head(
        self, features: Tensor, pre_logits: bool = False, padding_mask: Tensor | None = None
    ) -> Tensor:
        """Pools, norms and classifies.

        Args:
            features: the top map of a column, [B, T, width].
            pre_logits: whether to stop before the classifier.
            padding_mask: bool [B, T], True for tokens to leave out of the average.

        Returns:
            Logits [B, num_classes], or features [B, width]; [B, T, ...] without pooling.

        Raises:
            InputError: features of another shape.
        """
        if features.ndim != 3 or features.shape[-1] != self.num_features:
            raise InputError(
                f"features have shape {tuple(features.shape)}; expected [B, T, "
                f"{self.num_features}]."
            )
        return self.head(features, pre_logits, padding_mask)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Turns recomputation on or off: the memory mode "checkpoint", or the one set, or "none".

        `model.columns.remember("reversible", anchor_every=4)` sets another mode.
        """
        if not enable:
            self.columns.remember("none")
        elif self.columns.memory == "none":
            self.columns.remember("checkpoint")

    def get_classifier(self) -> nn.Module:
        """Returns the last linear layer, or the identity when num_classes is 0."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the linear classifier by a new one, for fine-tuning.

        Args:
            num_classes: outputs; with 0 the model gives the normed features.
            global_pool: "avg" or ""; None keeps it.

        Raises:
            ConfigError: an argument out of its range.
        """
        num_classes = integer("num_classes", num_classes, minimum=0)
        pool = self.head.global_pool if global_pool is None else global_pool
        norm = self.head.norm
        head = TokenHead(self.num_features, num_classes, pool)
        head.apply(initialise)
        head = head.to(norm.weight.device, norm.weight.dtype).train(self.training)
        head.norm = norm
        self.num_classes, self.head = num_classes, head

    def no_weight_decay(self) -> set[str]:
        """The parameters that are not decayed: alphas, positions, and what has one dimension."""
        positions = {
            name for name, _ in self.named_parameters() if name.startswith("stem.positions")
        }
        return without_weight_decay(self) | positions

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Returns the function from a parameter's name to its layer, for layer-wise decay.

        Args:
            coarse: has no effect: there is one grouping.
        """
        return lambda name: layer_id(name, self.layers, self.num_columns)


def initialise(module: nn.Module) -> None:
    """Normal weights of standard deviation 0.02 and zero biases."""
    if not isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding) or module.weight.is_meta:
        return
    nn.init.normal_(module.weight, std=0.02)
    if not isinstance(module, nn.Embedding):
        nn.init.zeros_(module.bias)


def _depths(layers: Sequence[int]) -> tuple[int, ...]:
    if isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:
        raise ConfigError(f"layers is {layers!r}; expected whole numbers, one a level.")
    return tuple(
        integer(f"layers[{index}]", number, 1, MAX_DEPTH) for index, number in enumerate(layers)
    )
