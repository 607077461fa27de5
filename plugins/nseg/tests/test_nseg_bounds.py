"""The bounds of the PNS, against causal models in which it is known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo_core.errors import InputError
from zoo_nseg.bounds import pns_bounds, pns_objective

chances = st.floats(0, 1)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda q: sum(q) > 0.1))
def test_bounds_of_an_enumerated_causal_model(weights: list[float]) -> None:
    """Exogenous noise picks how Y responds to A and to not-A; the PNS is that of one response."""
    kept, always, never, reversed_ = (each / sum(weights) for each in weights)
    # Y_A = y, and Y_notA = y, for each response.
    responses = [(kept, 1, 0), (always, 1, 1), (never, 0, 0), (reversed_, 0, 1)]
    p_suff = sum(q * with_a for q, with_a, _ in responses)
    p_nec = sum(q * (1 - without) for q, _, without in responses)
    pns = sum(q * with_a * (1 - without) for q, with_a, without in responses)
    p_suff, p_nec = min(p_suff, 1.0), min(p_nec, 1.0)
    lower, upper = (
        float(each)
        for each in pns_bounds(
            torch.tensor(p_suff, dtype=torch.float64), torch.tensor(p_nec, dtype=torch.float64)
        )
    )
    assert -1e-12 <= lower <= pns + 1e-12
    assert pns <= upper + 1e-12
    gap = pns - float(pns_objective(torch.tensor(p_suff), torch.tensor(p_nec)))
    assert gap == pytest.approx(reversed_, abs=1e-6)


@given(chances, chances)
def test_bounds_are_attained(p_with: float, p_without: float) -> None:
    """One uniform number drives both worlds: the same way (monotone), or opposite ways."""
    steps = 4000
    grid = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    with_a = grid < p_with
    p_suff = with_a.double().mean()
    together, apart = grid < p_without, grid > 1 - p_without
    for without, place in ((together, 0), (apart, 1)):
        p_nec = (~without).double().mean()
        pns = (with_a & ~without).double().mean()
        bound = pns_bounds(p_suff, p_nec)[place]
        assert float(bound) == pytest.approx(float(pns), abs=1e-9)


def test_bounds_of_the_textbook_and() -> None:
    """Y = U and A with U a fair coin: monotone, so the PNS is 1/2 and both are known."""
    lower, upper = pns_bounds(0.5, 1.0)
    assert (float(lower), float(upper)) == (0.5, 0.5)
    # Tian and Pearl: PNS = P(A, y) PN + P(not A, not y) PS with A a fair coin, PN = 1, PS = 1/2.
    assert float(lower) == 0.5 * 0.5 * 1 + 0.5 * 1 * 0.5


def test_bounds_broadcast_and_floor_at_zero() -> None:
    lower, upper = pns_bounds(torch.tensor([[0.2], [0.9]]), torch.tensor([0.1, 0.7]))
    torch.testing.assert_close(lower, torch.tensor([[0.0, 0.0], [0.0, 0.6]]))
    torch.testing.assert_close(upper, torch.tensor([[0.1, 0.2], [0.1, 0.7]]))
    objective = pns_objective(torch.tensor(0.2), torch.tensor(0.1))
    torch.testing.assert_close(objective, torch.tensor(-0.7))


@pytest.mark.parametrize(("p_suff", "p_nec"), [(1.2, 0.5), (0.5, -0.1), (math.nan, 0.5)])
def test_bounds_refuse_what_is_no_probability(p_suff: float, p_nec: float) -> None:
    with pytest.raises(InputError, match=r"expected probabilities in \[0, 1\]"):
        pns_bounds(p_suff, p_nec)
