"""What a summary says: its tables worked by hand, and when it warns."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sl_data
import sl_made

from zoo_synthetic_learner.baselines.constant import SyntheticDiD
from zoo_synthetic_learner.baselines.meta_learners import DiDT, PanelXLearner
from zoo_synthetic_learner.combining import CombinedEffect
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.h2sl import H2SL
from zoo_synthetic_learner.matrices import read_matrices
from zoo_synthetic_learner.summary import effective_donors, summarize

LEARNER = {"synthesizer": "auto", "base": "ridge", "pool": "mean"}


def panel_of(num_treated=2, num_units=6, num_periods=5, start=3, d=1):
    """Units u0, u1, ... in 2000, 2001, ...; the first are treated, with covariates 0, 1, ..."""
    units = pd.Index([f"u{unit}" for unit in range(num_units)])
    rng = np.random.default_rng(0)
    outcome = rng.normal(size=(num_units, num_periods))
    outcome[:, :3] = [[0.0, 3.0, 6.0]] * num_units
    table = pd.DataFrame(outcome, units, pd.RangeIndex(2000, 2000 + num_periods))
    values = np.arange(num_units * d, dtype=np.float64).reshape(num_units, d)
    values[:, 1:] **= 2
    covariates = pd.DataFrame(values, units, [f"x{place}" for place in range(d)]) if d else None
    return read_matrices(table, [start] * num_treated + [0] * (num_units - num_treated), covariates)


def steady(panel, level=1.0):
    """Gaps of a level from treatment on, and of the unit's number, from 1, before it."""
    return np.where(np.arange(panel.num_periods) < 3, panel.treated[:, None] + 1.0, level)


def test_the_fit_before_treatment_stands_beside_the_outcomes_own_spread():
    panel = panel_of()
    fitted = sl_made.Fitted(panel, sl_made.imputation(panel, steady(panel)), **LEARNER)
    table = summarize(fitted).tables["fit before treatment"]
    # Outcomes of 0, 3 and 6 have the standard deviation sqrt(6).
    assert table.index.tolist() == ["u1", "u0"]
    np.testing.assert_allclose(table["rmse"], [2, 1])
    np.testing.assert_allclose(table["outcome sd"], np.sqrt([6, 6]))
    np.testing.assert_allclose(table["relative"], [2 / np.sqrt(6), 1 / np.sqrt(6)])


def test_of_many_units_those_fitted_worst_are_named():
    panel = panel_of(num_treated=12, num_units=20)
    fitted = sl_made.Fitted(panel, sl_made.imputation(panel, steady(panel)), **LEARNER)
    table = summarize(fitted).tables["fit before treatment"]
    assert table.index.tolist() == ["u11", "u10", "u9", "u8", "u7", "median of 12 units"]
    assert table["rmse"].tolist() == pytest.approx([12, 11, 10, 9, 8, 6.5])


def test_periods_that_were_not_learnt_from_do_not_count_as_fit():
    panel = panel_of(num_treated=1)
    gap = np.array([[100.0, 1.0, 1.0, 5.0, 5.0]])
    fit = np.array([[False, True, True, False, False]])
    fitted = sl_made.Fitted(panel, sl_made.imputation(panel, gap, fit=fit), **LEARNER)
    table = summarize(fitted).tables["fit before treatment"]
    assert table.loc["u0", "rmse"] == 1
    assert table.loc["u0", "outcome sd"] == 1.5  # of 3 and 6


def test_the_learner_and_its_panel_are_described():
    panel = panel_of()
    fitted = sl_made.Fitted(panel, sl_made.imputation(panel, steady(panel)), **LEARNER)
    table = summarize(fitted).tables["learner"]["value"]
    assert table.to_dict() == {
        "outcome": "outcome",
        "synthesizer": "auto",
        "base": "ridge",
        "pool": "mean",
        "units": "2 treated, 4 never treated",
        "periods": "5, 2000 to 2004",
        "treatment from": "2003",
        "periods before treatment": "3",
        "covariates": "x0",
    }


