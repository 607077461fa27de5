"""scikit-learn's linear models, and pipelines of them, as arrays and JSON values.

A fitted model is its class, its parameters and the attributes that the table below lists; it is
rebuilt by setting them. A file names a class only by its key in the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from zoo_core.errors import CheckpointError, WeightsMismatchError

_LINEAR = ("n_features_in_", "coef_", "intercept_", "n_iter_")
_SCALED = ("n_features_in_", "scale_", "n_samples_seen_")
_CLASSIFIES = (*_LINEAR, "classes_")


class _Kind(NamedTuple):
    """Where a class is, and what it learns; attributes that a version lacks are left out."""

    module: str
    learnt: tuple[str, ...]


_TABLE = {
    "LinearRegression": _Kind("sklearn.linear_model", (*_LINEAR, "rank_", "singular_")),
    "Ridge": _Kind("sklearn.linear_model", (*_LINEAR, "solver_")),
    "RidgeCV": _Kind("sklearn.linear_model", (*_LINEAR, "alpha_", "best_score_", "cv_results_")),
    "Lasso": _Kind("sklearn.linear_model", (*_LINEAR, "dual_gap_")),
    "LassoCV": _Kind(
        "sklearn.linear_model", (*_LINEAR, "dual_gap_", "alpha_", "alphas_", "mse_path_")
    ),
    "ElasticNet": _Kind("sklearn.linear_model", (*_LINEAR, "dual_gap_")),
    "ElasticNetCV": _Kind(
        "sklearn.linear_model",
        (*_LINEAR, "dual_gap_", "alpha_", "alphas_", "l1_ratio_", "mse_path_"),
    ),
    "MultiTaskLasso": _Kind("sklearn.linear_model", (*_LINEAR, "dual_gap_", "eps_")),
    "MultiTaskElasticNet": _Kind("sklearn.linear_model", (*_LINEAR, "dual_gap_", "eps_")),
    "BayesianRidge": _Kind(
        "sklearn.linear_model",
        (*_LINEAR, "alpha_", "lambda_", "sigma_", "scores_", "X_offset_", "X_scale_"),
    ),
    "ARDRegression": _Kind(
        "sklearn.linear_model",
        (*_LINEAR, "alpha_", "lambda_", "sigma_", "scores_", "X_offset_", "X_scale_"),
    ),
    "HuberRegressor": _Kind("sklearn.linear_model", (*_LINEAR, "scale_", "outliers_")),
    "TheilSenRegressor": _Kind(
        "sklearn.linear_model", (*_LINEAR, "breakdown_", "n_subpopulation_")
    ),
    "QuantileRegressor": _Kind("sklearn.linear_model", _LINEAR),
    "SGDRegressor": _Kind("sklearn.linear_model", (*_LINEAR, "t_")),
    "LogisticRegression": _Kind("sklearn.linear_model", _CLASSIFIES),
    # Its paths and scores are dictionaries by class; they say how C was chosen, and stay behind.
    "LogisticRegressionCV": _Kind("sklearn.linear_model", (*_CLASSIFIES, "C_", "Cs_")),
    "DummyRegressor": _Kind("sklearn.dummy", ("n_features_in_", "n_outputs_", "constant_")),
    "DummyClassifier": _Kind(
        "sklearn.dummy",
        (
            *("n_features_in_", "n_outputs_", "classes_", "n_classes_", "class_prior_"),
            *("_strategy", "sparse_output_"),
        ),
    ),
    "StandardScaler": _Kind("sklearn.preprocessing", (*_SCALED, "mean_", "var_")),
    "RobustScaler": _Kind("sklearn.preprocessing", (*_SCALED, "center_")),
    "MinMaxScaler": _Kind(
        "sklearn.preprocessing",
        (*_SCALED, "min_", "data_min_", "data_max_", "data_range_"),
    ),
    "PolynomialFeatures": _Kind(
        "sklearn.preprocessing",
        (
            *("n_features_in_", "n_output_features_"),
            *("_min_degree", "_max_degree", "_n_out_full"),
        ),
    ),
    "SimpleImputer": _Kind(
        "sklearn.impute",
        ("n_features_in_", "statistics_", "indicator_", "_fit_dtype", "_fill_dtype"),
    ),
    "Pipeline": _Kind("sklearn.pipeline", ()),
}
_PER_FEATURE = ("scale_", "mean_", "var_", "center_", "min_", "statistics_")


def name_of(model: Any) -> str | None:
    """Returns the key in the table of a model's very class, or None."""
    kind = type(model)
    known = _TABLE.get(kind.__name__)
    return kind.__name__ if known and kind.__module__.startswith(known.module) else None


def parts_of(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Yields ("params" or "learnt", name, value) of all that makes a model of the table."""
    for name, value in model.get_params(deep=False).items():
        yield "params", name, value
    for name in _TABLE[type(model).__name__].learnt:
        if name in vars(model):
            yield "learnt", name, vars(model)[name]


def rebuilt(name: str, params: Mapping[str, Any], learnt: Mapping[str, Any]) -> Any:
    """Returns the model of which `parts_of` gave the parts.

    Args:
        name: the key in the table.
        params: of its constructor.
        learnt: the attributes that `fit` sets.

    Raises:
        CheckpointError: a class, a parameter or an attribute that is not in the table.
        WeightsMismatchError: arrays whose shapes contradict each other.
    """
    if name not in _TABLE:
        raise CheckpointError(f"the file holds a {name!r}, which is no model that is known here.")
    module, known = _TABLE[name]
    kind = getattr(importlib.import_module(module), name)
    for attribute in learnt:
        if attribute not in known:
            raise CheckpointError(f"the file gives {name} the attribute {attribute!r}.")
    try:
        model = kind(**params)
    except Exception as error:  # the file may be anyone's
        raise CheckpointError(f"{name} does not take the parameters {sorted(params)}.") from error
    for attribute, value in learnt.items():
        setattr(model, attribute, value)
    if learnt:
        _check(name, model)
    return model


def _check(name: str, model: Any) -> None:
    """Refuses shapes that broadcasting would hide."""
    features = getattr(model, "n_features_in_", None)
    if not isinstance(features, int) or features < 0:
        raise WeightsMismatchError(f"{name} has {features!r} features; expected their number.")
    held = vars(model)
    wrong = [
        attribute
        for attribute in _PER_FEATURE
        if isinstance(value := held.get(attribute), np.ndarray) and value.shape != (features,)
    ]
    coef = held.get("coef_")
    if coef is not None:
        outputs = np.shape(coef)[:-1]
        if np.shape(coef)[-1:] != (features,) or len(outputs) > 1:
            wrong.append("coef_")
        intercept = held.get("intercept_")
        if np.size(intercept) not in (1, int(np.prod(outputs))) or np.ndim(intercept) > 1:
            wrong.append("intercept_")
        if "classes_" in held:
            count = np.shape(held["classes_"])
            if len(count) != 1 or count[0] < 2 or outputs != ((1,) if count == (2,) else count):
                wrong.append("classes_")
    if wrong:
        shapes = ", ".join(f"{each} {list(np.shape(held.get(each)))}" for each in wrong)
        raise WeightsMismatchError(
            f"{name} of {features} features has arrays of other shapes: {shapes}."
        )
