"""Masked inputs, and the cases in which the explanation is not set."""

from __future__ import annotations

import itertools

import pytest
import torch
from nseg_small import uniform

from zoo_nseg.masks import World, blend, complement, worlds

CASES = {
    "edge": ["complement whole"],
    "feature": ["whole complement"],
    "joint": ["complement complement", "complement set", "set complement"],
}


@pytest.mark.parametrize("kind", list(CASES))
@pytest.mark.parametrize("n_samples", [(2, 2, 2), (1, 3, 5)])
def test_the_cases_of_not_a_in_the_order_of_the_loss(
    kind: str, n_samples: tuple[int, int, int]
) -> None:
    numbers = {"edge": n_samples[1:2], "feature": n_samples[2:], "joint": n_samples}[kind]
    every = [name for name, number in zip(CASES[kind], numbers, strict=True) for _ in range(number)]
    present, *absent = worlds(kind, n_samples)
    assert [f"{each.edges} {each.features}" for each in absent] == every
    assert present.present
    assert present.share == 1
    assert not any(each.present for each in absent)
    assert all(each.share == pytest.approx(1 / sum(numbers)) for each in absent)
    present, *absent = worlds(kind, n_samples, sampled=False)
    assert [f"{each.edges} {each.features}" for each in absent] == CASES[kind]
    shares = [number / sum(numbers) for number in numbers]
    assert [each.share for each in absent] == pytest.approx(shares)


def test_what_event_a_does() -> None:
    first = {kind: worlds(kind, (2, 2, 2))[0] for kind in CASES}
    assert first["edge"] == World("set", "whole", 1.0, True)
    assert first["feature"] == World("whole", "set", 1.0, True)
    assert first["joint"] == World("set", "set", 1.0, True)


def test_blends_of_features() -> None:
    kept, x, x_cf = uniform(2, 3), uniform(3, 4, seed=1), uniform(3, 4, seed=2)
    found = blend(kept, x, x_cf)
    for copy, node, column in itertools.product(range(2), range(3), range(4)):
        q = kept[copy, node]
        expected = q * x[node, column] + (1 - q) * x_cf[node, column]
        assert float(found[copy, node, column]) == pytest.approx(float(expected), abs=1e-15)
    assert torch.equal(blend(torch.ones(3, dtype=x.dtype), x, x_cf), x)
    assert torch.equal(blend(torch.zeros(3, dtype=x.dtype), x, x_cf), x_cf)


def test_complements_are_not_clipped() -> None:
    mask = torch.tensor([0.0, 0.25, 1.0])
    shift = torch.tensor([0.02, -0.01, -0.02])
    torch.testing.assert_close(complement(mask, shift), torch.tensor([1.02, 0.74, -0.02]))
    assert complement(mask, None).tolist() == [1.0, 0.75, 0.0]
