"""Which events of a history are read: positions counted from the most recent (Eq. 3, 6, 8 and 9).

Position 1 is the most recent event before the query, N the oldest. Positions may lie between two
events; `zoo_tns.interpolation` reads messages there.
"""

from __future__ import annotations

from numbers import Integral
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from zoo_core.errors import InputError

ShortHistory = Literal["truncate", "clip"]
"""What becomes of an expansion that reaches beyond the oldest event; see `expand_positions`."""

_ROUNDING = 1e-9


class Positions(NamedTuple):
    """Positions n in a history of N events, as the two events around each.

    Attributes:
        floor: int64 [B, k], the more recent one, floor(n), in 1..N; 1 where there is none.
        upper: int64 [B, k], the older one, floor(n) + 1, or N where n is N.
        weight: float64 [B, k], n - floor(n), in [0, 1): how much of the older one is read. It
            carries the gradient to the rate.
        mask: bool [B, k], whether the position exists.
    """

    floor: Tensor
    upper: Tensor
    weight: Tensor
    mask: Tensor


def expand_positions(
    rate: Tensor, count: Tensor, k: int, short: ShortHistory = "truncate"
) -> Positions:
    """Returns the positions 1, 1 + r, ..., 1 + (k - 1) r of histories (Eq. 9; Eq. 6 at integers).

    They are computed in float64 and held to N: in any precision 1 + (k - 1) (N - 1) / (k - 1) can
    exceed N by rounding, and would lose the oldest event.

    Args:
        rate: floating [B], finite and at least 1; its gradient is kept.
        count: int64 [B], N of each history, at least 0.
        k: the number of positions, at least 1.
        short: "truncate" leaves out what lies beyond N, so that short histories have fewer
            positions; "clip" first lowers the rate to `largest_rate`, so that all k stay.

    Raises:
        InputError: an argument is not as described.
    """
    check_size(k, "k")
    if short not in get_args(ShortHistory):
        raise InputError(f"short is {short!r}; expected 'truncate' or 'clip'.")
    if not (isinstance(rate, Tensor) and rate.ndim == 1 and rate.is_floating_point()):
        raise InputError("rate is not a floating-point tensor [B].")
    if not (isinstance(count, Tensor) and count.shape == rate.shape and count.dtype == torch.int64):
        raise InputError(f"count is not an int64 tensor of rate's shape, {list(rate.shape)}.")
    if not bool(((rate >= 1) & rate.isfinite()).all()):
        raise InputError("rate has values below 1 or not finite; expected at least 1.")
    if bool((count < 0).any()):
        raise InputError("count has negative values.")
    return expanded(rate, count, k, short)


def expanded(rate: Tensor, count: Tensor, k: int, short: ShortHistory = "truncate") -> Positions:
    """`expand_positions` for arguments that are known to be right."""
    rate = rate.double()
    if short == "clip":
        rate = torch.minimum(rate, largest_rate(count, k))
    oldest = count.double().unsqueeze(1)
    position = 1 + torch.arange(k, device=rate.device) * rate.unsqueeze(1)
    mask = position <= oldest * (1 + _ROUNDING)
    # A maximum last: an empty history has no oldest event to be held to.
    position = torch.minimum(position, oldest).clamp(min=1)
    floor = position.detach().floor()
    weight = position - floor
    first = floor.long()
    upper = torch.minimum(first + 1, count.unsqueeze(1)).clamp(min=1)
    return Positions(first, upper, weight, mask)


def largest_rate(count: Tensor, k: int) -> Tensor:
    """Returns the upper bound of Eq. 8, (N - 1) / (k - 1), or 1 where N < k: float64 [B].

    With k = 1 the formula divides by zero; there is nothing to expand, so it is 1 (ours).

    Args:
        count: int64 [B], N of each history.
        k: the number of positions.
    """
    if k == 1:
        return torch.ones_like(count, dtype=torch.float64)
    return ((count.double() - 1) / (k - 1)).clamp(min=1)


def check_size(k: object, name: str) -> None:
    """Checks that a number of neighbours is an integer of at least 1."""
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise InputError(f"{name} is {k!r}; expected an integer of at least 1.")
