"""Messages between two events, by linear interpolation (Eq. 10)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from zoo_core.errors import InputError


def fractional_gather(lower: Tensor, upper: Tensor, weight: Tensor) -> Tensor:
    """Returns the messages at fractional positions: (1 - w) m(f) + w m(f + 1).

    The whole message is interpolated, its encoded time included. Where w is 0 the result is `lower`
    to the bit, and the derivative with respect to w is still m(f + 1) - m(f), the right-hand one:
    so a rate that starts at 1, where all positions are integers, can learn (Eq. 12).

    Args:
        lower: floating [..., d], m(f), of the more recent event.
        upper: floating [..., d], m(f + 1), of the older one.
        weight: floating [...], w in [0, 1); is cast to the messages' dtype.

    Raises:
        InputError: the shapes do not fit.
    """
    if lower.shape != upper.shape or weight.shape != lower.shape[:-1]:
        raise InputError(
            f"lower {list(lower.shape)}, upper {list(upper.shape)} and weight "
            f"{list(weight.shape)} do not fit; expected [..., d], [..., d] and [...]."
        )
    return torch.lerp(lower, upper, weight.to(lower.dtype).unsqueeze(-1))


def interpolate_rows(table: Tensor, lower: Tensor, upper: Tensor, weight: Tensor) -> Tensor:
    """Returns `fractional_gather` of rows of a table, without making `lower` and `upper`.

    A position is a bag of two rows with the weights 1 - w and w, whose gradients differ by
    dL/dn (Eq. 12, 13). That takes a third of the time of gathering both.

    Args:
        table: floating [M, d], messages.
        lower: int64 [B, k], rows of m(f).
        upper: int64 [B, k], rows of m(f + 1).
        weight: floating [B, k], w in [0, 1).

    Returns:
        Of table's dtype, [B, k, d].
    """
    older = weight.to(table.dtype)
    bags = torch.stack([lower, upper], dim=2).view(-1, 2)
    weights = torch.stack([1 - older, older], dim=2).view(-1, 2)
    read = embedding_bag(bags, table, mode="sum", per_sample_weights=weights)
    return read.view(*lower.shape, table.shape[1])
