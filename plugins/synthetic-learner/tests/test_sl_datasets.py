from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sl_data import data_root

from zoo_core.errors import InputError
from zoo_synthetic_learner import datasets
from zoo_synthetic_learner.matrices import read_matrices

RNG = np.random.default_rng(8)
Y = RNG.standard_normal((9, 12))
S = RNG.standard_normal((9, 3))


def test_treated_are_those_with_the_largest_noisy_first_covariate() -> None:
    made = datasets.semi_synthetic_panel(Y, S, S[:, 1], m=4, seed=3, T0=7, gumbel=0.5)
    noise = np.random.default_rng(3).gumbel(size=9)
    score = [S[unit, 0] + 0.5 * noise[unit] for unit in range(9)]
    expected = sorted(sorted(range(9), key=lambda unit: score[unit])[-4:])
    assert made.treated.tolist() == expected
    assert [made.D[unit] for unit in range(9)] == [7 * (unit in expected) for unit in range(9)]


def test_the_effect_is_in_the_treated_cells_alone() -> None:
    made = datasets.semi_synthetic_panel(Y, S, lambda s: 10 * s[:, 2] - 3, m=4, seed=1, T0=7)
    for unit in range(9):
        for period in range(12):
            effect = 10 * S[unit, 2] - 3 if unit in made.treated and period >= 7 else 0.0
            assert made.Y[unit, period] == pytest.approx(Y[unit, period] + effect, abs=1e-12)
    np.testing.assert_array_equal(made.tau, 10 * S[:, 2] - 3)


def test_without_noise_the_largest_are_treated_whatever_the_seed() -> None:
    for seed in (0, 1):
        made = datasets.semi_synthetic_panel(Y, S, np.zeros(9), m=2, seed=seed, T0=3, gumbel=0)
        assert made.treated.tolist() == sorted(np.argsort(S[:, 0])[-2:].tolist())


def test_the_given_outcomes_and_covariates_stay() -> None:
    outcome, covariates = Y.copy(), S.copy()
    made = datasets.semi_synthetic_panel(outcome, covariates, np.ones(9), m=2, seed=0, T0=3)
    made.Y[:] = made.S[:] = 0
    np.testing.assert_array_equal(outcome, Y)
    np.testing.assert_array_equal(covariates, S)


def test_a_function_that_writes_into_its_covariates_does_no_harm() -> None:
    def doubled(s: np.ndarray) -> np.ndarray:
        s *= 2
        return s[:, 0]

    made = datasets.semi_synthetic_panel(Y, S, doubled, m=2, seed=0, T0=3)
    np.testing.assert_array_equal(made.S, S)
    np.testing.assert_array_equal(made.tau, 2 * S[:, 0])


