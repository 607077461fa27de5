"""The planted period: what is planted, what the experiment yields, and when its claim fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo_core.experiment import Context
from zoo_core.rows import Rows
from zoo_tns.experiments import planted
from zoo_tns.experiments.planted import CASES, Case, check, learned, run


@pytest.mark.parametrize("period", [1, 2, 3, 4])
def test_what_is_planted(period: int) -> None:
    generator = torch.Generator().manual_seed(0)
    messages, label = planted.planted(period, generator)
    batches = [planted.planted(period, generator) for _ in range(40)]
    sign = torch.cat([2 * it - 1 for _, it in batches]).unsqueeze(1)
    mean = (torch.cat([it for it, _ in batches]) * sign).mean(dim=0)
    expected = (torch.arange(planted.EVENTS) % period == 0).float()
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.08)
    assert messages.shape == (planted.BATCH, planted.EVENTS)
    assert set(label.tolist()) == {0.0, 1.0}


def test_what_is_read() -> None:
    messages = torch.arange(1.0, planted.EVENTS + 1).square().expand(2, -1)
    count = torch.tensor([planted.EVENTS] * 2)
    found = planted.read(messages, torch.tensor([1.0, 2.5]), count, 3)
    assert found.tolist() == [[1, 4, 9], [1, (9 + 16) / 2, 36]]


@pytest.mark.parametrize("case", [CASES[3], CASES[4]], ids=["below", "above"])
def test_a_start_near_the_period_finds_it(case: Case) -> None:
    end = learned(case.k, case.period, case.start, seed=0)
    assert end == pytest.approx(case.period, abs=0.05)
    assert learned(case.k, case.period, case.start, seed=0, steps=0) == case.start


def test_a_start_at_one_gets_stuck_on_the_way() -> None:
    assert learned(4, 4, 1.0, seed=0) == pytest.approx(4 / 3, abs=0.05)


def test_runs_repeat_and_seeds_differ() -> None:
    ends = [learned(2, 2, 1.3, seed, steps=40) for seed in (0, 0, 1)]
    assert ends[0] == ends[1] != ends[2]


def test_rows_and_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(k: int, period: int, start: float, seed: int) -> float:
        case = next(it for it in CASES if it[:3] == (k, period, start))
        return case.ends[seed]

    monkeypatch.setattr(planted, "learned", ended)
    rows = Rows(measures=("final rate",), seeds=(0, 1))
    for row in run(Context(seeds=(0, 1), folder=tmp_path)):
        rows.add(row)
    assert len(rows.rows) == 2 * len(CASES)
    assert [row["expected"] for row in rows.rows[::2]] == [*"223442", *["stuck"] * 3]
    holds, line = check(rows.rows)
    assert holds
    assert "S=4, p=4, r0=3.7: 3.95 to 4.05" in line
    assert "S=4, p=2, r0=1: 1.28 to 1.38 (stuck)" in line
    for place in range(len(rows.rows)):
        for change in (-0.01, 0.01):
            changed = [dict(row) for row in rows.rows]
            changed[place]["final rate"] += change
            outside = (place % 2 == 0) == (change < 0)
            assert check(changed)[0] != outside
