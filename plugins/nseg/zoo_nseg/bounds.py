"""The probability of necessity and sufficiency, and its bounds from what can be computed.

PNS = P(Y_A = y, Y_notA != y): the label holds where the explanation is set, and does not where it
is not. Being joint over two worlds it is not identified, but

    max(0, P(Y_A = y) - P(Y_notA = y))  <=  PNS  <=  min(P(Y_A = y), P(Y_notA != y)).

Left and right are equal if the label never holds without the explanation alone (monotonicity).
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.errors import InputError


def pns_bounds(p_suff: float | Tensor, p_nec: float | Tensor) -> tuple[Tensor, Tensor]:
    """Returns the lower and the upper bound of the PNS.

    Args:
        p_suff: P(Y_A = y) in [0, 1], any shape.
        p_nec: P(Y_notA != y) in [0, 1], a shape that broadcasts with it.

    Raises:
        InputError: no probabilities.
    """
    sufficient, necessary = torch.as_tensor(p_suff), torch.as_tensor(p_nec)
    for name, value in (("p_suff", sufficient), ("p_nec", necessary)):
        if not bool(((value >= 0) & (value <= 1)).all()):
            raise InputError(f"{name} holds {_outside(value)}; expected probabilities in [0, 1].")
    sufficient, necessary = torch.broadcast_tensors(sufficient, necessary)
    return pns_objective(sufficient, necessary).clamp_min(0), torch.minimum(sufficient, necessary)


def pns_objective(p_suff: Tensor, p_nec: Tensor) -> Tensor:
    """Returns P(Y_A = y) - P(Y_notA = y), the lower bound without its floor at 0."""
    return p_suff - (1 - p_nec)


def _outside(value: Tensor) -> float:
    flat = value.flatten()
    return float(flat[~((flat >= 0) & (flat <= 1))][0])
