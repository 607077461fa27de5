"""Where a query lies: distances by hand and by a slow reference, ranges of propensities."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import sl_data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from zoo_core.errors import InputError
from zoo_synthetic_learner.support import Support, support_of


def slow_threshold(covariates):
    """The largest distance from the others, at most the quantile, at least the largest own one."""

    def distance(query, units):
        inverse = np.linalg.pinv(np.atleast_2d(np.cov(units.T)))
        off = query - units.mean(axis=0)
        return np.sqrt(off @ inverse @ off)

    own = [distance(unit, covariates) for unit in covariates]
    left = [
        distance(unit, np.delete(covariates, row, axis=0)) for row, unit in enumerate(covariates)
    ]
    return max(max(own), min(max(left), np.sqrt(chi2.ppf(0.99, covariates.shape[1]))))


def test_distances_are_those_of_mahalanobis_by_hand():
    # Mean (1, 2); variances 4/3 and 16/3; no correlation.
    support = Support.of(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]]))
    distance = support.distance(np.array([[1.0, 2.0], [3.0, 2.0], [1.0, 6.0], [3.0, 6.0]]))
    np.testing.assert_allclose(distance, np.sqrt([0, 3, 3, 6]), atol=1e-12)


@pytest.mark.parametrize(("num_units", "d"), [(8, 1), (15, 2), (40, 3), (200, 2)])
def test_distance_and_threshold_equal_a_slow_reference(num_units, d):
    rng = np.random.default_rng(num_units)
    mixing = rng.normal(size=(d, d)) * 100.0 ** np.arange(d)
    covariates = rng.standard_t(4, size=(num_units, d)) @ mixing + 7
    support = Support.of(covariates)
    inverse = np.linalg.inv(np.atleast_2d(np.cov(covariates.T)))
    queries = rng.normal(size=(5, d)) @ mixing
    off = queries - covariates.mean(axis=0)
    expected = [np.sqrt(each @ inverse @ each) for each in off]
    np.testing.assert_allclose(support.distance(queries), expected, rtol=1e-8)
    assert support.groups[0].threshold == pytest.approx(slow_threshold(covariates), rel=1e-8)


def test_the_threshold_is_the_largest_distance_from_the_others():
    # Left out, -1 is (5/3 + 1) / sqrt(13/3) from 0, 1 and 4; 4 is 4 from -1, 0 and 1, whose mean is
    # 0 and whose variance is 1; that is beyond the quantile, 2.576.
    support = Support.of(np.array([[-1.0], [0.0], [1.0], [4.0]]))
    assert support.groups[0].threshold == pytest.approx(np.sqrt(chi2.ppf(0.99, 1)))
    # Left out, 0 is 5/2 from the mean of the others, whose variance is 5/3.
    even = Support.of(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]))
    assert even.groups[0].threshold == pytest.approx(2.5 / np.sqrt(5 / 3))


def test_two_units_span_no_more_than_the_line_between_them():
    support = Support.of(np.array([[0.0, 0.0], [2.0, 2.0]]))
    queries = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [2.1, 2.1], [1.0, 1.2], [-0.1, -0.1]])
    assert support.contains(queries).tolist() == [True, True, True, False, False, False]
    assert support.distance(queries)[4] == np.inf


def test_one_unit_has_itself_alone_in_its_support():
    support = Support.of(np.array([[3.0, 0.0]]))
    queries = np.array([[3.0, 0.0], [3.0, 0.1], [2.0, 0.0]])
    assert support.contains(queries).tolist() == [True, False, False]


def test_a_covariate_that_no_unit_varies_has_to_be_matched():
    covariates = np.column_stack([np.arange(6.0), np.full(6, 5.0)])
    support = Support.of(covariates)
    queries = np.array([[2.0, 5.0], [2.0, 6.0], [2.0, 5.0 + 1e-12]])
    assert support.contains(queries).tolist() == [True, False, True]


def test_collinear_covariates_count_once():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(12, 1))
    single, double = Support.of(one), Support.of(np.hstack([one, 3 * one - 1]))
    queries = np.array([[0.3], [5.0]])
    np.testing.assert_allclose(
        double.distance(np.hstack([queries, 3 * queries - 1])), single.distance(queries), rtol=1e-8
    )
    assert double.groups[0].threshold == pytest.approx(single.groups[0].threshold)


def test_without_covariates_everything_is_inside():
    support = Support.of(np.empty((4, 0)))
    assert support.contains(np.empty((3, 0))).tolist() == [True] * 3
    assert support.distance(np.empty((3, 0))).tolist() == [0.0] * 3


def test_units_with_nan_are_left_out_and_queries_with_it_are_outside():
    rng = np.random.default_rng(1)
    covariates = rng.normal(size=(10, 2))
    holed = np.vstack([covariates, [[np.nan, 100.0]]])
    support = Support.of(holed)
    np.testing.assert_array_equal(support.groups[0].center, covariates.mean(axis=0))
    assert support.contains(np.array([[np.nan, 0.0], [0.0, 0.0]])).tolist() == [False, True]
    with pytest.raises(InputError, match="no unit has all covariates"):
        Support.of(np.full((3, 2), np.nan))


def test_a_query_needs_the_covariates_of_the_units():
    with pytest.raises(InputError, match=r"shape \[3, 1\]; expected \[k, 2\]"):
        Support.of(np.eye(2)).distance(np.ones((3, 1)))
    with pytest.raises(InputError, match=r"shape \[2\]; expected \[k, 2\]"):
        Support.of(np.eye(2)).contains(np.ones(2))


def test_a_query_has_to_be_like_the_units_of_every_group():
    # Both have a variance of 5/2 and 5/2 * 4, and reach to 2.5 / sqrt(5/3) deviations.
    one = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    two = 2 * one + 3
    support = Support.of(one, two)
    reach = 2.5 / np.sqrt(5 / 3) * np.sqrt(5 / 2)
    assert [group.threshold for group in support.groups] == pytest.approx(
        [2.5 / np.sqrt(5 / 3)] * 2
    )
    low, high = 7 - 2 * reach, 2 + reach
    queries = np.array([[low - 0.01], [low + 0.01], [3.0], [high - 0.01], [high + 0.01]])
    assert support.contains(queries).tolist() == [False, True, True, True, False]
    # From the means 7 and 2.
    expected = [7 / np.sqrt(10), 4 / np.sqrt(2.5)]
    np.testing.assert_allclose(support.distance(np.array([[0.0], [6.0]])), expected)


def test_a_propensity_that_was_clipped_is_outside():
    units = np.linspace(-1, 2, 40)[:, None]
    support = Support.of(units, propensity=lambda S: np.clip(S[:, 0], 0.05, 0.95))
    queries = np.array([[0.05], [0.06], [0.5], [0.94], [0.95], [1.2]])
    assert support.contains(queries).tolist() == [False, True, True, True, False, False]


def estimator(panel, learned):
    return SimpleNamespace(panel_=panel, learned_=learned)


def test_with_one_side_only_the_treated_count():
    panel = sl_data.small_panel(N=20, m=6)
    support = support_of(estimator(panel, SimpleNamespace(control=None, parts={})))
    np.testing.assert_allclose(support.groups[0].center, panel.covariates[:6].mean(axis=0))
    assert support.propensity is None
    assert support.contains(panel.covariates[:6]).all()


def test_with_two_sides_both_count_and_so_does_overlap():
    panel = sl_data.small_panel(N=20, m=6)
    control = SimpleNamespace(units=np.repeat(panel.never_treated, 2))
    propensity = SimpleNamespace(predict=lambda S: np.where(S[:, 0] > 0, 0.95, 0.5))
    learned = SimpleNamespace(control=control, parts={"propensity": propensity})
    support = support_of(estimator(panel, learned))
    treated, controls = support.groups
    np.testing.assert_allclose(treated.center, panel.covariates[:6].mean(axis=0))
    np.testing.assert_allclose(controls.center, panel.covariates[6:].mean(axis=0))
    assert controls.threshold == pytest.approx(slow_threshold(panel.covariates[6:]))
    assert support.contains(np.array([[-0.1, 0.0], [0.1, 0.0]])).tolist() == [True, False]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    num_units=st.integers(1, 12),
    d=st.integers(0, 4),
    factor=st.floats(0.01, 1000),
)
def test_units_are_inside_and_neither_scale_nor_place_matters(seed, num_units, d, factor):
    rng = np.random.default_rng(seed)
    covariates = rng.normal(size=(num_units, d))
    support = Support.of(covariates)
    assert support.contains(covariates).all()
    moved = Support.of(covariates * factor + 3)
    assert moved.groups[0].threshold == pytest.approx(support.groups[0].threshold, rel=1e-5)
    queries = np.vstack([covariates[:1] * 0.5 + covariates[-1:] * 0.5, covariates[:1] + 100])
    assert moved.contains(queries * factor + 3).tolist() == support.contains(queries).tolist()