def test_synthesizers_are_counted_on_each_side_without_their_penalties():
    panel = panel_of(num_treated=3, num_units=5)
    treated = sl_made.imputation(panel, steady(panel), choices=("did", "ridge(0.1)", "ridge(0.2)"))
    control = sl_made.imputation(
        panel, np.ones((2, 5)), side="control", choices=("simplex", "ridge(3)")
    )
    fitted = sl_made.Fitted(panel, treated, control, **LEARNER)
    table = summarize(fitted).tables["synthesizers"]
    assert table.to_dict() == {
        "treated": {"ridge": 2, "did": 1, "simplex": 0},
        "control": {"ridge": 1, "did": 0, "simplex": 1},
    }


def test_effects_are_the_att_the_first_event_times_and_the_last():
    panel = panel_of(num_periods=12)
    gap = np.zeros((2, 12))
    gap[0, 3:], gap[1, 3:] = np.arange(9), 1
    gap[1, 11] = np.nan
    fitted = sl_made.Fitted(panel, sl_made.imputation(panel, gap), **LEARNER)
    table = summarize(fitted).tables["effects"]
    assert table.index.tolist() == ["ATT", *(f"event time {each}" for each in (0, 1, 2, 3, 4, 8))]
    np.testing.assert_allclose(table["effect"], [44 / 17, 0.5, 1, 1.5, 2, 2.5, 8])
    assert table["units"].tolist() == [2, 2, 2, 2, 2, 2, 1]


def test_a_linear_effect_has_coefficients_on_the_covariates_scale():
    panel = panel_of(d=2)
    effect = sl_made.Line(3.0, [2.0, -0.001])
    imputed = sl_made.imputation(panel, steady(panel))
    table = summarize(sl_made.Fitted(panel, imputed, effect=effect)).tables["effect function"]
    table = table["tau"]
    assert table["intercept"] == pytest.approx(3)
    assert table["per x0"] == pytest.approx(2)
    assert table["per x1"] == pytest.approx(-0.001)
    # Of units 0 to 5 x0 is 0, 2, ..., 10, and x1 is (x0 + 1)^2.
    assert table["mean over treated units"] == pytest.approx(3 + 2 * 1 - 0.005)
    assert table["mean over all units"] == pytest.approx(3 + 2 * 5 - 0.286 / 6)
    assert table["largest"] == pytest.approx(23 - 0.121)


def test_an_effect_of_two_sides_is_described_side_by_side():
    panel = panel_of()
    imputed = sl_made.imputation(panel, steady(panel))
    sides = sl_made.Line(3.0, [2.0]), sl_made.Line(1.0, [4.0])
    effect = CombinedEffect(*sides, SimpleNamespace(predict=lambda S: S[:, 0] / 10))
    table = summarize(sl_made.Fitted(panel, imputed, effect=effect)).tables["effect function"]
    assert table.columns.tolist() == ["tau", "of treated units", "of control units"]
    assert table.loc["per x0"].tolist()[1:] == pytest.approx([2, 4])
    assert table.loc["intercept"].tolist()[1:] == pytest.approx([3, 1])
    # (1 - s / 10) (3 + 2 s) + s / 10 (1 + 4 s) at s = 0 and 1 is 3 and 5; it is bent.
    assert table["tau"].tolist()[:4] == pytest.approx([4, 3 + 1.8 * 2.5 + 0.2 * 55 / 6, 3, 17])
    assert table["tau"].tolist()[4:] == pytest.approx([np.nan, np.nan], nan_ok=True)


def test_models_of_outcomes_are_not_taken_for_effects():
    effect = sl_made.Line(1.0, [0.5])
    effect.treated, effect.control = sl_made.Line(9.0, [0.0]), sl_made.Line(8.0, [0.0])
    table = summarize(sl_made.Fitted(panel_of(), effect=effect)).tables["effect function"]
    assert table.columns.tolist() == ["tau"]


class Bent:
    def __init__(self, bend):
        self.bend = bend

    def predict(self, covariates):
        return self.bend(covariates)


