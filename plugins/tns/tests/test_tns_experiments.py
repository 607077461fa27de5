"""The experiments: what they declare, run and conclude."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch_geometric.data import TemporalData

from zoo_core.errors import InputError
from zoo_core.experiment import Context
from zoo_core.rows import Rows
from zoo_tns.experiments import (
    EXPERIMENTS,
    backbones,
    budget,
    fixed_rates,
    learned_rates,
    preference,
    recent,
    sensitivity,
    wikipedia,
)
from zoo_tns.experiments.pairs import difference
from zoo_tns.experiments.runs import (
    MEASURES,
    RECENT,
    TNS,
    UNIFORM,
    Variant,
    compared,
    expanded,
    trained,
)
from zoo_tns.splits import EventSplit, chronological_split

_TINY = {"node_dim": 4, "time_dim": 4, "hidden": 4, "k": 3, "memory": False}


def _split(events: int = 400) -> EventSplit:
    generator = torch.Generator().manual_seed(0)
    src, dst = (torch.randint(low, low + 12, (events,), generator=generator) for low in (0, 12))
    t = torch.arange(events)
    data = TemporalData(src=src, dst=dst, t=t, msg=torch.zeros(events, 0), y=t % 7 % 2)
    return chronological_split(data)


def _context(tmp_path: Any, seeds: int = 2) -> Context:
    return Context(seeds=tuple(range(seeds)), folder=tmp_path)


def _rows(
    aps: Mapping[tuple[str, str], Iterable[float]], column: str = "test AP", **more: Any
) -> list[dict[str, Any]]:
    """Rows of (data, sampling) and seed with these values in a column."""
    return [
        {"data": data, "sampling": sampling, "seed": seed, **dict.fromkeys(MEASURES, 1.0)}
        | {column: value}
        | more
        for (data, sampling), found in aps.items()
        for seed, value in enumerate(found)
    ]


def test_a_difference_is_taken_seed_by_seed_with_students_interval():
    rows = _rows({("a", "one"): (80.0, 84.0, 90.0), ("a", "two"): (79.0, 82.0, 87.0)})
    found = difference(list(reversed(rows)), "one", "two", data="a")
    assert found.mean == pytest.approx(2)
    # The gaps 1, 2, 3 have the standard deviation 1; t is 4.3027 at 2 degrees of freedom.
    assert found.half == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)
    assert (found.low, found.high) == pytest.approx((2 - found.half, 2 + found.half))
    assert str(found) == "+2.0 ± 2.5"
    assert math.isnan(difference(rows[::3], "one", "two", data="a").half)
    with pytest.raises(InputError, match="one has several rows of one seed"):
        difference([*rows, rows[0]], "one", "two", data="a")
    with pytest.raises(InputError, match="one and two have not the same seeds"):
        difference(rows[1:], "one", "two", data="a")


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
def test_what_is_declared_is_there(experiment):
    for name in (experiment.run, experiment.check):
        module, _, function = name.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_rows_have_the_columns_that_are_declared(tmp_path):
    variants = [RECENT, UNIFORM, TNS, expanded(2), expanded(2, "clip")]
    found = list(compared(_context(tmp_path), {"a": _split()}, variants, _TINY, epochs=1))
    declared = next(each for each in EXPERIMENTS if each.name == "recent")
    rows = Rows(measures=declared.measures, over=("seed",), seeds=(0, 1), figure=declared.figure)
    for row in found:
        rows.add(row)
    assert len(found) == 10
    assert set(found[0]) == {"data", "sampling", "seed", *MEASURES}
    for row in found:
        learns = row["sampling"] == "TNS"
        assert (row["mean rate"] is not None) == learns
        assert (row["spread of rates"] is not None) == learns
        assert 0 < row["test AP"] <= 100


def test_variants_of_a_seed_are_paired(tmp_path):
    held = Variant("held", {"sampler": "expanded", "rate": 1})
    rows = list(compared(_context(tmp_path), {"a": _split()}, [RECENT, held], _TINY, epochs=2))
    for seed in range(2):
        one, other = (row for row in rows if row["seed"] == seed)
        assert {k: v for k, v in one.items() if k != "sampling"} == {
            k: v for k, v in other.items() if k != "sampling"
        }
    assert rows[0]["test AP"] != rows[1]["test AP"]


def test_wikipedia_keeps_a_model_that_loads_and_scores_what_it_says(tmp_path, monkeypatch):
    import zoo
    from zoo_tns.evaluation import evaluate_part, replay
    from zoo_tns.graph import TemporalGraph

    split = _split()
    monkeypatch.setattr(wikipedia, "load_dataset", lambda name, root: split.data)
    monkeypatch.setattr(wikipedia, "EPOCHS", 1)
    (tmp_path / "jodie-wikipedia").mkdir()
    context = Context(seeds=(0, 1), folder=tmp_path / "out", data_root=tmp_path)
    rows = list(wikipedia.run(context))
    assert [row["sampling"] for row in rows] == 2 * [TNS.name, RECENT.name]
    assert all(0 < row["ban AUC"] < 100 for row in rows)
    model = zoo.load(tmp_path / "out" / "tns-tgn.wikipedia")
    model.bind(TemporalGraph.from_data(split.data, split.num_nodes))
    replay(model, split.train)
    replay(model, split.val)
    found = evaluate_part(model, split, "test", model.graph)["test"]["ap"]
    assert model.zoo.weights.metrics["test AP (%)"] == pytest.approx(100 * found, abs=0.006)


def test_alpha_reaches_the_optimizer():
    moved = []
    for alpha in (0.0, 1.0):
        model, _ = trained(_split(), Variant("TNS", {"sampler": "tns"}, alpha), 0, _TINY, epochs=1)
        moved.append(abs(model.expansions[0].aggregator.last.bias.item() - 1))
    assert moved[0] == 0
    assert moved[1] > 1e-4


def test_one_rate_for_all_has_no_spread_between_the_bounds():
    split = _split()
    model, _ = trained(split, TNS, 0, _TINY, epochs=1)
    last = model.expansions[0].aggregator.last
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(13.0)  # about the bound of many histories
    assert learned_rates.free_spread(model, split)[learned_rates.FREE] < 1e-6
    test = split.test
    assert model.rates(test.src, test.t).std() > 0.1
    with torch.no_grad():
        last.weight.normal_()
        last.bias.fill_(3.0)
    assert learned_rates.free_spread(model, split)[learned_rates.FREE] > 0.01


def _recent(gap: float) -> list[dict[str, Any]]:
    return _rows(
        {
            (data, name): (value, value + 0.1)
            for data in recent.STREAMS
            for name, value in ((RECENT.name, 70 + gap), (UNIFORM.name, 70.0))
        }
    )


def test_recent_needs_three_points_everywhere():
    assert recent.check(_recent(3.5))[0]
    assert not recent.check(_recent(2.5))[0]
    rows = _recent(3.5)
    for row in rows:
        if (row["data"], row["sampling"]) == (recent.STREAMS[-1], UNIFORM.name):
            row["test AP"] += 1
    assert not recent.check(rows)[0]


def _fixed(contacts: float = -5, messages: float = 0, wide: float = 0) -> list[dict[str, Any]]:
    found = {
        (data, each.name): (80.0, 80.2)
        for data in (fixed_rates.CONFERENCE, fixed_rates.COLLEGE)
        for each in fixed_rates.VARIANTS
    }
    for rate in (5, 10):
        found[fixed_rates.CONFERENCE, expanded(rate).name] = (80 + contacts, 80 + contacts)
    found[fixed_rates.COLLEGE, expanded(5).name] = (80 + messages, 80.2 + messages)
    found[fixed_rates.COLLEGE, fixed_rates.WIDE.name] = (80 - wide, 80.2 - wide)
    return _rows(found)


def test_fixed_rates_are_to_cost_among_contacts_and_not_among_messages():
    assert fixed_rates.check(_fixed())[0]
    assert not fixed_rates.check(_fixed(contacts=0))[0]
    assert not fixed_rates.check(_fixed(messages=-1.5))[0]
    assert not fixed_rates.check(_fixed(wide=-1.5))[0]


def _learned(gap: float = 0, closed: float = 0.1, spread: float = 0.1) -> list[dict[str, Any]]:
    rows = _rows(
        {
            (data, each.name): (80.0 + gap * (each is TNS), 81.0 + gap * (each is TNS))
            for data in learned_rates.STREAMS
            for each in learned_rates.VARIANTS
        }
    )
    for row in rows:
        row |= {"closed gates": closed, "spread between bounds": spread}
    return rows


def test_learned_rates_are_to_be_open_different_and_not_worse_by_a_point():
    assert learned_rates.check(_learned())[0]
    assert not learned_rates.check(_learned(gap=-1.5))[0]
    assert not learned_rates.check(_learned(closed=0.9))[0]
    assert not learned_rates.check(_learned(spread=0.0))[0]


def test_both_backbones_run_with_and_without_edge_features(tmp_path, monkeypatch):
    plain = _split()
    rated = plain.data[:]
    rated.msg = torch.ones(len(rated.src), 1)
    splits = {backbones.WIKIPEDIA: plain, backbones.BITCOIN: chronological_split(rated)}
    monkeypatch.setattr(backbones, "first_events", lambda context, name, events: splits[name])
    monkeypatch.setattr(backbones, "EPOCHS", 1)
    rows = list(backbones.run(_context(tmp_path, seeds=1)))
    assert len(rows) == 2 * sum(len(each[1]) for each in backbones.VARIANTS.values())
    assert {(row["backbone"], row["data"]) for row in rows} == {
        (backbone, data) for backbone in backbones.VARIANTS for data in splits
    }


def _backbones(over_uniform: float = 5, over_recent: float = 0) -> list[dict[str, Any]]:
    return [
        row
        for backbone in backbones.VARIANTS
        for row in _rows(
            {
                (data, name): (value, value + 0.1)
                for data in (backbones.WIKIPEDIA, backbones.BITCOIN)
                for name, value in (
                    (TNS.name, 80.0),
                    (UNIFORM.name, 80.0 - over_uniform),
                    (RECENT.name, 80.0 - over_recent),
                )
            },
            backbone=backbone,
        )
    ]


def test_backbones_are_to_gain_over_uniform_and_not_lose_to_recent():
    assert backbones.check(_backbones())[0]
    assert not backbones.check(_backbones(over_uniform=-1))[0]
    assert not backbones.check(_backbones(over_recent=-1.5))[0]


def test_budget_compares_ten_with_fifty():
    column = "new-node test accuracy"

    def rows(ten: float) -> list[dict[str, Any]]:
        return [
            row
            for size in budget.BUDGETS
            for row in _rows(
                {
                    ("a", TNS.name): (ten, ten + 0.1) if size == 10 else (60.0, 60.1),
                    ("a", RECENT.name): (70.0, 70.1) if size == 50 else (60.0, 60.1),
                },
                column,
                S=size,
            )
        ]

    assert budget.check(rows(71))[0]
    assert not budget.check(rows(69))[0]
    assert "TNS with 10 less most recent with 50: +1.0" in budget.check(rows(71))[1]


def test_sensitivity_looks_for_the_worst_corner():
    def rows(alpha: float, sigma: float) -> list[dict[str, Any]]:
        return [
            {"alpha": a, "sigma": s, "seed": 0, "test AP": 70.0 if (a, s) == (alpha, sigma) else 80}
            for a in sensitivity.ALPHAS
            for s in sensitivity.SIGMAS
        ]

    assert sensitivity.check(rows(5.0, 1.0))[0]
    assert not sensitivity.check(rows(0.1, 1.0))[0]


def test_preference_is_measured_against_the_same_rate():
    def rows(between: float, within: float) -> list[dict[str, Any]]:
        pairs = [(f"{a}, {b}", between) for a, b in preference.PAIRS]
        same = [(f"{rate}, {rate}", within) for rate in preference.RATES]
        return [{"rates": name, "seed": 0, "tau": tau} for name, tau in [*pairs, *same]]

    assert preference.check(rows(0.3, 0.6))[0]
    mixed = rows(0.4, 0.6)
    for row in mixed:
        if row["rates"] == "23, 23":
            row["tau"] = 0.3
    assert not preference.check(mixed)[0]
    assert not preference.check(rows(0.5, 0.5))[0]


def test_preference_ranks_losses_of_other_trainings(tmp_path, monkeypatch):
    split = _split()
    seen = []

    class Losses(NamedTuple):
        values: torch.Tensor

        def losses(self) -> torch.Tensor:
            return self.values

    def trained(split: Any, variant: Variant, start: int) -> tuple[Any, None]:
        seen.append((variant.model["rate"], start))
        return SimpleNamespace(graph=None, key=seen[-1]), None

    def scored(model: Any, *rest: Any) -> Losses:
        generator = torch.Generator().manual_seed(hash(model.key) % 2**31)
        return Losses(torch.randn(200, generator=generator))

    monkeypatch.setattr(preference, "first_events", lambda context, name: split)
    monkeypatch.setattr(preference, "trained", trained)
    monkeypatch.setattr(preference, "score_events", scored)
    rows = list(preference.run(_context(tmp_path)))
    assert len(set(seen)) == len(seen) == 2 * 2 * len(preference.RATES)
    # Losses of different trainings are unrelated here; of one with itself tau would be 1.
    assert all(abs(row["tau"]) < 0.3 for row in rows)
    assert {row["weights"] for row in rows} == {"same", "other"}


@pytest.mark.parametrize("check", ["backbones", "budget", "wikipedia"])
def test_a_gain_within_its_interval_is_none(check):
    noisy = (-4.0, 9.0, 1.0)
    if check == "wikipedia":
        rows = [
            {"sampling": name, "seed": seed, **dict.fromkeys(MEASURES, value), "ban AUC": value}
            for name, gaps in ((TNS.name, noisy), (RECENT.name, (0.0,) * 3))
            for seed, value in enumerate(gaps)
        ]
        assert not wikipedia.check(rows)[0]
    elif check == "budget":
        aps = {("a", TNS.name): noisy, ("a", RECENT.name): (0.0,) * 3}
        rows = [
            row for size in budget.BUDGETS for row in _rows(aps, "new-node test accuracy", S=size)
        ]
        assert not budget.check(rows)[0]
    else:
        rows = _backbones()
        for row in rows:
            if row["sampling"] == TNS.name:
                row["test AP"] = row["test AP"] + (40.0 if row["seed"] else -4.0)
        assert not backbones.check(rows)[0]


def test_wikipedia_needs_every_measure_beyond_its_interval():
    def rows(gap: float, ban: float) -> list[dict[str, Any]]:
        return [
            {
                "sampling": name,
                "seed": seed,
                **dict.fromkeys(MEASURES, value + seed),
                "ban AUC": auc,
            }
            for name, value, auc in ((TNS.name, 80 + gap, 80 + ban), (RECENT.name, 80, 80))
            for seed in range(3)
        ]

    assert wikipedia.check(rows(1, 1))[0]
    assert not wikipedia.check(rows(1, 0))[0]
    assert not wikipedia.check(rows(-1, 1))[0]
