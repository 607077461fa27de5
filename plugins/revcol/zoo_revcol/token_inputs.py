"""Checks of what a network over text is called with, before any work."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_revcol.inputs import check_device


def check_tokens(
    tokens: Tensor, padding_mask: Tensor | None, vocab_size: int, max_length: int, weight: Tensor
) -> None:
    """Refuses tokens and masks of another shape, dtype or device, or outside the vocabulary.

    The values are not looked at under `torch.compile`, which they would break into two graphs.

    Args:
        tokens: what was given.
        padding_mask: what was given with it.
        vocab_size: tokens are below it.
        max_length: of a text.
        weight: of the network's first layer, on whose device the tokens must be.

    Raises:
        InputError: says what was given and what is expected.
    """
    expected = f"expected int64 or int32 tokens [B, T] with T from 1 to {max_length}"
    if not isinstance(tokens, Tensor):
        raise InputError(f"tokens are a {type(tokens).__name__}; {expected}.")
    if (
        tokens.ndim != 2
        or not 1 <= tokens.shape[1] <= max_length
        or tokens.dtype not in (torch.int64, torch.int32)
    ):
        raise InputError(
            f"tokens have shape {tuple(tokens.shape)} and dtype {tokens.dtype}; {expected}."
        )
    check_device("tokens are", tokens, weight)
    valued = not (torch.compiler.is_compiling() or tokens.is_meta) and tokens.numel() > 0
    if valued:
        lowest, highest = (int(each) for each in tokens.aminmax())
        if lowest < 0 or highest >= vocab_size:
            raise InputError(
                f"tokens go from {lowest} to {highest}; the vocabulary from 0 to "
                f"{vocab_size - 1}, for padding too."
            )
    if padding_mask is None:
        return
    if not isinstance(padding_mask, Tensor):
        raise InputError(f"padding_mask is a {type(padding_mask).__name__}; expected a tensor.")
    if padding_mask.shape != tokens.shape or padding_mask.dtype != torch.bool:
        raise InputError(
            f"padding_mask has shape {tuple(padding_mask.shape)} and dtype {padding_mask.dtype}; "
            f"expected bool {tuple(tokens.shape)}, True for padding."
        )
    check_device("padding_mask is", padding_mask, weight)
    if valued and bool(padding_mask.all(dim=1).any()):
        raise InputError("padding_mask leaves no token of some text; True stands for padding.")