@pytest.mark.parametrize(
    "bend",
    [lambda S: np.abs(S[:, 0] - 5), lambda S: S[:, 0] * S[:, 1], lambda S: np.tanh(S[:, 0] / 9)],
)
def test_an_effect_that_is_not_linear_has_no_coefficients(bend):
    panel = panel_of(d=2)
    imputed = sl_made.imputation(panel, steady(panel))
    fitted = sl_made.Fitted(panel, imputed, effect=Bent(bend))
    table = summarize(fitted).tables["effect function"]
    assert table.index.tolist() == [
        "mean over treated units",
        "mean over all units",
        "smallest",
        "largest",
    ]


def test_coefficients_need_more_units_than_there_are_of_them():
    panel = panel_of(num_treated=1, num_units=3, d=2)
    summary = summarize(sl_made.Fitted(panel, effect=Bent(lambda S: S[:, 0] ** 3)))
    assert "intercept" not in summary.tables["effect function"].index


def test_an_effect_by_event_time_is_averaged_over_event_times():
    panel = panel_of()
    effect = sl_made.Line([1.0, 3.0], [[1.0, 3.0]])
    fitted = sl_made.Fitted(
        panel, sl_made.imputation(panel, steady(panel)), effect=effect, pool="time"
    )
    table = summarize(fitted).tables["effect function"]["tau"]
    assert (table["intercept"], table["per x0"]) == (pytest.approx(2), pytest.approx(2))