def test_labels_are_kept() -> None:
    table = pd.DataFrame(Y, index=list("abcdefghi"), columns=range(2000, 2012))
    given_s = pd.DataFrame(S, index=table.index, columns=["u", "v", "w"])
    made = datasets.semi_synthetic_panel(table, given_s, np.ones(9), m=2, seed=0, T0=3)
    panel = read_matrices(made.Y, made.D, made.S)
    assert panel.units.tolist() == list("abcdefghi")
    assert panel.times[3] == 2003
    assert panel.covariate_names == ("u", "v", "w")
    assert panel.treated.tolist() == made.treated.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Y": Y[0]}, r"Y has shape \[12\]"),
        ({"S": S[:, 0]}, r"S has shape \[9\]; expected \[9, d\]"),
        ({"S": S[:5]}, r"S has shape \[5, 3\]"),
        ({"S": S[:, :0]}, r"S has shape \[9, 0\]"),
        ({"S": S * np.nan}, "S has values that are missing or infinite"),
        ({"tau": np.ones(4)}, r"tau has shape \[4\]; expected \[9\]"),
        ({"tau": lambda s: s}, r"tau has shape \[9, 3\]"),
        ({"tau": lambda s: s[:, 0] / 0}, "tau has values that are missing or infinite"),
        ({"tau": "linear"}, "tau is of type str|tau holds values of type"),
        ({"m": 0}, "m is 0; expected a whole number from 1 to 8"),
        ({"m": 9}, "m is 9; expected a whole number from 1 to 8"),
        ({"m": 2.0}, r"m is 2\.0; expected a whole number"),
        ({"T0": 0}, "T0 is 0; expected a whole number from 1 to 11"),
        ({"T0": 12}, "T0 is 12; expected a whole number from 1 to 11"),
        ({"T0": True}, "T0 is True"),
        ({"seed": -1}, "seed is -1; expected a whole number of at least 0"),
        ({"seed": None}, "seed is None"),
        ({"gumbel": -1.0}, r"gumbel is -1\.0; expected a finite number"),
        ({"gumbel": np.nan}, "gumbel is nan"),
        ({"gumbel": "1"}, "gumbel is '1'"),
        ({"Y": pd.DataFrame(Y), "S": pd.DataFrame(S, index=range(1, 10))}, "different indices"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_recipes_refused(change: dict[str, object], message: str) -> None:
    arguments = {"Y": Y, "S": S, "tau": np.ones(9), "m": 2, "seed": 0, "T0": 3}
    with pytest.raises(InputError, match=message):
        datasets.semi_synthetic_panel(**arguments | change)


def _slow_simulation(seed: int, m: int, n: int, before: int, after: int) -> tuple[list, list]:
    """The recipe, cell by cell; returns outcomes without treatment and the treated units."""
    rng = np.random.default_rng(seed)
    num_units, num_periods = m + n, before + after
    s = rng.standard_normal((num_units, 4))
    free = rng.standard_normal(num_units)
    noise = rng.standard_normal((num_units, 3))
    steps = rng.standard_normal((num_periods, 3))
    shocks = rng.standard_normal((num_units, num_periods))
    score = s[:, 0] + 0.5 * rng.gumbel(size=num_units)
    outcome = np.empty((num_units, num_periods))
    for i in range(num_units):
        loading = [s[i, 0] + 0.3 * noise[i, 0], s[i, 1] + 0.3 * noise[i, 1]]
        loading.append(free[i] + 0.3 * noise[i, 2])
        factor = [0.0, 0.0, 0.0]
        error = 0.0
        for t in range(num_periods):
            factor = [factor[k] + 0.5 * steps[t, k] for k in range(3)]
            error = shocks[i, 0] if t == 0 else 0.6 * error + 0.8 * shocks[i, t]
            common = sum(loading[k] * factor[k] for k in range(3))
            outcome[i, t] = 2 * s[i, 0] + common + 0.02 * t + error
    return outcome, sorted(np.argsort(score)[num_units - m :].tolist())


@pytest.mark.parametrize("effect", ["linear", "nonlinear", lambda s: s[:, 3] ** 2])
def test_a_simulation_is_its_recipe(effect: object) -> None:
    made = datasets.simulated_panel(1003, m=3, n=5, T0=7, T1=4, effect=effect)
    untreated, treated = _slow_simulation(1003, 3, 5, 7, 4)
    assert made.treated.tolist() == treated
    assert made.D[treated].tolist() == [7] * 3
    for unit, (a, b, c, d) in enumerate(made.S):
        truth = {"linear": 1 + 1.5 * a - b}
        truth["nonlinear"] = 2 * np.tanh(a) + 2 * max(b, 0) + (c if d > 0 else 0)
        expected = d**2 if callable(effect) else truth[effect]
        assert made.tau[unit] == pytest.approx(expected, abs=1e-12)
        untreated[unit, 7:] += expected if unit in treated else 0.0
    np.testing.assert_allclose(made.Y, untreated, rtol=0, atol=1e-11)


def test_noise_has_unit_variance_in_every_period() -> None:
    made = datasets.simulated_panel(0, m=1, n=4000, T0=8, T1=2, effect=lambda s: 0 * s[:, 0])
    basis = np.column_stack([np.ones(4001), made.S])
    # What covariates and the free loading's factor leave is the noise; at the start that is small.
    residual = made.Y - basis @ np.linalg.lstsq(basis, made.Y, rcond=None)[0]
    rng = np.random.default_rng(0)
    rng.standard_normal((4001, 4))
    free = rng.standard_normal(4001)
    loading_noise = rng.standard_normal((4001, 3))
    others = np.column_stack([basis, free, loading_noise])
    residual = made.Y - others @ np.linalg.lstsq(others, made.Y, rcond=None)[0]
    np.testing.assert_allclose(residual.var(axis=0), 1.0, atol=0.1)
    lagged = np.mean(residual[:, 1:] * residual[:, :-1], axis=0)
    np.testing.assert_allclose(lagged, 0.6, atol=0.07)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**9), st.integers(1, 6), st.integers(1, 6))
