"""Intermediate supervision: classifiers and decoders on the top maps of three earlier columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.decoder import Decoder, SimDecoder
from zoo_revcol.head import Head

POINTS = 3
"""Columns that are supervised beside the last one."""
MOST_CLASSES_WITH_STAGES = 1000


class SupervisedOutput(NamedTuple):
    """What a supervised network gives in training; `zoo_revcol.loss.revcol_loss` takes it.

    Attributes:
        logits: of the three supervised columns and the last one, [B, num_classes] each.
        reconstructions: of the three supervised columns, logits of the images' values in [0, 1],
            [B, in_chans, H, W] each.
    """

    logits: list[Tensor]
    reconstructions: list[Tensor]


def supervised_columns(num_columns: int) -> tuple[int, int, int]:
    """Returns the indices, from 0, of the columns a quarter, a half and three quarters through.

    Raises:
        ConfigError: 4 does not divide the number of columns.
    """
    if num_columns < 1 or num_columns % (POINTS + 1):
        raise ConfigError(
            f"num_columns is {num_columns}; intermediate supervision sits a quarter, a half and "
            "three quarters through the columns, so their number must be a multiple of 4."
        )
    quarter = num_columns // (POINTS + 1)
    return quarter - 1, 2 * quarter - 1, 3 * quarter - 1


class Supervision(nn.Module):
    """A classifier and a decoder on each of the three supervised columns.

    Source: RevCol, section 3, and official code. They serve training alone: inference uses the
    last column's classifier, which is not here.

    Args:
        channels: width of the four levels.
        num_classes: outputs of each classifier.
        in_chans: channels of the images.
        simple_decoders: whether the decoders are `SimDecoder`s; None follows the official code,
            which has these above 1000 classes and `Decoder`s up to there.

    Raises:
        ConfigError: no classes.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        in_chans: int = 3,
        simple_decoders: bool | None = None,
    ) -> None:
        super().__init__()
        _check_classes(num_classes)
        if simple_decoders is None:
            simple_decoders = num_classes > MOST_CLASSES_WITH_STAGES
        decoder = SimDecoder if simple_decoders else Decoder
        self.heads = nn.ModuleList(Head(channels[-1], num_classes) for _ in range(POINTS))
        self.decoders = nn.ModuleList(decoder(channels, in_chans) for _ in range(POINTS))

    def forward(
        self, tops: Sequence[Tensor], size: Sequence[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Classifies and reconstructs.

        Args:
            tops: c_3 of the three columns, first to last, [B, C_3, h, w] each.
            size: H and W of the images.

        Returns:
            Three logits [B, num_classes], and three reconstructions [B, in_chans, H, W].

        Raises:
            InputError: another number of maps.
        """
        if len(tops) != POINTS:
            raise InputError(f"got {len(tops)} maps; expected those of {POINTS} columns.")
        return (
            [head(top) for head, top in zip(self.heads, tops, strict=True)],
            [decode(top, size) for decode, top in zip(self.decoders, tops, strict=True)],
        )

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the linear layers of the classifiers; their norms and the decoders stay.

        Raises:
            ConfigError: no classes.
        """
        _check_classes(num_classes)
        for head in self.heads:
            like = head.fc.weight
            head.fc = nn.Linear(like.shape[1], num_classes, device=like.device, dtype=like.dtype)


def _check_classes(num_classes: int) -> None:
    if num_classes < 1:
        raise ConfigError(f"num_classes is {num_classes}; intermediate supervision needs classes.")
