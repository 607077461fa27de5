"""What the checks of experiments conclude: each line of theirs can fail by itself."""

from __future__ import annotations

import math

import pytest

from zoo_core.errors import InputError
from zoo_synthetic_learner.experiments import (
    california,
    coverage,
    minimum_wage,
    rates,
    runs,
    semi_synthetic,
    simulation,
)
from zoo_synthetic_learner.experiments.pairs import (
    Line,
    below_all,
    difference,
    estimate,
    mean,
    verdict,
)

_JITTER = (0.0, 0.02, -0.03, 0.01)


def _rows(levels: dict, **fixed) -> list[dict]:
    """Rows of (method, level) and seed; noise is of each method's own, so no pair is constant."""
    return [
        {"method": name, "seed": seed, runs.ALL: level * (1 + noise * (1 + place % 3)), **fixed}
        for place, (name, level) in enumerate(levels.items())
        for seed, noise in enumerate(_JITTER)
    ]


def test_a_difference_is_taken_seed_by_seed_with_students_interval():
    rows = [
        {"method": name, "seed": seed, "e": value}
        for name, values in (("one", (8.0, 10.0, 13.0)), ("two", (7.0, 8.0, 10.0)))
        for seed, value in enumerate(values)
    ]
    one, two = {"method": "one"}, {"method": "two"}
    found = difference(list(reversed(rows)), one, two, "e")
    # The gaps 1, 2, 3 have the standard deviation 1; t is 4.3027 at 2 degrees of freedom.
    assert found.mean == pytest.approx(2)
    assert found.half == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)
    assert (found.low, found.high) == pytest.approx((2 - found.half, 2 + found.half))
    assert str(found) == "+2.0 ± 2.5"
    assert difference(rows, one, two, "e", times=2).mean == pytest.approx((9 + 12 + 16) / 3)
    assert math.isnan(difference(rows[::3], one, two, "e").half)
    assert mean(rows, "e", method="two") == pytest.approx(25 / 3)
    with pytest.raises(InputError, match="one has several rows of one seed"):
        difference([*rows, rows[0]], one, two, "e")
    with pytest.raises(InputError, match="one and two have not the same seeds"):
        difference(rows[1:], one, two, "e")


def test_an_interval_at_a_level_is_wider_the_higher_it_is():
    # t at 2 degrees of freedom: 2.91999 for 90 %, 9.92484 for 99 %.
    for level, quantile in ((0.9, 2.91999), (0.99, 9.92484)):
        assert estimate([1, 2, 3], level).half == pytest.approx(quantile / math.sqrt(3), rel=1e-4)
    assert str(estimate([0.011, 0.012, 0.013])) == "+0.0120 ± 0.0025"
    assert str(estimate([1.0, 1.0])) == "+1 ± 0"


def test_a_method_is_below_all_only_beyond_every_interval():
    rows = _rows({"ours": 1.0, "near": 1.5, "far": 3.0})
    line = below_all(rows, "ours", ("near", "far"), runs.ALL)
    assert line.holds
    assert "less near -0.5" in line.text
    assert "closest of 2" in line.text
    assert "far" not in line.text
    assert not below_all(rows, "ours", ("near", "far"), runs.ALL, times=2).holds
    noisy = [
        {"method": name, "seed": seed, runs.ALL: value}
        for name, values in (("ours", (0.0,) * 3), ("near", (9.0, -4.0, 1.0)))
        for seed, value in enumerate(values)
    ]
    assert not below_all(noisy, "ours", ("near",), runs.ALL).holds
    once = [row for row in rows if row["seed"] == 0]
    assert not below_all(once, "ours", ("near",), runs.ALL).holds


def test_a_verdict_has_all_lines_and_those_that_fail_first():
    assert verdict([Line("a", True), Line("b", True)]) == (True, "2 of 2 hold: a; b")
    assert verdict([Line("a", True), Line("b", False)]) == (False, "1 of 2 hold: NOT b; a")


def _real(**changes: float) -> list[dict]:
    levels = dict.fromkeys(semi_synthetic.METHODS, 1.0)
    levels |= {name: 1.1 for name in semi_synthetic.OURS if name.startswith("H1SL")}
    levels |= dict.fromkeys(semi_synthetic.OTHERS, 2.0) | {runs.SC: 3.0}
    return _rows(levels | changes)


@pytest.mark.parametrize("check", [semi_synthetic.check_cps, semi_synthetic.check_smoking])
def test_synthetic_learners_are_to_be_below_each_other_method(check):
    assert check(_real())[0]
    for other in semi_synthetic.OTHERS:
        assert not check(_real(**{other: 1.05}))[0]
    for name in semi_synthetic.OURS:
        holds, text = check(_real(**{name: 2.1}))
        assert not holds
        assert f"NOT {name} less" in text