def test_effective_donors_are_those_of_equal_weight():
    weights = np.array([[0.5, 1.0, 0.0, 0.5], [0.5, 0.0, 0.0, -0.5], [0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_allclose(effective_donors(weights), [2, 1, 0, 4 / 1.5])


def test_the_largest_donors_are_named_by_size_of_weight():
    panel = panel_of()
    weights = np.zeros((6, 2))
    weights[2:, 0] = [0.1, -0.6, 0.2, 0.3]
    weights[5, 1] = 1
    imputed = sl_made.imputation(panel, steady(panel), weights=weights)
    table = summarize(sl_made.Fitted(panel, imputed)).tables["weights"]
    assert table["largest donors"].to_dict() == {
        "u0": "u3 -0.600, u5 0.300, u4 0.200",
        "u1": "u5 1.000",
    }
    np.testing.assert_allclose(table["effective number"], [1.2**2 / 0.5, 1])


def test_units_outside_of_the_support_are_counted_and_said():
    # Of the covariates 0 to 19 the treated have 0 to 4.
    panel = panel_of(num_treated=5, num_units=20)
    summary = summarize(sl_made.Fitted(panel, sl_made.imputation(panel, steady(panel))))
    # 2.5 / sqrt(5/3) standard deviations, of sqrt(2.5), from the mean 2: up to 5.06.
    assert summary.tables["support"].loc["treated units"].tolist() == [5, 0, 0]
    assert summary.tables["support"].loc["never treated units"].tolist() == [15, 14, 14 / 15]
    assert any("14 of 20 units (70 %) lie outside" in note for note in summary.notes)


def growing(slope, before=0.0):
    panel = panel_of(num_periods=8)
    gap = np.zeros((2, 8))
    gap[:, 0] = before
    gap[:, 3:] = 1 + slope * np.arange(5)
    return sl_made.imputation(panel, gap), panel


@pytest.mark.parametrize(
    ("slope", "before", "pool", "said"),
    [
        (1.0, 0.0, "mean", True),
        (1.0, 1.9, "mean", True),
        (1.0, 2.1, "mean", False),  # gaps before treatment move by half as much
        (1.0, 0.0, "time", False),  # nothing is hidden
        (0.1, 0.0, "mean", False),
        (0.17, 0.0, "mean", True),  # by 0.68 of 1.34
        (0.16, 0.0, "mean", False),  # by 0.64 of 1.32
    ],
)
def test_growing_effects_are_pointed_out(slope, before, pool, said):
    imputed, panel = growing(slope, before)
    notes = summarize(sl_made.Fitted(panel, imputed, pool=pool)).notes
    last = f"{1 + 4 * slope:.4g} at event time 4"
    assert any(f"goes from 1 at event time 0 to {last}" in note for note in notes) is said


def test_notes_are_gathered_once_and_printed():
    panel = panel_of()
    imputed = sl_made.imputation(panel, steady(panel), notes=("No donor was <dropped>.", "Twice."))
    fitted = sl_made.Fitted(panel, imputed, notes=("Twice.", "Once."))
    summary = summarize(fitted)
    assert summary.notes[:3] == ("Twice.", "Once.", "No donor was <dropped>.")
    assert summary.notes.count("Twice.") == 1
    text = str(summary)
    assert text.startswith("Fitted\n======\n\nlearner\n-------\n")
    assert "- No donor was <dropped>." in text
    assert "<li>No donor was &lt;dropped&gt;.</li>" in summary._repr_html_()


def test_every_table_is_printed_and_shown():
    panel = panel_of()
    weights = np.zeros((6, 2))
    weights[3] = 1
    summary = summarize(
        sl_made.Fitted(panel, sl_made.imputation(panel, steady(panel), weights=weights), **LEARNER)
    )
    text, page = str(summary), summary._repr_html_()
    assert list(summary.tables) == [
        "learner",
        "synthesizers",
        "fit before treatment",
        "effects",
        "effect function",
        "weights",
        "support",
    ]
    for heading in summary.tables:
        assert f"\n{heading}\n{'-' * len(heading)}\n" in text
        assert f"<h4>{heading}</h4><table" in page
    assert "u3 1.000" in text
    assert "u3 1.000" in page


def test_learners_that_impute_nobody_have_a_summary_too():
    panel = panel_of()
    fitted = sl_made.Fitted(panel, effect=sl_made.Line(1.0, [0.5]))
    fitted.learned_.att, fitted.learned_.att_by_time = 1.25, np.array([1.0, 1.5])
    summary = summarize(fitted)
    assert list(summary.tables) == ["learner", "effects", "effect function", "support"]
    assert summary.tables["effects"]["effect"].tolist() == [1.25, 1.0, 1.5]
    assert "per x0" in str(summary)


def test_without_covariates_the_effect_is_one_number():
    panel = panel_of(d=0)
    summary = summarize(sl_made.Fitted(panel, sl_made.imputation(panel, steady(panel, 4.0))))
    assert summary.tables["effect function"].to_dict() == {"tau": {"for all units": 4.0}}
    assert "support" not in summary.tables
    assert summary.tables["learner"].loc["covariates", "value"] == "none"


def test_long_labels_are_cut():
    labels = pd.Index([f"{'long ' * 10}{unit}" for unit in range(6)])
    panel = replace(panel_of(), units=labels)
    weights = np.zeros((6, 2))
    weights[3] = 1
    imputed = sl_made.imputation(panel, steady(panel), weights=weights)
    text = str(summarize(sl_made.Fitted(panel, imputed)))
    assert max(map(len, text.splitlines())) <= 100
    assert "long long long long long lo…" in text


@pytest.mark.parametrize("learner", [H1SL, H2SL, DiDT, PanelXLearner, SyntheticDiD])
def test_what_a_learner_says_of_itself_is_in_its_summary(learner):
    panel = sl_data.small_panel(N=16, m=6, labelled=True)
    fitted = learner().fit(*sl_data.matrices_of(panel))
    summary = fitted.summary()
    assert summary.title == learner.__name__
    assert summary.tables["effects"].loc["ATT", "effect"] == fitted.att_
    tau = fitted.effect()
    table = summary.tables["effect function"]["tau"]
    assert table["mean over treated units"] == pytest.approx(tau[:6].mean())
    assert (table["smallest"], table["largest"]) == (tau.min(), tau.max())
    support = summary.tables["support"]["outside"]
    inside = fitted.in_support()
    assert support.tolist() == [np.sum(~inside[:6]), np.sum(~inside[6:])]
    if fitted.learned_.treated is not None:
        fit = summary.tables["fit before treatment"]["rmse"]
        np.testing.assert_allclose(np.sort(fit), np.sort(fitted.pre_rmse_))
        assert set(fitted.notes_) <= set(summary.notes)
