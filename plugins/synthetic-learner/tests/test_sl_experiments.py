"""The experiments: what they declare and what they run."""

from __future__ import annotations

import importlib
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoo_core.experiment import Context
from zoo_core.rows import Rows
from zoo_synthetic_learner import H1SL, SyntheticControl
from zoo_synthetic_learner.experiments import (
    EXPERIMENTS,
    california,
    coverage,
    minimum_wage,
    rates,
    runs,
    semi_synthetic,
    simulation,
)
from zoo_synthetic_learner.panel_files import load_mpdta, load_mpdta_reference
from zoo_synthetic_learner.semi_synthetic import SemiSynthetic
from zoo_synthetic_learner.simulation import simulated_panel


@pytest.fixture
def at_once(monkeypatch):
    """Runs jobs in this process, where patches hold, and only when they are asked for."""

    def one_by_one(context, function, jobs):
        return (function(*job) for job in jobs)

    for module in (semi_synthetic, simulation, rates, coverage):
        monkeypatch.setattr(module, "side_by_side", one_by_one)


def _context(tmp_path, seeds: int = 1, root: Path | None = None) -> Context:
    return Context(seeds=tuple(range(seeds)), folder=tmp_path, data_root=root)


def _root() -> Path:
    root = os.environ.get("ZOO_DATA")
    if not root or not (Path(root) / "panels").is_dir():
        pytest.skip("needs the folder panels in ZOO_DATA")
    return Path(root)


def _declared(name: str):
    return next(each for each in EXPERIMENTS if each.name == name)


def _added(name: str, rows, seeds: int = 1) -> list:
    """The rows, as they are accepted by what reports them."""
    each = _declared(name)
    found = Rows(
        measures=each.measures, over=each.over, seeds=tuple(range(seeds)), figure=each.figure
    )
    for row in rows:
        found.add(row)
    return found.rows


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
def test_what_is_declared_is_there(experiment):
    for name in (experiment.run, experiment.check):
        module, _, function = name.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_all_learners_have_one_base_but_those_of_one_number():
    for name, make in runs.LEARNERS.items():
        learner = make()
        wanted = "constant" if name == runs.CONSTANT else "linear"
        assert getattr(learner, "base", None) == (None if name == runs.SC else wanted)
        if name.startswith(("H1SL", "H2SL")):
            kind, synthesizer = name.split(", ")[:2]
            assert type(learner).__name__ == kind
            assert learner.synthesizer == synthesizer.split()[0]
    assert runs.LEARNERS["H2SL, simplex, half"]().combine == "half"
    assert runs.LEARNERS["H1SL, ridge by GCV"]().synthesizer_options == {"penalty": "gcv"}
    assert isinstance(runs.LEARNERS[runs.SC](), SyntheticControl)


def test_errors_are_those_of_all_and_of_treated_units(monkeypatch):
    class Learner:
        def fit(self, outcome, treated, covariates):
            return self

        def effect(self, covariates):
            return covariates[:, 0]

    monkeypatch.setattr(runs, "LEARNERS", {"one": Learner})
    covariates = np.array([[1.0], [2.0], [3.0], [4.0]])
    data = SemiSynthetic(
        Y=np.zeros((4, 3)),
        D=np.array([0, 2, 2, 0]),
        S=covariates,
        tau=np.array([1.0, 5.0, -1.0, 1.0]),
    )
    found = runs.errors("one", data)
    assert found[runs.ALL] == pytest.approx(np.sqrt((0 + 9 + 16 + 9) / 4))
    assert found[runs.TREATED] == pytest.approx(np.sqrt((9 + 16) / 2))


def test_jobs_come_back_in_their_order(tmp_path):
    found = runs.side_by_side(_context(tmp_path), divmod, [(7, 2), (9, 4), (5, 5)])
    assert list(found) == [(3, 1), (2, 1), (1, 0)]