def test_on_wages_one_effect_for_all_is_to_have_twice_the_error():
    assert not semi_synthetic.check_cps(_real(**{runs.SC: 2.1}))[0]
    assert semi_synthetic.check_smoking(_real(**{runs.SC: 0.5}))[0]
    for name in semi_synthetic.OURS:
        assert not semi_synthetic.check_cps(_real(**{name: 1.6}))[0]


@pytest.mark.parametrize("kind", ["simplex", "auto"])
def test_on_cigarettes_two_sides_are_not_to_be_above_one(kind):
    rows = _real(**{f"H2SL, {kind}": 1.3})
    assert not semi_synthetic.check_smoking(rows)[0]
    assert semi_synthetic.check_cps(rows)[0]


def _simulated(setting: str = "", **changes: float) -> list[dict]:
    rows = []
    for each in simulation.SETTINGS:
        one, two = (0.8, 1.1) if each == simulation.FEW_CONTROLS else (1.1, 0.8)
        levels = dict.fromkeys(simulation.METHODS, 3.0)
        levels |= {"H1SL, ridge": one, "H2SL, ridge": two}
        levels |= {"H1SL, simplex": 1.6, "H2SL, simplex": 1.5}
        if each == setting:
            levels |= changes
        rows += _rows(levels, setting=each)
    return rows


@pytest.mark.parametrize(
    ("setting", "method", "level"),
    [
        *(
            (setting, f"{kind}, simplex", 0.5)
            for setting in (simulation.LINEAR, simulation.NONLINEAR)
            for kind in ("H1SL", "H2SL")
        ),
        *(
            (setting, "H2SL, ridge", 1.2)
            for setting in (simulation.LINEAR, simulation.FEW_TREATED, simulation.MANY)
        ),
        (simulation.FEW_CONTROLS, "H1SL, ridge", 1.2),
        *(
            (setting, other, 1.0)
            for setting in simulation.SETTINGS
            for other in (runs.DID_T, runs.T_LEARNER, runs.S_LEARNER, runs.CONSTANT)
        ),
    ],
)
def test_each_order_of_the_simulation_counts(setting, method, level):
    holds, text = simulation.check(_simulated(setting, **{method: level}))
    assert not holds
    assert f"NOT {setting}: " in text


def test_the_simulation_s_order_is_all_that_counts():
    holds, text = simulation.check(_simulated())
    assert holds, text
    # 1.1 is not the prototype's 0.79, and is said to be far from it.
    assert "linear: H1SL, ridge 1.10, there 0.79" in text
    many = simulation.check(_simulated(simulation.MANY, **{"H1SL, simplex": 0.2}))
    assert many[0]


def test_a_mean_agrees_with_the_prototype_within_two_standard_errors():
    rows = []
    for setting, numbers in simulation._PILOT.items():
        levels = dict(zip(simulation.METHODS, numbers, strict=True))
        rows += _rows(levels, setting=setting)
    assert "40 of 40 means within" in simulation.check(rows)[1]
    for row in rows:
        if (row["setting"], row["method"]) == (simulation.LINEAR, runs.DID_T):
            row[runs.ALL] += 0.5
    text = simulation.check(rows)[1]
    assert "39 of 40 means within" in text
    assert "not so linear: DiD-T 1.93, there 1.42" in text or "DiD-T 1.92, there 1.42" in text


def _rates(changes: dict | None = None) -> list[dict]:
    rows = []
    for varied, numbers in rates.VARIED.items():
        for place, value in enumerate(numbers):
            falling = 2.0 - 0.3 * place
            levels = {
                rates.H1SL_RIDGE: 2.0 if varied == "T1" else falling,
                rates.H2SL_RIDGE: 2.0 if varied == "T1" else falling,
                runs.DID_T: 2.0,
                runs.T_LEARNER: 2.0 + 0.3 * place,
            }
            for name in levels:
                levels[name] = (changes or {}).get((varied, place, name), levels[name])
            rows += _rows(levels, varied=varied, value=value)
    return rows


@pytest.mark.parametrize(("varied", "name"), rates._FALLING)
def test_errors_are_to_fall_and_at_no_step_to_rise(varied, name):
    assert rates.check(_rates())[0]
    holds, text = rates.check(_rates({(varied, 3, name): 2.0}))
    assert not holds
    assert f"NOT {name} falls with {varied}: 2.00" in text
    # Between the first and the last there is a rise; the two are as before.
    assert not rates.check(_rates({(varied, 2, name): 1.9}))[0]


