"""The gradients and steps that are written out by hand, against those of autograd."""

from __future__ import annotations

import pytest
import torch
from nseg_small import uniform
from torch import Tensor

from zoo_nseg.logits import MaskLogits, drifted


def loss_of_two(mask: Tensor) -> Tensor:
    """Some smooth function of a mask, in place of a network."""
    return (mask * torch.arange(1, len(mask) + 1)).sin().sum() + mask.prod()


@pytest.mark.parametrize("tied", [False, True])
def test_the_logits_gradient_is_autograds(tied: bool) -> None:
    initial = 4 * uniform(7) - 2
    weight = uniform(7, seed=1)
    instance = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    roots = torch.tensor([0, 0, 2, 3, 3, 5, 6]) if tied else torch.arange(7)
    copies = torch.tensor([1, 1, 2, 1, 1, 1, 2.0], dtype=torch.float64)
    logits = MaskLogits(
        initial,
        0.2,
        weight,
        instance,
        2,
        roots if tied else None,
        copies if tied else None,
    )
    mask = logits.mask()
    loss_of_two(mask).backward()
    prices = logits.descend(mask)

    theta = initial.clone().requires_grad_()
    m = theta[roots].sigmoid()
    h = -m * (m + 1e-15).log() - (1 - m) * (1 - m + 1e-15).log()
    price = (0.2 * m + weight * h) * (copies if tied else 1)
    (loss_of_two(m) + price.sum()).backward()
    torch.testing.assert_close(mask.detach(), m.detach(), atol=1e-14, rtol=0)
    torch.testing.assert_close(logits.parameter.grad, theta.grad, atol=1e-12, rtol=0)
    expected = torch.stack([price[instance == place].sum() for place in (0, 1)])
    torch.testing.assert_close(prices, expected.detach(), atol=1e-12, rtol=0)


def test_the_logits_gradient_without_influence_is_the_regularisers() -> None:
    initial = 4 * uniform(5) - 2
    weight = torch.full((5,), 0.06, dtype=torch.float64)
    logits = MaskLogits(initial, 0.2, weight, torch.zeros(5, dtype=torch.long), 1)
    logits.descend(logits.mask())
    slope = initial.sigmoid() * (1 - initial.sigmoid())
    expected = slope * (0.2 - 0.06 * initial)
    torch.testing.assert_close(logits.parameter.grad, expected, atol=1e-15, rtol=0)


@pytest.mark.parametrize("steps", [0, 1, 40])
def test_entries_without_influence_drift_as_autograds_adam_moves_them(steps: int) -> None:
    initial = 2 * uniform(11) - 1
    theta = initial.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=0.07)
    for _ in range(steps):
        m = theta.sigmoid()
        h = -m * (m + 1e-15).log() - (1 - m) * (1 - m + 1e-15).log()
        optimizer.zero_grad()
        (0.01 * m.sum() + 0.5 * h.mean()).backward()
        optimizer.step()
    found = drifted(initial, size=0.01, entropy_weight=0.5 / 11, lr=0.07, steps=steps)
    torch.testing.assert_close(found, theta.detach().sigmoid(), atol=1e-10, rtol=0)
