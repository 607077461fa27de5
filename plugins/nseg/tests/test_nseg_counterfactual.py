"""Counterfactual features: the rule for the nearest different row, its types and its refusals."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from zoo_core.errors import ConfigError, InputError, ZooWarning
from zoo_nseg import counterfactual
from zoo_nseg.counterfactual import NearestNeighborMatcher, counterfactual_features


def by_the_rule(x, reference, tol=1e-8, labels=None, reference_labels=None):
    """The rule word for word, one row at a time; None where no row is different."""
    contrast = labels is not None
    labels = labels if contrast else [0] * len(x)
    reference_labels = reference_labels if contrast else [1] * len(reference)
    counts = Counter(
        (tuple(float(each) for each in row), int(label))
        for row, label in zip(reference, reference_labels, strict=True)
    )
    matched = []
    for row, label in zip(x, labels, strict=True):
        different = [
            (math.dist(row, other), count, other)
            for (other, its_label), count in counts.items()
            if its_label != label and math.dist(row, other) > tol
        ]
        nearest = min((each[0] for each in different), default=None)
        tied = [each for each in different if each[0] <= nearest * (1 + 1e-12)]
        tied.sort(key=lambda each: (-each[1], each[2]))
        matched.append(tied[0][2] if tied else None)
    return matched


def grid(seed, rows, columns, levels):
    """Rows of small whole numbers: many repetitions and many ties."""
    return np.random.default_rng(seed).integers(0, levels, (rows, columns)).astype(np.float64)


@pytest.mark.parametrize("tol", [1e-8, 0.0, 1.0, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_gives_the_row_of_the_rule(seed, tol):
    reference, x = grid(seed, 60, 3, 4), grid(seed + 10, 40, 3, 5)
    matched = NearestNeighborMatcher(tol=tol).fit(reference).transform(x)
    np.testing.assert_array_equal(matched, by_the_rule(x, reference, tol))


def test_gives_the_row_of_the_rule_where_nothing_ties():
    rng = np.random.default_rng(0)
    reference, x = rng.normal(size=(50, 4)), rng.normal(size=(30, 4))
    x = np.concatenate([x, reference[:20]])
    matched = NearestNeighborMatcher().fit(reference).transform(x)
    np.testing.assert_array_equal(matched, by_the_rule(x, reference))


@pytest.mark.parametrize("entries", [1, 7, 100])
def test_blocks_of_any_size_give_the_same(monkeypatch, entries):
    reference, x = grid(0, 60, 3, 4), grid(1, 40, 3, 5)
    whole = NearestNeighborMatcher().fit(reference).transform(x)
    sizes = []
    measure = counterfactual.cdist
    monkeypatch.setattr(counterfactual, "BLOCK_ENTRIES", entries)
    monkeypatch.setattr(
        counterfactual, "cdist", lambda a, b: sizes.append(len(a) * len(b)) or measure(a, b)
    )
    matcher = NearestNeighborMatcher().fit(reference)
    np.testing.assert_array_equal(matcher.transform(x), whole)
    assert max(sizes) <= max(entries, len(matcher.unique_rows_))


@pytest.mark.parametrize("tol", [1e-8, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_tree_gives_the_same_ties_included(monkeypatch, seed, tol):
    rng = np.random.default_rng(seed)
    reference = np.concatenate([grid(seed, 200, 3, 5), rng.normal(size=(50, 3))])
    x = np.concatenate([reference[::3], grid(seed + 5, 30, 3, 7), rng.normal(size=(20, 3))])
    by_blocks = NearestNeighborMatcher(tol=tol).fit(reference).transform(x)
    searched = []
    tree = counterfactual.cKDTree
    monkeypatch.setattr(counterfactual, "TREE_ABOVE", 10)
    monkeypatch.setattr(
        counterfactual,
        "cKDTree",
        lambda rows, **how: searched.append(len(rows)) or tree(rows, **how),
    )
    by_tree = NearestNeighborMatcher(tol=tol).fit(reference).transform(x)
    np.testing.assert_array_equal(by_tree, by_blocks)
    assert searched
    assert all(number > 10 for number in searched)


def test_a_row_met_far_from_the_origin_keeps_its_digits():
    """True differences: |a|^2 + |b|^2 - 2ab would lose the distance of 1e-3 at 1e8."""
    reference = np.array([[1e8, 0.0], [1e8 + 1e-3, 0.0], [1e8, 2e-3]])
    matched = NearestNeighborMatcher().fit(reference).transform(reference)
    np.testing.assert_array_equal(matched, reference[[1, 0, 0]])


ONE_HOT = np.eye(3)[[0, 0, 1, 2, 2, 2, 1]]


def test_one_hot_rows_become_the_most_frequent_other_type():
    matched = NearestNeighborMatcher().fit(ONE_HOT).transform(np.eye(3))
    # type 2 occurs three times; for itself types 0 and 1 occur twice, and (0,1,0) < (1,0,0)
    np.testing.assert_array_equal(matched, np.eye(3)[[2, 2, 1]])


def test_what_is_learnt_is_unique_counted_and_in_lexicographic_order():
    matcher = NearestNeighborMatcher().fit(ONE_HOT)
    np.testing.assert_array_equal(matcher.unique_rows_, np.eye(3)[[2, 1, 0]])
    np.testing.assert_array_equal(matcher.counts_, [3, 2, 2])
    assert matcher.unique_rows_.dtype == np.float64
    assert matcher.n_features_in_ == 3
    assert matcher.labels_ is None


def test_minus_zero_is_zero():
    matcher = NearestNeighborMatcher(tol=0).fit([[-0.0, 1.0], [0.0, 1.0], [2.0, 1.0]])
    np.testing.assert_array_equal(matcher.counts_, [2, 1])
    matched = matcher.transform([[-0.0, 1.0], [2.0, 1.0]])
    np.testing.assert_array_equal(matched, [[2.0, 1.0], [0.0, 1.0]])
    assert not np.signbit(matched).any()


@pytest.mark.parametrize(("tol", "expected"), [(1e-8, 5.0), (1e-10, 1e-9), (0.0, 1e-9)])
def test_rows_within_tol_are_the_same(tol, expected):
    matched = NearestNeighborMatcher(tol=tol).fit([[0.0], [1e-9], [5.0]]).transform([[0.0]])
    assert matched.item() == expected


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(2, 25), tree=st.booleans())
def test_the_order_of_rows_does_not_matter(data, rows, tree):
    x = np.array(
        data.draw(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=rows, max_size=rows))
    )
    x = np.concatenate([x, [[0, 0, 0], [2, 2, 2]]])
    order = np.array(data.draw(st.permutations(range(len(x)))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counterfactual, "TREE_ABOVE", 1 if tree else 100)
        matched = NearestNeighborMatcher().fit_transform(x)
        np.testing.assert_array_equal(
            NearestNeighborMatcher().fit_transform(x[order]), matched[order]
        )
    assert (matched != x).any(axis=1).all()
    assert {*map(tuple, matched.tolist())} <= {*map(tuple, x.tolist())}


@pytest.mark.parametrize("tree", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_contrast_matches_across_labels_alone(monkeypatch, seed, tree):
    monkeypatch.setattr(counterfactual, "TREE_ABOVE", 5 if tree else 10**6)
    rng = np.random.default_rng(seed)
    reference, x = grid(seed, 80, 3, 4), grid(seed + 10, 40, 3, 5)
    reference_labels, labels = rng.integers(0, 3, 80), rng.integers(0, 3, 40)
    matcher = NearestNeighborMatcher(contrast=True).fit(reference, reference_labels)
    expected = by_the_rule(x, reference, labels=labels, reference_labels=reference_labels)
    np.testing.assert_array_equal(matcher.transform(x, labels), expected)
    tensor = matcher.transform(torch.from_numpy(x), torch.from_numpy(labels))
    np.testing.assert_array_equal(tensor.numpy(), expected)
    assert matcher.counts_.sum() == 80


def test_contrast_counts_a_row_once_for_each_label():
    x = [[0.0], [0.0], [0.0], [1.0]]
    matcher = NearestNeighborMatcher(contrast=True).fit(x, [0, 1, 1, 0])
    np.testing.assert_array_equal(matcher.unique_rows_, [[0.0], [0.0], [1.0]])
    np.testing.assert_array_equal(matcher.labels_, [0, 1, 0])
    np.testing.assert_array_equal(matcher.counts_, [1, 2, 1])
    np.testing.assert_array_equal(matcher.transform([[1.0]], [0]), [[0.0]])
    with pytest.raises(InputError, match="row 0 has no different row of another label"):
        matcher.transform([[0.0]], [0])  # the row (0) of label 1 is not different


def test_without_contrast_labels_are_not_read():
    x = grid(0, 20, 2, 3)
    expected = NearestNeighborMatcher().fit(x).transform(x)
    np.testing.assert_array_equal(
        NearestNeighborMatcher().fit(x, "nonsense").transform(x, "nonsense"), expected
    )


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.uint8]
)
def test_tensors_keep_their_dtype_and_get_no_gradient(dtype):
    x = torch.from_numpy(ONE_HOT).to(dtype)
    if dtype.is_floating_point:
        x.requires_grad_()
    matched = NearestNeighborMatcher().fit(x).transform(x)
    assert isinstance(matched, torch.Tensor)
    assert matched.dtype == dtype
    assert not matched.requires_grad
    assert torch.equal(matched, torch.eye(3, dtype=dtype)[[2, 2, 2, 1, 1, 1, 2]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int64])
def test_arrays_keep_their_dtype(dtype):
    matched = NearestNeighborMatcher().fit_transform(ONE_HOT.astype(dtype))
    assert matched.dtype == dtype
    np.testing.assert_array_equal(matched, np.eye(3)[[2, 2, 2, 1, 1, 1, 2]])


def test_float32_values_come_back_bit_by_bit():
    x = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    matched = NearestNeighborMatcher().fit(x).transform(x)
    known = {tuple(row) for row in x.tolist()}
    assert all(tuple(row) in known for row in matched.tolist())


@pytest.mark.parametrize(
    ("reference", "x"),
    [
        (np.array([[10 / 3], [1.0]]), torch.tensor([[10 / 3]])),  # differs by rounding only
        (np.array([[10 / 3], [1.0]]), np.array([[10 / 3]], dtype=np.float32)),
        (np.array([[0.5], [9.0]]), torch.tensor([[0]])),  # no whole number
        (np.array([[0.5], [9.0]]), np.array([[0]])),
        (np.array([[-1], [9]]), np.array([[0]], dtype=np.uint8)),
        (np.array([[1e6], [1e7]]), torch.tensor([[0.0]], dtype=torch.float16)),  # overflows
        (np.array([[1e6], [1e7]]), np.array([[0.0]], dtype=np.float16)),
    ],
)
def test_refuses_a_match_that_the_dtype_cannot_hold(reference, x):
    with pytest.raises(
        InputError, match=r"row 0 cannot be told from it, or not be held, in .*dtype"
    ):
        NearestNeighborMatcher().fit(reference).transform(x)


def test_other_dtypes_are_fine_where_nothing_is_lost():
    matched = NearestNeighborMatcher().fit(ONE_HOT).transform(torch.eye(3, dtype=torch.int32))
    assert matched.tolist() == np.eye(3)[[2, 2, 1]].tolist()
    rounded = NearestNeighborMatcher().fit([[0.1], [0.6]]).transform(np.float32([[0.1]]))
    assert rounded.item() == np.float32(0.6)


def test_no_different_row_names_the_cause_and_the_way_out():
    ones = torch.ones(5, 3)
    with pytest.raises(InputError, match=r"row 0 and 4 more have .*fallback='zeros'") as error:
        NearestNeighborMatcher().fit(ones).transform(ones)
    assert isinstance(error.value, ValueError)


def test_zeros_stand_in_with_one_warning():
    matcher = NearestNeighborMatcher(fallback="zeros").fit([[1.0, 1.0], [1.0, 1.0]])
    x = torch.tensor([[1.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    with pytest.warns(ZooWarning, match="row 0 and 1 more have") as caught:
        matched = matcher.transform(x)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert matched.tolist() == [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]


def test_zeros_are_not_warned_of_where_they_are_not_needed(recwarn):
    matched = NearestNeighborMatcher(fallback="zeros").fit_transform(ONE_HOT)
    assert matched.any(axis=1).all()
    assert not recwarn.list


@pytest.mark.parametrize("step", ["fit", "transform"])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.ones(3), "Expected 2D array"),
        (np.ones((2, 3, 1)), "dim 3"),
        (np.ones((0, 3)), "0 sample"),
        (np.ones((2, 0)), "0 feature"),
        (np.array([[1.0, np.nan, 0.0]]), "nan in row 0, column 1"),
        (np.array([[1.0, 2.0, 3.0], [1.0, 2.0, -np.inf]]), "-inf in row 1, column 2"),
        (np.array([[1e200, 0.0, 0.0]]), "below 1e"),
        (np.ones((2, 3), dtype=bool), "bool"),
        (np.array([["a", "b", "c"]]), "numeric"),
        (torch.ones(3), "Expected 2D array"),
        (torch.tensor([[1.0, torch.nan, 0.0]]), "nan in row 0, column 1"),
        (torch.ones(2, 3, dtype=torch.bool), "bool"),
        (torch.ones(2, 3, dtype=torch.complex64), "complex64"),
        (torch.ones(2, 3).to_sparse(), "sparse"),
    ],
)
def test_refuses_bad_rows(step, bad, said):
    matcher = NearestNeighborMatcher().fit(np.eye(3))
    with pytest.raises(InputError, match=said) as error:
        getattr(matcher, step)(bad)
    assert "\n" not in str(error.value)


def test_refuses_another_number_of_features():
    matcher = NearestNeighborMatcher().fit(np.eye(3))
    with pytest.raises(InputError, match=r"2 features.*expecting 3"):
        matcher.transform(torch.eye(2))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"fallback": "zero"}, "fallback is 'zero'.*Did you mean zeros"),
        ({"fallback": None}, "fallback is None"),
        ({"tol": -1e-9}, "tol is -1e-09"),
        ({"tol": math.nan}, "tol is nan"),
        ({"tol": math.inf}, "tol is inf"),
        ({"tol": "1"}, "tol is '1'"),
        ({"tol": True}, "tol is True"),
        ({"contrast": 1}, "contrast is 1"),
    ],
)
def test_refuses_bad_parameters_at_the_fit_and_after_it(parameters, said):
    with pytest.raises(InputError, match=said):
        NearestNeighborMatcher(**parameters).fit(np.eye(3))
    matcher = NearestNeighborMatcher().fit(np.eye(3)).set_params(**parameters)
    with pytest.raises(InputError, match=said):
        matcher.transform(np.eye(3))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "give labels"),
        ([0, 1], r"shape \(2,\)"),
        ([[0, 1, 2]], r"shape \(1, 3\)"),
        ([0.0, 1.0, 2.0], "float64"),
        (torch.tensor([0.0, 1.0, 1.0]), "float32"),
    ],
)
def test_contrast_refuses_bad_labels(labels, said):
    matcher = NearestNeighborMatcher(contrast=True)
    with pytest.raises(InputError, match=said):
        matcher.fit(np.eye(3), labels)
    matcher.fit(np.eye(3), [0, 1, 2])
    with pytest.raises(InputError, match=said):
        matcher.transform(np.eye(3), labels)


@pytest.mark.parametrize("contrast", [False, True])
def test_contrast_cannot_change_after_the_fit(contrast):
    matcher = NearestNeighborMatcher(contrast=contrast).fit(np.eye(3), [0, 1, 2])
    with pytest.raises(InputError, match="fit again"):
        matcher.set_params(contrast=not contrast).transform(np.eye(3), [0, 1, 2])


def test_keeps_the_contract_of_scikit_learn():
    check_estimator(
        NearestNeighborMatcher(),
        on_skip=None,
        expected_failed_checks={"check_fit_score_takes_y": "the second argument is named labels"},
    )


def test_parameters_are_stored_as_given_and_cloned():
    reference = torch.eye(3)
    matcher = NearestNeighborMatcher(reference, tol=0.5, fallback="zeros", contrast=True)
    assert matcher.get_params() == {
        "reference": reference,
        "tol": 0.5,
        "fallback": "zeros",
        "contrast": True,
    }
    assert matcher.reference is reference
    copy = clone(matcher)
    assert torch.equal(copy.reference, reference)
    assert copy.tol == 0.5
    assert "tol=0.5" in repr(matcher)


def test_runs_in_a_pipeline():
    x = grid(0, 30, 3, 4)
    pipeline = make_pipeline(MinMaxScaler(), NearestNeighborMatcher())
    scaled = MinMaxScaler().fit_transform(x)
    np.testing.assert_array_equal(pipeline.fit_transform(x), by_the_rule(scaled, scaled))
    np.testing.assert_array_equal(pipeline.get_feature_names_out(["a", "b", "c"]), ["a", "b", "c"])


def test_contrast_in_a_pipeline_takes_y_as_the_labels():
    x, y = grid(0, 30, 3, 4), np.arange(30) % 2
    pipeline = make_pipeline(MinMaxScaler(), NearestNeighborMatcher(contrast=True))
    scaled = MinMaxScaler().fit_transform(x)
    expected = by_the_rule(scaled, scaled, labels=y, reference_labels=y)
    np.testing.assert_array_equal(pipeline.fit_transform(x, y), expected)


def test_fitted_is_the_matcher_itself_once_it_is_fitted():
    matcher = NearestNeighborMatcher(np.full((2, 3), 7.0)).fit(np.eye(3))
    assert matcher.fitted(np.zeros((4, 3))) is matcher


def test_fitted_leaves_an_unfitted_matcher_as_it_was():
    matcher = NearestNeighborMatcher(tol=0.25)
    first, second = matcher.fitted(np.eye(3)), matcher.fitted(torch.ones(1, 2))
    assert first.n_features_in_ == 3
    assert second.n_features_in_ == 2
    assert first.tol == 0.25
    with pytest.raises(NotFittedError):
        matcher.transform(np.eye(3))


def test_fitted_prefers_the_reference():
    reference = torch.tensor([[5.0], [6.0]], requires_grad=True) * 1
    matcher = NearestNeighborMatcher(reference).fitted(torch.tensor([[0.0]]))
    np.testing.assert_array_equal(matcher.unique_rows_, [[5.0], [6.0]])


def test_fitted_with_contrast_takes_the_labels_of_the_rows_it_fits_on():
    matcher = NearestNeighborMatcher(contrast=True).fitted(np.eye(3), [1, 1, 0])
    np.testing.assert_array_equal(matcher.labels_, [0, 1, 1])
    with pytest.raises(InputError, match="labels of the reference"):
        NearestNeighborMatcher(np.eye(3), contrast=True).fitted(np.eye(3), [1, 1, 0])


X = torch.tensor([[0.0], [1.0], [10.0]])


def test_features_are_matched_among_themselves_or_with_the_reference():
    matcher = NearestNeighborMatcher()
    assert counterfactual_features(matcher, X).tolist() == [[1.0], [0.0], [1.0]]
    reference = torch.tensor([[12.0], [1.0]])
    assert counterfactual_features(matcher, X, reference).tolist() == [[1.0], [12.0], [12.0]]
    own = NearestNeighborMatcher(reference=[[3.0]])
    assert counterfactual_features(own, X, reference).tolist() == [[3.0]] * 3
    learnt = NearestNeighborMatcher().fit([[4.0]])
    assert counterfactual_features(learnt, X, reference).tolist() == [[4.0]] * 3


def test_features_with_contrast_take_both_kinds_of_labels():
    matcher = NearestNeighborMatcher(contrast=True)
    labels = torch.tensor([0, 0, 1])
    assert counterfactual_features(matcher, X, labels=labels).tolist() == [[10.0], [10.0], [1.0]]
    reference, reference_labels = torch.tensor([[2.0], [3.0]]), torch.tensor([0, 1])
    matched = counterfactual_features(matcher, X, reference, labels, reference_labels)
    assert matched.tolist() == [[3.0], [3.0], [2.0]]
    with pytest.raises(InputError, match="give labels"):
        counterfactual_features(matcher, X, reference, labels)


class Doubling:
    def transform(self, x):
        return x * 2


@pytest.mark.parametrize(
    "matcher",
    [
        lambda x: x * 2,
        lambda x: (x * 2).double().numpy(),
        Doubling(),
        torch.nn.Linear(1, 1, bias=False).requires_grad_().double(),
        FunctionTransformer(lambda x: x * 2 if isinstance(x, np.ndarray) else None),
    ],
    ids=["callable", "callable-array", "object", "module", "scikit-learn"],
)
def test_any_matcher_gives_features_of_the_type_of_x(matcher):
    x = X.double() if isinstance(matcher, torch.nn.Module) else X.clone()
    if isinstance(matcher, torch.nn.Module):
        torch.nn.init.constant_(matcher.weight, 2)
    matched = counterfactual_features(matcher, x)
    assert matched.dtype == x.dtype
    assert not matched.requires_grad
    assert matched.tolist() == (X * 2).tolist()


def test_a_callable_cannot_change_x():
    x = X.clone()
    assert counterfactual_features(lambda rows: rows.add_(1), x).tolist() == (X + 1).tolist()
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    ("matcher", "said"),
    [
        (None, "matcher is None"),
        ("nearest", "matcher is 'nearest'"),
        (NearestNeighborMatcher, "matcher is <class"),
        (lambda x: x[:2], r"shape \(2, 1\); expected that of x, \(3, 1\)"),
        (lambda x: x.tolist(), "gave a list"),
        (lambda x: None, "gave a NoneType"),
        (lambda x: x / 0, "NaN, inf"),
        (lambda x: np.full((3, 1), 1e300), "too large for torch.float32"),
    ],
)
def test_refuses_what_is_no_matcher_or_no_counterfactual(matcher, said):
    with pytest.raises(InputError, match=said):
        counterfactual_features(matcher, X)


def test_refuses_features_that_are_no_tensor():
    with pytest.raises(InputError, match="x is a ndarray"):
        counterfactual_features(NearestNeighborMatcher(), np.eye(3))


def test_objects_that_are_no_numbers_are_a_type_error():
    with pytest.raises(ConfigError, match="argument must be"):
        NearestNeighborMatcher().fit(np.array([[{"a": 1}]], dtype=object))
