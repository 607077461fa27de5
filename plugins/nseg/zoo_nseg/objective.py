"""What an explanation is optimised for: the lower bound of the PNS, size and entropy.

    pns:  -(P(Y_A = y) - P(Y_notA = y))      the lower bound itself
    ps:   -P(Y_A = y)                        sufficiency alone
    pn:   -(1 - P(Y_notA = y))               necessity alone

All are linear in the probabilities of the worlds, so that each world has one constant coefficient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from zoo_nseg.masks import World


def coefficient(world: World, objective: str) -> float:
    """Returns by what the probability of the label in a world enters the loss."""
    if world.present:
        return 0.0 if objective == "pn" else -1.0
    return 0.0 if objective == "ps" else world.share


def constant(objective: str) -> float:
    """Returns the part of the loss that depends on no mask."""
    return -1.0 if objective == "pn" else 0.0


def entropy(logits: Tensor) -> Tensor:
    """Returns the entropy in nats of Bernoulli variables, from the logits of their means.

    It is -m ln m - (1 - m) ln(1 - m) at m = sigmoid(logits), finite for every logit.
    """
    return softplus(logits) - logits * logits.sigmoid()


def regulariser(logits: Tensor, size: float, entropy_weight: Tensor | float) -> Tensor:
    """Returns each entry's share of `size * sum m + weight * mean H(m)`.

    Args:
        logits: [K] of the mask.
        size: alpha, the price of a whole entry.
        entropy_weight: [K] or scalar: beta over the number of entries that the mean runs over.
    """
    return size * logits.sigmoid() + entropy_weight * entropy(logits)


def settles_below(size: float, entropy_weight: float, entries: int) -> float:
    """Returns the logit below which the regulariser alone shrinks an entry; above it, it grows.

    An entry without influence follows sigmoid'(t) (alpha - beta / K t) for K entries. Starting
    within 1 / sqrt K, all such entries shrink if this is above 1 / sqrt K, that is if
    K ** 1.5 > beta / alpha.
    """
    if entropy_weight == 0:
        return float("inf") if size > 0 else 0.0
    return size * entries / entropy_weight


def per_instance(values: Tensor, instance: Tensor, instances: int) -> Tensor:
    """Returns the sums [I] of values [K] by the instance [K] that they belong to."""
    return torch.zeros(instances, dtype=values.dtype, device=values.device).index_add(
        0, instance, values
    )
