"""One rate that must find a planted period, through the positions, interpolation and gate of TNS.

The sign of the label is planted in the messages at 1, 1 + p, 1 + 2p, ...; all have unit noise. S of
them are read at the learned rate, averaged, and weighed to a logit: so the rate p reads nothing
but signs, and what lies between reads noise as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_core.threads import one_thread
from zoo_tns.gate import truncate
from zoo_tns.interpolation import fractional_gather
from zoo_tns.positions import expand_positions, largest_rate

EVENTS: Final = 60
STEPS: Final = 600
BATCH: Final = 128
LEARNING_RATE: Final = 0.01
_MARGIN: Final = 0.05


class Case(NamedTuple):
    """A start of the rate, and between which rates it must end.

    Attributes:
        k: S, how many messages are read.
        period: p.
        start: the rate at first.
        ends: the lowest and the highest end.
    """

    k: int
    period: int
    start: float
    ends: tuple[float, float]

    @property
    def finds(self) -> bool:
        """Whether the end is the period; the other starts get stuck on the way."""
        return self.ends[0] <= self.period <= self.ends[1]


def _at(rate: float) -> tuple[float, float]:
    return rate - _MARGIN, rate + _MARGIN


CASES: Final = (
    Case(2, 2, 1.0, _at(2)),
    Case(2, 2, 1.3, _at(2)),
    Case(2, 3, 2.4, _at(3)),
    Case(4, 4, 3.7, _at(4)),
    Case(4, 4, 4.3, _at(4)),
    Case(4, 2, 1.7, _at(2)),
    # Two messages of noise, averaged, are less noise than one: half-way between them is a trap, and
    # so is 4/3, where two of four positions are between messages and the fifth message is read.
    Case(2, 3, 1.0, _at(3 / 2)),
    Case(4, 4, 1.0, _at(4 / 3)),
    Case(4, 2, 1.0, _at(4 / 3)),
)


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Learns the rate of each case, with new messages in each step, for each seed."""
    cases = [(case, seed) for case in CASES for seed in context.seeds]
    with one_thread():
        for case, seed in context.progress(cases, "learning a rate"):
            yield {
                "S": case.k,
                "p": case.period,
                "r0": case.start,
                "seed": seed,
                "expected": f"{case.period}" if case.finds else "stuck",
                "final rate": learned(case.k, case.period, case.start, seed),
            }


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether every seed of every case ends where it must."""
    right, shown = True, []
    for case in CASES:
        ends = values(rows, "final rate", S=case.k, p=case.period, r0=case.start)
        lowest, highest = case.ends
        right &= all(lowest <= end <= highest for end in ends)
        shown.append(
            f"S={case.k}, p={case.period}, r0={case.start:g}: {min(ends):.2f} to {max(ends):.2f}"
            + ("" if case.finds else " (stuck)")
        )
    return right, "final rates, " + "; ".join(shown)


def learned(k: int, period: int, start: float, seed: int, steps: int = STEPS) -> float:
    """Returns the rate after training.

    Args:
        k: S.
        period: p.
        start: the rate at first.
        seed: of the messages and labels.
        steps: of Adam.
    """
    generator = torch.Generator().manual_seed(seed)
    x = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    readout = nn.Parameter(torch.tensor([1.0, 0.0]))
    optimizer = torch.optim.Adam([x, readout], lr=LEARNING_RATE)
    count = torch.full((BATCH,), EVENTS)
    upper = largest_rate(count[:1], k)
    for _ in range(steps):
        messages, label = planted(period, generator)
        rate = truncate(x, upper, "inward")
        pooled = read(messages, rate.expand(BATCH), count, k).mean(dim=1)
        loss = binary_cross_entropy_with_logits(readout[0] * pooled + readout[1], label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(truncate(x.detach(), upper, "inward"))


def planted(period: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns messages [B, N], the most recent first, and labels [B], 0 or 1."""
    label = torch.randint(2, (BATCH,), generator=generator).float()
    messages = torch.randn(BATCH, EVENTS, generator=generator)
    messages[:, ::period] += (2 * label - 1).unsqueeze(1)
    return messages, label


def read(messages: Tensor, rate: Tensor, count: Tensor, k: int) -> Tensor:
    """Returns the interpolated messages [B, S] at the positions of the rate [B]."""
    found = expand_positions(rate, count, k)
    lower, upper = (messages.gather(1, place - 1) for place in (found.floor, found.upper))
    return fractional_gather(lower.unsqueeze(-1), upper.unsqueeze(-1), found.weight).squeeze(-1)
