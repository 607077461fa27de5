"""RevCol over text: transformer blocks over a sequence of tokens, in reversible columns.

The paper's appendix has a translation transformer in columns; neither its sizes nor its details are
published. This is our extension of the paper's macro design to encoders of text: see `TokenLevel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from zoo_core.errors import ConfigError, suggestion
from zoo_revcol.reversible import Reversibility
from zoo_revcol.token_inputs import check_tokens
from zoo_revcol.token_model import TokenModel
from zoo_revcol.validation import integer, real

TASKS: Final = ("classification", "language-modeling")
"""What a text is mapped to: one class; or, at each token, the next one."""


class TokenStem(nn.Module):
    """Learnt vectors of the tokens and of their positions.

    Args:
        vocab_size: different tokens.
        max_length: different positions.
        width: channels of a token's vector.
        dropout: probability of dropping a value.
    """

    def __init__(self, vocab_size: int, max_length: int, width: int, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(max_length, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Maps tokens [B, T] to vectors [B, T, width].

        Positions count what is no padding, so that padding shifts nothing, wherever it stands.
        """
        if padding_mask is None:
            places = torch.arange(tokens.shape[1], device=tokens.device)
        else:
            places = (~padding_mask).cumsum(1).sub(1).clamp(min=0)
        return self.drop(self.tokens(tokens) + self.positions(places))


class RevColText(TokenModel):
    """A text classifier, or a causal language model.

    Padding has no influence on what is computed for the other tokens; what comes out at padding
    itself means nothing.

    Args:
        vocab_size: different tokens.
        width: channels of a token, the same in all levels; a multiple of `heads`.
        heads: attention heads.
        layers: transformer blocks in each level of one column; as many levels as there are numbers.
        num_columns: columns; with one column of one level it is a plain transformer.
        max_length: tokens in the longest text.
        task: "classification", where every token sees every other; or "language-modeling", where
            it sees those before it and the head gives the next one.
        num_classes: outputs of the classifier; 0 leaves it out. For classification only.
        dropout: probability of dropping attention weights, and values that a branch or the stem
            gives.
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
        vocab_size: int,
        width: int = 256,
        heads: int = 4,
        layers: Sequence[int] = (1, 1, 1, 1),
        num_columns: int = 3,
        max_length: int = 512,
        task: str = "classification",
        num_classes: int | None = None,
        dropout: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale_init: float | None = None,
        alpha_init: float = 0.5,
        alpha_min: float = 1e-3,
        memory: str = "checkpoint",
        anchor_every: int = 1,
        exact: bool = False,
    ) -> None:
        if task not in TASKS:
            raise ConfigError(
                f"task is {task!r}; expected one of {', '.join(TASKS)}."
                f"{suggestion(str(task), TASKS)}"
            )
        predicts = task == "language-modeling"
        if predicts and num_classes is not None:
            raise ConfigError(
                f"num_classes is {num_classes!r}; a language model's outputs are its vocabulary, "
                "leave it out."
            )
        vocab_size = integer("vocab_size", vocab_size, minimum=1)
        max_length = integer("max_length", max_length, minimum=1)
        width = integer("width", width, minimum=1)
        dropout = real("dropout", dropout, minimum=0.0, below=1.0)
        classes = 2 if num_classes is None else integer("num_classes", num_classes, minimum=0)
        super().__init__(
            TokenStem(vocab_size, max_length, width, dropout),
            width=width,
            heads=heads,
            layers=layers,
            num_columns=num_columns,
            num_classes=vocab_size if predicts else classes,
            global_pool="" if predicts else "avg",
            causal=predicts,
            dropout=dropout,
            drop_path_rate=drop_path_rate,
            layer_scale_init=layer_scale_init,
            alpha_init=alpha_init,
            alpha_min=alpha_min,
            memory=memory,
            anchor_every=anchor_every,
            exact=exact,
        )
        self.vocab_size, self.max_length, self.task = vocab_size, max_length, task

    def forward(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Classifies texts, or predicts each next token.

        Args:
            tokens: int64 or int32 [B, T], T at most max_length.
            padding_mask: bool [B, T], True where there is padding, anywhere in the text.

        Returns:
            Logits [B, num_classes]; normed features [B, width] when num_classes is 0. From a
            language model logits [B, T, vocab_size], at each token for the one after it.

        Raises:
            InputError: tokens or a mask of another shape, dtype or device, tokens outside the
                vocabulary, a text of nothing but padding.
        """
        features = self.forward_features(tokens, padding_mask)
        return self.forward_head(features, padding_mask=padding_mask)

    def forward_features(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Returns the top map of the last column, [B, T, width]; see `forward`."""
        stem, context = self._embed(tokens, padding_mask)
        return self.columns(stem, context=context)[-1]

    def forward_columns(
        self, tokens: Tensor, padding_mask: Tensor | None = None
    ) -> list[list[Tensor]]:
        """Returns the maps of every column, first to last, lowest level first; see `forward`."""
        stem, context = self._embed(tokens, padding_mask)
        return self.columns(stem, range(self.num_columns), context)

    @torch.no_grad()
    def check_reversible(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Reversibility:
        """Measures how well the columns' maps are rebuilt for `tokens`; see `forward`."""
        return self.columns.check_reversible(*self._embed(tokens, padding_mask))

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the linear classifier by a new one; not that of a language model.

        Raises:
            ConfigError: a language model, or an argument out of its range.
        """
        if self.task == "language-modeling":
            raise ConfigError("a language model's outputs are its vocabulary; they stay.")
        super().reset_classifier(num_classes, global_pool)

    def _embed(
        self, tokens: Tensor, padding_mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The stem's output, and the columns' context: which token sees which."""
        weight = self.stem.tokens.weight
        check_tokens(tokens, padding_mask, self.vocab_size, self.max_length, weight)
        stem = self.stem(tokens, padding_mask)
        if padding_mask is None:
            return stem, ()
        return stem, (visibility(padding_mask, causal=self.task == "language-modeling"),)


def visibility(padding_mask: Tensor, causal: bool) -> Tensor:
    """Returns which token sees which, so that nothing but padding sees padding.

    Args:
        padding_mask: bool [B, T], True where there is padding.
        causal: whether a token sees only itself and those before it.

    Returns:
        bool [B, 1, 1, T], or [B, 1, T, T] if causal; then padding sees itself, for a softmax over
        nothing is not a number, and would spread.
    """
    visible = ~padding_mask[:, None, None, :]
    if not causal:
        return visible
    length = padding_mask.shape[1]
    itself = torch.eye(length, dtype=torch.bool, device=padding_mask.device)
    return (visible & itself.new_ones(length, length).tril()) | itself