@pytest.mark.parametrize("name", ["cps", "smoking"])
def test_semi_synthetic_rows(name, tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(semi_synthetic, "METHODS", ("H1SL, simplex", runs.DID_T))
    run = {"cps": semi_synthetic.run_cps, "smoking": semi_synthetic.run_smoking}[name]
    rows = _added(name, run(_context(tmp_path, 2, _root())), 2)
    assert [(row["method"], row["seed"]) for row in rows] == [
        (method, seed) for method in ("H1SL, simplex", runs.DID_T) for seed in (0, 1)
    ]
    scale = {"cps": 0.05, "smoking": 10}[name]
    assert all(0.01 * scale < row[runs.ALL] < 3 * scale for row in rows)


def test_semi_synthetic_effects_by_hand():
    covariates = np.array([[0.0, 0.0], [1.0, 2.0]])
    wages, smoking = semi_synthetic._CPS, semi_synthetic._SMOKING
    np.testing.assert_allclose(wages.tau(covariates), [0.05, 0.05 + 0.05 - 0.06])
    np.testing.assert_allclose(smoking.tau(covariates), [-10, -10 - 6 + 8])
    assert (wages.treated, wages.before) == (15, 30)
    assert (smoking.treated, smoking.before) == (12, 19)


def test_simulation_rows_are_of_the_panels_from_seed_1000_on(tmp_path, at_once, monkeypatch):
    settings = {simulation.LINEAR: {}, simulation.FEW_TREATED: {"m": 10, "n": 80}}
    monkeypatch.setattr(simulation, "SETTINGS", settings)
    rows = _added("simulation", simulation.run(_context(tmp_path)))
    assert len(rows) == 2 * len(simulation.METHODS)
    row = next(each for each in rows if each["method"] == "H1SL, ridge")
    assert row["prototype"] == 0.79
    data = simulated_panel(1000)
    fit = H1SL("ridge", base="linear").fit(data.Y, data.D, data.S)
    assert row[runs.ALL] == pytest.approx(-fit.score(data.S, data.tau), rel=1e-12)
    last = rows[-1]
    assert (last["setting"], last["prototype"]) == (simulation.FEW_TREATED, 2.96)


def test_rates_rows_vary_one_number_each(tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(rates, "VARIED", {"T0": (15, 30), "n": (30, 60)})
    monkeypatch.setattr(rates, "METHODS", (runs.T_LEARNER,))
    sizes = []
    drawn = rates.simulated_panel
    monkeypatch.setattr(
        rates, "simulated_panel", lambda seed, **given: sizes.append(given) or drawn(seed, **given)
    )
    rows = _added("rates", rates.run(_context(tmp_path)))
    assert sizes == [{"T0": 15}, {"T0": 30}, {"n": 30}, {"n": 60}]
    assert [(row["varied"], row["value"]) for row in rows] == [
        ("T0", 15),
        ("T0", 30),
        ("n", 30),
        ("n", 60),
    ]


def test_california_is_found(tmp_path):
    rows = _added("california", california.run(_context(tmp_path, 0, _root())), 0)
    assert len(rows) == len(california.REFERENCE)
    holds, text = california.check(rows)
    assert holds, text


def test_minimum_wage_effects_are_the_reference_s(tmp_path):
    root = _root()
    rows = list(minimum_wage._effects(load_mpdta(root), load_mpdta_reference(root)))
    assert [(row["group"], row["year"]) for row in rows] == [
        *((2004, year) for year in range(2004, 2008)),
        (2006, 2006),
        (2006, 2007),
        (2007, 2007),
    ]
    assert max(row["off by"] for row in rows) < 1e-6
    assert rows[0]["estimate"] == pytest.approx(-0.0105, abs=1e-4)


def test_minimum_wage_says_what_auto_did_and_the_slope(tmp_path, monkeypatch):
    root = _root()
    monkeypatch.setattr(minimum_wage, "REPLICATES", 4)
    context = _context(tmp_path, 0, root)
    rows = {row["quantity"]: row for row in _added("minimum-wage", minimum_wage.run(context), 0)}
    assert rows[minimum_wage.FALLEN_BACK]["estimate"] == 191
    assert rows[minimum_wage.TOLD]["estimate"] == rows[minimum_wage.TOLD]["reference"] == 3
    slope = rows[minimum_wage.SLOPE]
    table = load_mpdta(root)
    assert slope["low"] <= slope["high"]
    assert slope["reference"] is None
    learner = H1SL("did", base="linear").fit_frame(
        table, **minimum_wage._COLUMNS, covariates=["lpop"]
    )
    one, two = learner.effect(pd.DataFrame({"lpop": [1.0, 3.0]}))
    assert slope["estimate"] == pytest.approx((two - one) / 2)
    assert "4 resamples" in context.notes[0]


@pytest.mark.parametrize("assignment", [coverage.BY_SCORE, coverage.AT_RANDOM])
def test_coverage_panels_differ_by_the_effect_alone(assignment):
    sizes = {"m": 6, "n": 14}
    with_effect = coverage.drawn(assignment, 3, sizes, effect=True)
    without = coverage.drawn(assignment, 3, sizes, effect=False)
    np.testing.assert_array_equal(with_effect.D, without.D)
    assert np.count_nonzero(without.D) == 6
    assert not without.tau.any()
    wanted = np.zeros_like(without.Y)
    wanted[with_effect.treated, 60:] = with_effect.tau[with_effect.treated, None]
    np.testing.assert_allclose(with_effect.Y - without.Y, wanted, atol=1e-12)
    np.testing.assert_allclose(with_effect.tau, 1 + 1.5 * with_effect.S[:, 0] - with_effect.S[:, 1])


def test_coverage_assigns_by_covariates_or_not():
    sizes = {"m": 10, "n": 20}
    mean = {
        assignment: np.mean(
            [
                data.S[data.treated, 0].mean()
                for data in (
                    coverage.drawn(assignment, seed, sizes, effect=True) for seed in range(20)
                )
            ]
        )
        for assignment in (coverage.BY_SCORE, coverage.AT_RANDOM)
    }
    assert mean[coverage.BY_SCORE] > 0.6
    assert abs(mean[coverage.AT_RANDOM]) < 0.25


def test_coverage_rows(tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(coverage, "REPLICATES", 4)
    monkeypatch.setattr(coverage, "PLACEBOS", 3)
    rows = _added("coverage", islice(coverage.run(_context(tmp_path)), 2))
    assert [row["method"] for row in rows] == ["H1SL, ridge", "H2SL, ridge"]
    assert all(0 <= row[coverage.TAU] <= 1 for row in rows)
    # With 3 placebos the smallest p is 0.25.
    assert not any(row[coverage.REJECTS] for row in rows)
