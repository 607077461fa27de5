"""The rate's gradient by hand (Eq. 12, 13), the truncation of Eq. 8, and the gate that closes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tns_reference import gate_gradient, interpolated, positions, rate_gradient, upper_bound
from torch import Tensor, nn

from zoo_tns.gate import truncate
from zoo_tns.interpolation import fractional_gather
from zoo_tns.pooling import Pooling
from zoo_tns.positions import expand_positions
from zoo_tns.rate import ExpansionRate

SIZES = (1, 2, 8, 10, 20)
STARTS = (0.5, 1.0, 1.25, 1.7, 2.0, 3.1, 1000.0)


class Given(nn.Module):
    """An AGGR_r whose x is what it is given as h."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(1, 1)

    def reset_parameters(self) -> None:
        self.last.reset_parameters()

    def forward(self, h: Tensor, messages: Tensor, mask: Tensor, now: Tensor | None) -> Tensor:
        return h


def rates(x: Tensor, count: Tensor, k: int, gate: Any = "inward") -> Tensor:
    """Returns the rates of given x [B]."""
    messages = torch.zeros(len(x), k, 1, dtype=torch.float64)
    mask = torch.arange(k) < count.unsqueeze(1)
    return ExpansionRate(Given(), k, gate=gate)(x.unsqueeze(1), messages, mask, count)