def test_errors_are_to_stay_with_the_treated_periods_and_to_rise_for_the_t_learner():
    for name in (rates.H1SL_RIDGE, rates.H2SL_RIDGE):
        assert not rates.check(_rates({("T1", 3, name): 0.9}))[0]
        assert rates.check(_rates({("T1", 3, name): 1.2}))[0]
    assert not rates.check(_rates({("T0", 3, runs.T_LEARNER): 2.0}))[0]
    assert rates.check(_rates({("n", 3, rates.H1SL_RIDGE): 5.0}))[0]


def _california(**changes: float) -> list[dict]:
    return [
        {
            "estimator": name,
            "quantity": quantity,
            "estimate": (estimate := changes.get(f"{name}, {quantity}", reference)),
            "reference": reference,
            "tolerance": tolerance,
            "published": california.PUBLISHED[name] if quantity == california.ATT else None,
            "off by": abs(estimate - reference),
        }
        for (name, quantity), (reference, tolerance) in california.REFERENCE.items()
    ]


@pytest.mark.parametrize(("name", "quantity"), california.REFERENCE)
def test_each_number_of_california_counts(name, quantity):
    assert california.check(_california())[0]
    reference, tolerance = california.REFERENCE[name, quantity]
    for sign in (-1, 1):
        off = reference + sign * 1.1 * tolerance
        holds, text = california.check(_california(**{f"{name}, {quantity}": off}))
        assert not holds
        assert f"NOT {name}, {quantity}" in text


@pytest.mark.parametrize("name", california.PUBLISHED)
def test_california_is_to_be_what_was_published(name):
    rows = _california()
    for row in rows:
        if (row["estimator"], row["quantity"]) == (name, california.ATT):
            row["published"] += 0.2
    holds, text = california.check(rows)
    assert not holds
    assert "was published" in text.split(";")[0]


def _wages(**changes) -> list[dict]:
    effects = [
        minimum_wage._row(minimum_wage.EFFECT, 0.1, 0.1, 2004, year) for year in range(2004, 2007)
    ]
    told = minimum_wage._row(minimum_wage.TOLD, changes.get("told", 3.0), 3.0)
    back = minimum_wage._row(minimum_wage.FALLEN_BACK, changes.get("back", 9.0), 9.0)
    slope = minimum_wage._row(minimum_wage.SLOPE, 0.5, None) | {"low": -0.1, "high": 1.0}
    effects[1] = minimum_wage._row(minimum_wage.EFFECT, 0.1 + changes.get("off", 0.0), 0.1, 2004)
    return [*effects, back, told, slope]


def test_minimum_wages_are_to_be_the_reference_s_and_the_fallback_said():
    holds, text = minimum_wage.check(_wages())
    assert holds
    assert "slope of tau(lpop) 0.5000 [-0.1000, 1.0000]" in text
    assert minimum_wage.check(_wages(off=5e-7))[0]
    for change in ({"off": 2e-6}, {"off": -2e-6}, {"told": 2.0}, {"back": 8.0}):
        assert not minimum_wage.check(_wages(**change))[0]


def _covered(change: tuple = (), share: float = 0.0) -> list[dict]:
    rows = []
    for assignment in (coverage.BY_SCORE, coverage.AT_RANDOM):
        for name in coverage.METHODS:
            for seed in range(40):
                shares = {coverage.TAU: 0.9, coverage.ATT: 0.9, coverage.REJECTS: 0.1}
                if change[:2] == (assignment, name):
                    shares[change[2]] = share
                rows.append(
                    {
                        "treated": assignment,
                        "method": name,
                        "seed": seed,
                        coverage.TAU: shares[coverage.TAU] + 0.05 * (-1) ** seed,
                        coverage.ATT: seed < 40 * shares[coverage.ATT],
                        coverage.REJECTS: seed < 40 * shares[coverage.REJECTS],
                    }
                )
    return rows


@pytest.mark.parametrize("assignment", [coverage.BY_SCORE, coverage.AT_RANDOM])
@pytest.mark.parametrize("name", coverage.METHODS)
@pytest.mark.parametrize("measure", coverage.MEASURES)
def test_each_share_is_to_be_the_nominal_one(assignment, name, measure):
    assert coverage.check(_covered())[0]
    wanted = 0.1 if measure == coverage.REJECTS else 0.9
    holds, text = coverage.check(_covered((assignment, name, measure), abs(wanted - 0.4)))
    assert not holds
    assert f"NOT {assignment}, {name}: {measure}" in text


def test_a_share_of_panels_has_the_exact_binomial_interval():
    # Of 40 panels 36 or all 40 are not too few for 0.9; 27 are. 0.996 of Clopper and Pearson.
    for number, right in ((36, True), (40, True), (31, True), (27, False)):
        rows = _covered((coverage.BY_SCORE, coverage.METHODS[0], coverage.ATT), number / 40)
        assert coverage.check(rows)[0] == right