def test_seeds_repeat_and_differ(seed: int, m: int, n: int) -> None:
    one, again = (datasets.simulated_panel(seed, m, n, T0=3, T1=2) for _ in range(2))
    np.testing.assert_array_equal(one.Y, again.Y)
    assert not np.array_equal(one.S, datasets.simulated_panel(seed + 1, m, n, T0=3, T1=2).S)
    assert np.count_nonzero(one.D) == m


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": 0}, "m is 0"),
        ({"n": 0}, "n is 0"),
        ({"T0": 0}, "T0 is 0"),
        ({"T1": 2.5}, "T1 is 2.5"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"effect": "nonlinar"}, r"effect is 'nonlinar'\. Did you mean nonlinear"),
        ({"effect": None}, "effect is None"),
        ({"effect": lambda s: s}, r"effect has shape \[90, 4\]"),
    ],
)
def test_simulations_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        datasets.simulated_panel(**{"seed": 0} | change)


def _linear(s: np.ndarray, y: np.ndarray) -> np.ndarray:
    basis = np.column_stack([np.ones(len(s)), s])
    return np.linalg.lstsq(basis, y, rcond=None)[0]


@pytest.mark.parametrize(
    ("panel", "m", "start", "weights", "did", "levels"),
    [
        (datasets.cps_panel, 15, 30, (0.05, 0.05, -0.03), (0.0358, 0.0323), (0.0384, 0.0343)),
        (datasets.smoking_panel, 12, 19, (-10.0, -6.0, 4.0), (8.71, 6.64), (13.0, 11.2)),
    ],
    ids=["cps", "smoking"],
)
def test_learners_that_ignore_time_have_their_known_errors(
    panel: object,
    m: int,
    start: int,
    weights: tuple[float, ...],
    did: tuple[float, float],
    levels: tuple[float, float],
) -> None:
    outcome, covariates = panel(data_root("cps_states.csv", "smoking_covariates.csv"))
    errors = []
    for seed in range(20):
        made = datasets.semi_synthetic_panel(
            outcome, covariates, lambda s: weights[0] + s @ weights[1:], m, seed, start
        )
        y, s, treated = made.Y.to_numpy(), made.S.to_numpy(), made.D > 0
        after = y[:, start:].mean(axis=1)
        of_seed = []
        for target in (after - y[:, :start].mean(axis=1), after):
            slopes = _linear(s[treated], target[treated]) - _linear(s[~treated], target[~treated])
            wrong = slopes[0] + s @ slopes[1:] - made.tau
            of_seed += [np.sqrt(np.mean(wrong**2)), np.sqrt(np.mean(wrong[treated] ** 2))]
        errors.append(of_seed)
    np.testing.assert_allclose(np.mean(errors, axis=0), [*did, *levels], rtol=0.005)


SHAPES = {
    "california": ((39, 31), "state", "packs", {"California": 1989}),
    "smoking": ((39, 31), "state", "cigsale", None),
    "cps": ((50, 40), "state", "log_wage", None),
    "basque": ((17, 43), "region", "gdpcap", {"Basque Country (Pais Vasco)": 1970}),
    "germany": ((17, 44), "country", "gdp", {"West Germany": 1990}),
    "mpdta": ((500, 5), "county", "lemp", None),
}


