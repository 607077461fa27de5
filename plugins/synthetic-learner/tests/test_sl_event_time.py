"""Event studies and aggregations: worked by hand, by slow loops, and against the R package did."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sl_data
import sl_made

from zoo_core.errors import InputError
from zoo_synthetic_learner import datasets
from zoo_synthetic_learner.event_time import aggregate, event_study, group_time
from zoo_synthetic_learner.frames import read_frame
from zoo_synthetic_learner.matrices import read_matrices

NAN = np.nan


def staggered(**changes):
    """Units b and a are treated from 2003 and 2002 on, d from 2003 on; c never is."""
    outcome = pd.DataFrame(
        np.arange(20.0).reshape(4, 5),
        index=pd.Index(["a", "b", "c", "d"], name="state"),
        columns=pd.RangeIndex(2000, 2005),
    )
    covariates = pd.DataFrame(
        {"size": [10.0, 20.0, 0.0, 40.0], "coast": [1.0, 0, 0, 1]}, list("abcd")
    )
    panel = read_matrices(outcome, [2, 3, 0, 3], covariates)
    gap = np.array(
        [
            [0.5, -0.5, 1.0, 2.0, 3.0],  # a, from 2002 on
            [1.0, 0.0, -1.0, 4.0, NAN],  # b, from 2003 on
            [3.0, 0.0, -3.0, 6.0, 8.0],  # d, from 2003 on
        ]
    )
    learned = SimpleNamespace(treated=sl_made.imputation(panel, gap, **changes))
    return SimpleNamespace(panel_=panel, learned_=learned)


def rows(table, *columns):
    return list(table[list(columns)].itertuples(index=False, name=None))


def test_each_event_time_has_the_units_observed_there():
    table = event_study(staggered())
    assert rows(table, "event_time", "effect", "units", "group") == [
        (-3, 2.0, 2, "all"),
        (-2, (0.5 + 0 + 0) / 3, 3, "all"),
        (-1, (-0.5 - 1 - 3) / 3, 3, "all"),
        (0, (1 + 4 + 6) / 3, 3, "all"),
        (1, (2 + 8) / 2, 2, "all"),
        (2, 3.0, 1, "all"),
    ]


def test_time_weights_take_their_mean_gap_before_treatment_away():
    weights = np.zeros((3, 5))
    weights[0, :2], weights[1, :3], weights[2, :3] = [0.25, 0.75], [0, 0, 1], [1, 0, 0]
    table = event_study(staggered(time_weights=weights)).set_index("event_time")["effect"]
    # The misfits are -0.25, -1 and 3.
    assert table[0] == pytest.approx((1.25 + 5 + 3) / 3)
    assert table[2] == pytest.approx(3.25)
    assert table[-3] == pytest.approx((2 + 0) / 2)


def test_cohorts_are_groups_named_by_their_first_period():
    table = event_study(staggered(), by="cohort")
    assert table["group"].unique().tolist() == ["cohort 2002", "cohort 2003"]
    later = table[table["group"] == "cohort 2003"]
    assert rows(later, "event_time", "effect", "units") == [
        (-3, 2.0, 2),
        (-2, 0.0, 2),
        (-1, -2.0, 2),
        (0, 5.0, 2),
        (1, 8.0, 1),
    ]


def test_a_covariate_is_cut_at_the_median_of_the_treated():
    table = event_study(staggered(), by="size")
    assert table["group"].unique().tolist() == ["size ≤ 20", "size > 20"]
    first = table[table["event_time"] == 0]
    # a and b have 10 and 20, d has 40; c, with 0, is not treated.
    assert rows(first, "effect", "units") == [(2.5, 2), (6.0, 1)]


def test_a_covariate_of_few_values_has_a_group_each():
    first = event_study(staggered(), by="coast").query("event_time == 0")
    assert rows(first, "group", "effect", "units") == [("coast = 0", 4.0, 1), ("coast = 1", 3.5, 2)]
    each = event_study(staggered(), by="size", bins=3).query("event_time == 0")
    assert rows(each, "group", "effect") == [("size = 10", 1), ("size = 20", 4), ("size = 40", 6)]


def test_terciles_have_groups_of_like_size():
    panel = sl_data.small_panel(N=14, m=9, labelled=True)
    gap = np.arange(9.0)[:, None] + np.zeros(panel.num_periods)
    learned = SimpleNamespace(treated=sl_made.imputation(panel, gap))
    table = event_study(SimpleNamespace(panel_=panel, learned_=learned), by="x1", bins=3)
    first = table[table["event_time"] == 0]
    order = np.argsort(panel.covariates[:9, 1])
    assert first["units"].tolist() == [3, 3, 3]
    expected = [order[:3].mean(), order[3:6].mean(), order[6:].mean()]
    np.testing.assert_allclose(first["effect"], expected)
    low, high = np.quantile(panel.covariates[:9, 1], [1 / 3, 2 / 3])
    names = [f"x1 ≤ {low:.3g}", f"{low:.3g} < x1 ≤ {high:.3g}", f"x1 > {high:.3g}"]
    assert first["group"].tolist() == names


def test_where_many_have_the_largest_value_it_is_a_part_by_itself():
    panel = sl_data.small_panel(N=10, m=5, d=1)
    panel.covariates[:5, 0] = [7, 1, 7, 2, 7]
    learned = SimpleNamespace(treated=sl_made.imputation(panel, np.zeros((5, panel.num_periods))))
    estimator = SimpleNamespace(panel_=panel, learned_=learned)
    apart = [("S1 = 1", 1), ("S1 = 2", 1), ("S1 = 7", 3)]
    for bins, expected in ((2, [("S1 ≤ 2", 2), ("S1 > 2", 3)]), (3, apart)):
        first = event_study(estimator, by="S1", bins=bins).query("event_time == 0")
        assert rows(first, "group", "units") == expected


def test_a_missing_covariate_is_a_group_of_its_own():
    estimator = staggered()
    estimator.panel_.covariates[1, 0] = NAN
    first = event_study(estimator, by="size").query("event_time == 0")
    assert rows(first, "group", "effect") == [
        ("size = 10", 1.0),
        ("size = 40", 6.0),
        ("size missing", 4.0),
    ]


def test_groups_may_be_labels_a_series_or_a_function():
    labels = ["x", "y", "x", "x"]
    expected = [("x", 3.5, 2), ("y", 4.0, 1)]
    series = pd.Series(["y", "x", "x", "x"], index=list("bcda"))
    for by in (labels, series, lambda covariates: np.where(covariates["size"] == 20, "y", "x")):
        first = event_study(staggered(), by=by).query("event_time == 0")
        assert rows(first, "group", "effect", "units") == expected


def test_units_without_a_label_are_in_no_group():
    first = event_study(staggered(), by=[None, "y", "x", "y"]).query("event_time == 0")
    assert rows(first, "group", "effect", "units") == [("y", 5.0, 2)]


def test_group_time_effects_are_means_of_a_cohort_in_a_period():
    table = group_time(staggered())
    assert rows(table, "cohort", "time", "effect", "units", "event_time")[:5] == [
        (2002, 2000, 0.5, 1, -2),
        (2002, 2001, -0.5, 1, -1),
        (2002, 2002, 1.0, 1, 0),
        (2002, 2003, 2.0, 1, 1),
        (2002, 2004, 3.0, 1, 2),
    ]
    assert rows(table, "cohort", "time", "effect", "units", "event_time")[8:] == [
        (2003, 2003, 5.0, 2, 0),
        (2003, 2004, 8.0, 1, 1),
    ]


def test_aggregations_weight_by_units():
    estimator = staggered()
    assert rows(aggregate(estimator), "effect", "cells") == [((1 + 2 + 3 + 4 + 6 + 8) / 6, 6)]
    cohort = aggregate(estimator, by="cohort")
    assert cohort.index.tolist() == [2002, 2003]
    assert rows(cohort, "effect", "cells") == [(2.0, 3), (6.0, 3)]
    time = aggregate(estimator, by="time")
    assert time.index.tolist() == [2002, 2003, 2004]
    assert rows(time, "effect", "cells") == [(1.0, 1), (4.0, 3), (5.5, 2)]
    event = aggregate(estimator, by="event")
    study = event_study(estimator)
    assert event.index.tolist() == study["event_time"].tolist()
    np.testing.assert_allclose(event["effect"], study["effect"])
    assert event["cells"].tolist() == study["units"].tolist()


class Ends:
    """Intervals of three event times."""

    def att_by_time_interval(self, alpha):
        return np.array([1.0, 2.0, 3.0]) - alpha, np.array([4.0, 5.0, 6.0]) + alpha


def test_a_bootstrap_gives_intervals_from_treatment_on():
    table = event_study(staggered(), bootstrap=Ends(), alpha=0.25).set_index("event_time")
    assert table.loc[:-1, ["low", "high"]].isna().all(axis=None)
    assert table.loc[0:, "low"].tolist() == [0.75, 1.75, 2.75]
    assert table.loc[0:, "high"].tolist() == [4.25, 5.25, 6.25]


def test_what_cannot_be_done_is_said():
    estimator = staggered()
    with pytest.raises(InputError, match=r"no covariate 'siz'\. Did you mean size\? Expected one"):
        event_study(estimator, by="siz")
    with pytest.raises(InputError, match="3 labels; expected 4"):
        event_study(estimator, by=["x", "y", "x"])
    with pytest.raises(InputError, match="no entry for unit a"):
        event_study(estimator, by=pd.Series(["x"] * 3, index=list("bcd")))
    with pytest.raises(InputError, match="no label for any treated unit"):
        event_study(estimator, by=[None, None, "x", None])
    for bins in (1, 2.0, True):
        with pytest.raises(InputError, match="bins is"):
            event_study(estimator, by="size", bins=bins)
    with pytest.raises(InputError, match="all units together; expected by=None"):
        event_study(estimator, by="cohort", bootstrap=Ends())
    with pytest.raises(InputError, match=r"'evnt'\. Did you mean event"):
        aggregate(estimator, by="evnt")
    nobody = SimpleNamespace(panel_=estimator.panel_, learned_=SimpleNamespace(treated=None))
    for function in (event_study, group_time, aggregate):
        with pytest.raises(InputError, match="imputes no counterfactual of treated units"):
            function(nobody)


def test_a_bootstrap_of_another_estimator_is_refused():
    short = SimpleNamespace(att_by_time_interval=lambda alpha: (np.zeros(2), np.ones(2)))
    with pytest.raises(InputError, match="the bootstrap has 2 event times, the estimator 3"):
        event_study(staggered(), bootstrap=short)


def minimum_wage():
    """The gaps of the counties' employment to the mean of those never treated, as did has them."""
    table = datasets.load_mpdta(sl_data.data_root("mpdta.csv"))
    names = {"unit": "county", "time": "year", "outcome": "lemp", "first_treated": "first_treated"}
    panel = read_frame(table, **names, covariates=["lpop"])
    shell = sl_made.imputation(panel, np.zeros((len(panel.treated), panel.num_periods)))
    own = panel.outcome[shell.units]
    never = panel.outcome[panel.never_treated].mean(axis=0)
    base = shell.start - 1
    gap = own - never - (own[np.arange(len(own)), base] - never[base])[:, None]
    learned = SimpleNamespace(treated=sl_made.imputation(panel, gap))
    return SimpleNamespace(panel_=panel, learned_=learned)