def read(messages: Tensor, rate: Tensor, count: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the interpolated messages [B, k, d] of histories [B, N, d], and their mask."""
    found = expand_positions(rate, count, k)
    width = messages.shape[2]
    lower, upper = (
        messages.gather(1, (place - 1).unsqueeze(2).expand(-1, -1, width))
        for place in (found.floor, found.upper)
    )
    return fractional_gather(lower, upper, found.weight), found.mask


def counts(k: int) -> list[int]:
    return sorted({0, 1, 2, k - 1, k, k + 1, k + 2, 2 * k - 1, 2 * k, 3 * k + 1, 62, 85})


@pytest.mark.parametrize("gate", ["inward", "strict"])
@pytest.mark.parametrize("k", SIZES)
def test_rates_messages_and_slopes_by_hand(k: int, gate: str) -> None:
    generator = torch.Generator().manual_seed(k)
    for count in counts(k):
        history = torch.randn(max(count, 1), 3, generator=generator, dtype=torch.float64)
        size = torch.tensor([count])
        for start in STARTS:
            x = torch.tensor([start], dtype=torch.float64, requires_grad=True)
            rate = rates(x, size, k, gate)
            by_hand = min(max(1.0, start), upper_bound(count, k))
            assert float(rate.detach()) == by_hand
            found, mask = read(history[None], rate, size, k)
            places = positions(by_hand, count, k)
            assert mask[0].tolist() == [step < len(places) for step in range(k)]
            assert len(places) == min(count, k)
            for step, place in enumerate(places):
                expected = interpolated(history, place)
                torch.testing.assert_close(found[0, step], expected, rtol=1e-12, atol=1e-12)
            slopes = torch.randn(k, 3, generator=generator, dtype=torch.float64)
            loss = (found[0] * slopes * mask[0].unsqueeze(1)).sum()
            moves = loss.requires_grad
            gradient = torch.autograd.grad(loss, x, allow_unused=True)[0] if moves else None
            slope = rate_gradient(history[:count], by_hand, list(slopes[: len(places)]), k)
            expected = gate_gradient(start, count, k, slope, gate)
            assert moves == (count > k > 1)
            assert float(0 if gradient is None else gradient) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("k", [2, 5])
def test_the_chain_by_finite_differences(k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    messages = torch.randn(4, 17, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    count = torch.tensor([17, 17, 13, 17])
    x = torch.tensor([1.37, 2.61, 1.83, 1.11], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda messages, x: read(messages, rates(x, count, k), count, k)[0], (messages, x)
    )


def test_interpolation_is_the_sum_over_all_events_and_so_is_its_slope() -> None:
    generator = torch.Generator().manual_seed(0)
    history = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    slopes = torch.randn(4, generator=generator, dtype=torch.float64)
    for place in (1.2, 3.5, 7.999, 8.01):
        n = torch.tensor([place], dtype=torch.float64, requires_grad=True)
        orders = torch.arange(1, 10, dtype=torch.float64)
        whole = (1 - (n - orders).abs()).clamp(min=0) @ history
        rate = (n - 1).requires_grad_() if place >= 2 else n
        step = 1 if place >= 2 else 0
        if step:
            found, _ = read(history[None], rate, torch.tensor([9]), 2)
            torch.testing.assert_close(found[0, 1], whole, rtol=1e-12, atol=1e-12)
            wanted, given = (
                torch.autograd.grad(it @ slopes, n, retain_graph=True)[0]
                for it in (whole, found[0, 1])
            )
            torch.testing.assert_close(given, wanted, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(interpolated(history, place), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [2, 8, 10, 20])
def test_rounding_neither_loses_the_oldest_event_nor_reads_beyond_it(
    k: int, dtype: torch.dtype
) -> None:
    count = torch.arange(k, 3000)
    rate = rates(torch.full((len(count),), 1e6, dtype=dtype), count, k)
    found = expand_positions(rate, count, k)
    assert bool(found.mask.all())
    assert bool((found.upper <= count.unsqueeze(1)).all())
    last = found.floor[:, -1] + found.weight[:, -1]
    torch.testing.assert_close(last, count.double(), rtol=1e-12, atol=0)
    places = found.floor + found.weight
    assert bool((places.diff(dim=1) >= 1 - 1e-9).all())


def test_beyond_the_bounds() -> None:
    x = torch.tensor([0.9, 0.9, 5.0, 5.0, 1.0, 2.0, 1.5], requires_grad=True)
    upper = torch.full((7,), 2.0)
    slope = torch.tensor([-1.0, 1.0, -1.0, 1.0, 3.0, 3.0, -3.0])
    expected = {
        "strict": [0, 0, 0, 0, 3, 3, -3],
        "inward": [-1, 0, 0, 1, 3, 3, -3],
    }
    for gate, wanted in expected.items():
        rate = truncate(x, upper, gate)
        assert rate.tolist() == [1, 1, 2, 2, 1, 2, 1.5]
        [gradient] = torch.autograd.grad(rate, x, slope)
        assert gradient.tolist() == wanted


@pytest.mark.parametrize("gate", ["inward", "strict"])
def test_histories_too_short_to_expand_have_rate_one_and_no_gradient(gate: str) -> None:
    for k in (1, 2, 5):
        count = torch.tensor([0, 1, k - 1, k])
        for start in (0.5, 1.0, 3.0):
            x = torch.full((4,), start, dtype=torch.float64, requires_grad=True)
            rate = rates(x, count, k, gate)
            assert rate.tolist() == [1.0] * 4
            assert not rate.requires_grad
    assert rates(torch.tensor([7.0]), torch.tensor([1000]), 1, gate).tolist() == [1.0]


class Closing:
    """An expansion module of the paper's initialisation, on messages with a planted period of 2."""

    def __init__(self, gate: Any, k: int = 2, batch: int = 64) -> None:
        self.generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.module = ExpansionRate(Pooling(1, 1, 4, 1, mean=True), k, gate=gate)
        self.k, self.count = k, torch.full((batch,), 12)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=0.05)

    def rate(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns new messages, their labels in {-1, 1}, and the rates."""
        size = len(self.count)
        label = torch.randint(2, (size,), generator=self.generator) * 2.0 - 1
        messages = torch.randn(size, 12, 1, generator=self.generator)
        messages[:, ::2] += label.view(-1, 1, 1)
        mask = torch.ones(size, self.k, dtype=torch.bool)
        rate = self.module(torch.zeros(size, 1), messages[:, : self.k], mask, self.count)
        return messages, label, rate

    def step(self, sign: float = 0.0) -> None:
        """Takes a step on the task; with a sign, on that sign times the rates instead."""
        messages, label, rate = self.rate()
        if sign:
            loss = sign * rate.sum()
        else:
            pooled = read(messages, rate, self.count, self.k)[0].mean(dim=(1, 2))
            loss = nn.functional.softplus(-label * pooled).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def test_the_first_step_can_close_the_gate_of_every_row() -> None:
    closing = Closing("strict")
    closing.step(sign=1.0)
    closing.module.reset_stats()
    assert closing.rate()[2].tolist() == [1.0] * 64
    assert closing.module.stats().shares()["closed_share"] == 1


def test_a_closed_gate_stays_closed_under_the_literal_gradient() -> None:
    closing = Closing("strict")
    closing.step(sign=1.0)
    for _ in range(50):
        # Adam's momentum alone would go on moving a parameter without a gradient.
        closing.optimizer.state.clear()
        before = [each.detach().clone() for each in closing.module.parameters()]
        closing.step()
        after = list(closing.module.parameters())
        assert all(map(torch.equal, before, after))
    assert closing.rate()[2].unique().tolist() == [1.0]


def test_a_closed_gate_opens_again_where_gradients_inward_pass() -> None:
    closing = Closing("inward")
    for _ in range(3):
        closing.step(sign=1.0)
    assert closing.rate()[2].unique().tolist() == [1.0]
    for _ in range(500):
        closing.step()
    assert float(closing.rate()[2].detach().mean()) == pytest.approx(2, abs=0.15)


def test_the_statistics_count_what_training_saw() -> None:
    module = ExpansionRate(Given(), 3)
    x = torch.tensor([0.5, 0.5, 1.5, 9.0, 9.0], dtype=torch.float64).unsqueeze(1)
    count = torch.tensor([9, 3, 9, 9, 0])
    inputs = (x, torch.zeros(5, 3, 1), torch.ones(5, 3, dtype=torch.bool), count)
    module(*inputs)
    module.eval()
    module(*inputs)
    assert module.stats().shares() == {
        "mean_rate": pytest.approx((1 + 1.5 + 4) / 3),
        "closed_share": pytest.approx(1 / 3),
        "bounded_share": pytest.approx(1 / 3),
        "active_share": pytest.approx(3 / 5),
    }
    module.reset_stats()
    assert module.stats().queries == 0
