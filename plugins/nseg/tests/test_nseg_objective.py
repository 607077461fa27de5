"""The loss of the predictions, and the prices of size and entropy, against a plain reading."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nseg_small import uniform

from zoo_nseg.logits import drifted
from zoo_nseg.masks import worlds
from zoo_nseg.objective import coefficient, constant, entropy, regulariser, settles_below

KINDS = ("edge", "feature", "joint")


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7), st.sampled_from(KINDS))
def test_the_loss_of_the_prediction(probabilities: list[float], kind: str) -> None:
    run = worlds(kind, (1, 2, 3))
    taken = list(zip(run, probabilities, strict=False))
    sufficient = taken[0][1]
    others = [p for _, p in taken[1:]]
    necessary = sum(others) / len(others)
    expected = {"pns": -(sufficient - necessary), "ps": -sufficient, "pn": -(1 - necessary)}
    for objective, loss in expected.items():
        found = constant(objective) + sum(coefficient(world, objective) * p for world, p in taken)
        assert found == pytest.approx(loss, abs=1e-12)


@given(st.floats(-30, 30))
def test_entropy_from_logits(logit: float) -> None:
    theta = torch.tensor(logit, dtype=torch.float64)
    m = theta.sigmoid()
    n = (-theta).sigmoid()  # 1 - m without cancellation
    expected = -m * (m + 1e-15).log() - n * (n + 1e-15).log()
    # torch's softplus is linear above 20, where it drops e^-20 = 2e-9.
    bound = 1e-12 if abs(logit) < 20 else 3e-9
    assert float(entropy(theta)) == pytest.approx(float(expected), abs=bound)
    assert float(entropy(theta)) == pytest.approx(float(entropy(-theta)), abs=bound)


def test_entropy_is_finite_for_every_logit() -> None:
    logits = torch.tensor([-1e4, -700.0, 0.0, 700.0, 1e4], requires_grad=True)
    found = entropy(logits)
    found.sum().backward()
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, math.log(2), 0.0, 0.0]))
    assert bool(logits.grad.isfinite().all())


def test_regulariser_is_a_sum_of_sizes_and_a_mean_of_entropies() -> None:
    theta = 6 * uniform(9) - 3
    m = theta.sigmoid()
    h = -m * (m + 1e-15).log() - (1 - m) * (1 - m + 1e-15).log()
    found = regulariser(theta, 0.3, torch.tensor(0.7 / 9, dtype=theta.dtype)).sum()
    assert float(found) == pytest.approx(float(0.3 * m.sum() + 0.7 * h.mean()), abs=1e-12)


@given(st.floats(1e-5, 0.5), st.floats(1e-3, 2), st.integers(1, 4000))
def test_the_logit_at_which_the_regulariser_turns(size: float, weight: float, entries: int) -> None:
    at = settles_below(size, weight, entries)
    for logit, sign in ((at - 0.01 * at - 1e-6, 1), (at + 0.01 * at + 1e-6, -1)):
        slope = size - weight / entries * logit  # of the loss: positive shrinks the entry
        assert math.copysign(1, slope) == sign
    shrinks = entries**1.5 > weight / size
    if abs(entries**1.5 * size / weight - 1) > 1e-9:
        assert (at > 1 / math.sqrt(entries)) == shrinks


def test_the_regulariser_alone_sorts_entries_at_that_logit() -> None:
    at = settles_below(0.01, 0.4, 20)
    assert at == pytest.approx(0.5)
    start = torch.tensor([at - 0.1, at + 0.1], dtype=torch.float64)
    below, above = drifted(start, size=0.01, entropy_weight=0.4 / 20, lr=0.05, steps=300)
    assert float(below) < 0.1
    assert float(above) > 0.9
    assert settles_below(0.01, 0.0, 20) == math.inf
    assert settles_below(0.0, 0.0, 20) == 0