def test_minimum_wages_group_time_effects_are_those_of_did():
    root = sl_data.data_root("mpdta.csv", "mpdta_r_reference_attgt.csv")
    reference = datasets.load_mpdta_reference(root)
    reference = reference[reference["scenario"] == "mpdta_nev_dr"]
    reference = reference.set_index(["group", "year"])["att"]
    found = group_time(minimum_wage())
    found = found[found["event_time"] >= 0].set_index(["cohort", "time"])["effect"]
    assert len(found) == 7
    np.testing.assert_allclose(found, reference.loc[list(found.index)], atol=1e-6)


def test_minimum_wages_aggregations_are_those_of_did():
    estimator = minimum_wage()
    # What aggte of the R package did prints for these data, without covariates.
    cohort = aggregate(estimator, by="cohort")["effect"]
    assert cohort.index.tolist() == [2004, 2006, 2007]
    np.testing.assert_allclose(cohort, [-0.0797, -0.0229, -0.0261], atol=6e-5)
    event = aggregate(estimator, by="event")["effect"]
    np.testing.assert_allclose(event.loc[0:], [-0.0199, -0.0510, -0.1373, -0.1008], atol=6e-5)
    assert aggregate(estimator)["effect"].iloc[0] == pytest.approx(-0.0400, abs=6e-5)
