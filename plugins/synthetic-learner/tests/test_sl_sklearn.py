"""scikit-learn's contract: all of its checks, of which those that cannot apply fail for a reason.

The checks fit to (X, y) of random numbers and class labels; here X is a panel of units by periods,
and y says from which period on each unit is treated.
"""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from sl_data import small_panel

from zoo_synthetic_learner import (
    H1SL,
    H2SL,
    DiDT,
    MatrixCompletionATT,
    PanelSLearner,
    PanelTLearner,
    PanelXLearner,
    SyntheticControl,
    SyntheticDiD,
)

CANNOT = {
    "check_fit_score_takes_y": "the arguments are Y, D and S, as the method has it",
    "check_requires_y_none": "the error about a missing D speaks of D",
    "check_estimators_overwrite_params": "labels up to 2 are starts beyond a panel of 2 periods",
    "check_estimators_fit_returns_self": "labels up to 2 are starts beyond a panel of 2 periods",
    "check_readonly_memmap_input": "labels up to 2 are starts beyond a panel of 2 periods",
    "check_estimators_dtypes": "labels from 1 on treat every unit",
    "check_n_features_in_after_fitting": "score takes covariates, which have a width of their own",
    "check_pipeline_consistency": "score takes covariates, and the check scores the panel itself",
    "check_complex_data": "refused, in words of our own",
    "check_dtype_object": "refused, in words of our own",
    "check_estimators_empty_data_messages": "refused, in words of our own",
    "check_fit2d_1sample": "refused, in words of our own",
    "check_fit2d_1feature": "refused, in words of our own",
    "check_estimators_pickle": "the check removes the only outcome before a unit's treatment",
}
ONE_PERIOD = "labels of 1 leave one period before treatment, from which no weights are learnt"
LEARN_WEIGHTS = {
    "check_dont_overwrite_parameters": ONE_PERIOD,
    "check_positive_only_tag_during_fit": ONE_PERIOD,
    "check_f_contiguous_array_estimator": ONE_PERIOD,
    "check_methods_sample_order_invariance": ONE_PERIOD,
    "check_methods_subset_invariance": ONE_PERIOD,
    "check_dict_unchanged": ONE_PERIOD,
    "check_fit_idempotent": ONE_PERIOD,
    "check_fit_check_is_fitted": ONE_PERIOD,
    "check_n_features_in": ONE_PERIOD,
    "check_fit2d_predict1d": ONE_PERIOD,
}
LEARNERS = [H1SL(), H2SL(), DiDT(), PanelTLearner(), PanelSLearner(), PanelXLearner()]
OF_WEIGHTS = [SyntheticControl(), SyntheticDiD(), MatrixCompletionATT()]


def _checked(learner: Any) -> tuple[set[str], set[str]]:
    """The names of checks that pass, and of those that fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(learner, on_fail=None, on_skip=None)
    passed = {each["check_name"] for each in found if each["status"] == "passed"}
    failed = {each["check_name"] for each in found if each["status"] == "failed"}
    return passed - failed, failed


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda each: type(each).__name__)
def test_learners_pass_all_checks_that_apply(learner: Any) -> None:
    passed, failed = _checked(learner)
    assert failed - set(CANNOT) == set()
    assert passed & set(CANNOT) == set()
    assert passed >= {
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_estimators_unfitted",
        "check_dont_overwrite_parameters",
        "check_fit_idempotent",
        "check_dict_unchanged",
        "check_n_features_in",
        "check_get_params_invariance",
        "check_set_params",
    }


@pytest.mark.parametrize("learner", OF_WEIGHTS, ids=lambda each: type(each).__name__)
def test_what_learns_weights_passes_all_checks_that_apply(learner: Any) -> None:
    passed, failed = _checked(learner)
    assert failed - set(CANNOT) - set(LEARN_WEIGHTS) == set()
    assert passed & set(LEARN_WEIGHTS) == set()
    assert passed >= {
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_estimators_unfitted",
        "check_get_params_invariance",
        "check_set_params",
    }


@pytest.mark.parametrize("learner", LEARNERS + OF_WEIGHTS, ids=lambda each: type(each).__name__)
def test_fits_are_cloned_pickled_and_repeated(learner: Any) -> None:
    panel = small_panel(6, N=18, T=16, T0=11, m=7, d=2)
    given = panel.outcome, panel.first_treated % panel.num_periods, panel.covariates
    fitted = clone(learner).fit(*given)
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - its own
    np.testing.assert_array_equal(again.effect(), fitted.effect())
    first = fitted.effect().copy()
    np.testing.assert_array_equal(fitted.fit(*given).effect(), first)
    assert not hasattr(clone(fitted), "panel_")


def test_nested_parameters_and_a_pipeline_as_base_learner() -> None:
    panel = small_panel(6, N=18, T=16, T0=11, m=7, d=2)
    base = make_pipeline(StandardScaler(), SplineTransformer(3, degree=1), Ridge())
    learner = H2SL("did", base=base).set_params(base__ridge__alpha=4.0)
    found = learner._fit(panel).learned_.effect.treated.learner
    assert found.named_steps["ridge"].alpha == 4.0
    assert found is not base
    weighted = H1SL("did", base=base, weights="fit")._fit(panel)
    assert np.isfinite(weighted.effect()).all()