@pytest.mark.parametrize("name", SHAPES)
def test_real_panels_are_balanced_and_tidy(name: str) -> None:
    shape, unit, outcome, treated = SHAPES[name]
    file = {"california": "california_prop99", "smoking": "smoking_covariates", "cps": "cps_states"}
    root = data_root(f"{file.get(name, name)}.csv")
    table = getattr(datasets, f"load_{name}")(root)
    matrix = table.pivot(index=unit, columns="year", values=outcome)
    assert matrix.shape == shape
    assert not matrix.isna().to_numpy().any()
    assert table["year"].dtype == np.int64
    assert all(each.isidentifier() for each in table.columns)
    if treated is not None:
        first = table[table["treated"] == 1].groupby(unit)["year"].min()
        assert first.to_dict() == treated
        assert set(table["treated"]) == {0, 1}


def test_both_files_of_cigarette_sales_agree() -> None:
    root = data_root("california_prop99.csv", "smoking_covariates.csv")
    one = datasets.load_california(root).set_index(["state", "year"])["packs"]
    other = datasets.load_smoking(root).set_index(["state", "year"])["cigsale"]
    pd.testing.assert_series_equal(one, other, check_names=False, check_like=True, rtol=1e-6)


def test_covariates_for_made_up_effects_are_from_before_treatment() -> None:
    root = data_root("cps_states.csv", "smoking_covariates.csv")
    outcome, s = datasets.cps_panel(root)
    assert outcome.shape == (50, 40)
    assert s.columns.tolist() == ["urate", "hours"]
    np.testing.assert_allclose(s.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(s.std(ddof=1), 1, rtol=1e-12)
    cps = datasets.load_cps(root).query("year <= 2008")
    raw = np.array([cps.loc[cps["state"] == state, "urate"].mean() for state in s.index])
    np.testing.assert_allclose(s["urate"], (raw - raw.mean()) / raw.std(ddof=1), rtol=1e-9)

    outcome, s = datasets.smoking_panel(root)
    assert outcome.shape == (38, 31)
    assert "California" not in outcome.index
    assert s.index.equals(outcome.index)
    smoking = datasets.load_smoking(root).query("year <= 1988 and state != 'California'")
    raw = np.array(
        [np.nanmean(smoking.loc[smoking["state"] == each, "lnincome"]) for each in s.index]
    )
    np.testing.assert_allclose(s["lnincome"], (raw - raw.mean()) / raw.std(ddof=1), rtol=1e-9)


def test_the_published_group_effects_are_there() -> None:
    table = datasets.load_mpdta_reference(data_root("mpdta_r_reference_attgt.csv"))
    cells = table[table["scenario"] == "mpdta_nev_dr"].set_index(["group", "year"])["att"]
    assert cells[2004, 2004] == pytest.approx(-0.0105, abs=5e-5)
    assert cells[2007, 2007] == pytest.approx(-0.0261, abs=5e-5)


def test_the_folder_is_an_argument_or_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    root = data_root("germany.csv")
    monkeypatch.setenv("ZOO_DATA", root)
    pd.testing.assert_frame_equal(datasets.load_germany(), datasets.load_germany(Path(root)))


def test_without_a_folder_an_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ZOO_DATA", raising=False)
    for load in (datasets.load_cps, datasets.load_mpdta, datasets.smoking_panel):
        with pytest.raises(InputError, match="with root= or ZOO_DATA"):
            load()
    with pytest.raises(InputError, match=r"no file .*panels.cps_states\.csv; expected the folder"):
        datasets.load_cps(tmp_path)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"no file .*basque\.csv"):
        datasets.load_basque()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as a table"),
        ("a,b\n1,2\n", "has no columns countyreal, year, lemp, lpop, first.treat"),
        ("countyreal,year,lemp,lpop,first.treat\n1,soon,1,1,0\n", "years that are no whole"),
        ("countyreal,year,lemp,lpop,first.treat\n1,,1,1,0\n", "years that are no whole"),
        ('a,b\n"1,2\n', "cannot be read as a table"),
    ],
)
def test_files_that_are_something_else(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "panels").mkdir()
    (tmp_path / "panels" / "mpdta.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        datasets.load_mpdta(tmp_path)
