"""The learner of tau(s): a regression of pseudo-effects on covariates, in scikit-learn's terms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from zoo_core.errors import ConfigError, InputError, suggestion
from zoo_core.retries import first_line
from zoo_synthetic_learner.panel import Bools, Floats, Ints

NAMES = ("ridge", "linear", "constant", "auto")
ALPHA = 1.0
"""The penalty of "ridge", on standardised covariates."""
_ALPHAS = (0.1, 1.0, 10.0)
_MOST_FOLDS = 50


def check_base(base: Any) -> None:
    """Raises ConfigError where `base` is neither a name of `NAMES` nor a regressor."""
    if isinstance(base, str):
        if base not in NAMES:
            raise ConfigError(
                f"base is {base!r}; expected one of {', '.join(NAMES)}, or a regressor."
                f"{suggestion(base, NAMES)}"
            )
    elif isinstance(base, type) or not hasattr(base, "__sklearn_tags__") or not is_regressor(base):
        raise ConfigError(
            f"base is {base!r}; expected one of {', '.join(NAMES)}, or an object of a regressor "
            "as scikit-learn's."
        )


def takes_missing(base: Any) -> bool:
    """Whether a learner takes NaN among the covariates."""
    return not isinstance(base, str) and bool(get_tags(base).input_tags.allow_nan)


def make_learner(
    base: Any, num_covariates: int, interactions: bool = False, random_state: int | None = None
) -> Any:
    """Returns an unfitted learner.

    Args:
        base: "ridge": a ridge regression (penalty 1) on standardised covariates; "linear": least
            squares; "constant": the mean; a regressor, which is cloned. ("auto" is `chosen`'s.)
        num_covariates: d; with none it is the mean.
        interactions: add the products of two covariates.
        random_state: for a regressor whose own is None.
    """
    if num_covariates == 0 or (isinstance(base, str) and base == "constant"):
        return DummyRegressor()
    if isinstance(base, str):
        last = LinearRegression() if base == "linear" else Ridge(alpha=ALPHA)
        return _linear(last, interactions)
    learner = clone(base)
    if random_state is not None:
        unset = {
            name: random_state
            for name, value in learner.get_params().items()
            if name.rpartition("__")[2] == "random_state" and value is None
        }
        learner.set_params(**unset)
    return _linear(learner, True) if interactions else learner


def fit_learner(learner: Any, x: Floats, y: Floats, sample_weight: Floats | None = None) -> Any:
    """Fits a learner and returns it.

    Raises:
        ConfigError: it takes no weights.
        InputError: it refuses the data.
    """
    given: dict[str, Any] = {}
    if sample_weight is not None:
        last, prefix = learner, ""
        if isinstance(learner, Pipeline):
            last, prefix = learner.steps[-1][1], f"{learner.steps[-1][0]}__"
        if not has_fit_parameter(last, "sample_weight"):
            raise ConfigError(f"{type(last).__name__} takes no sample_weight; use weights=None.")
        given = {f"{prefix}sample_weight": sample_weight}
    try:
        return learner.fit(x, y, **given)
    except ValueError as error:
        raise InputError(f"the base learner refuses the effects: {first_line(error)}.") from error


def fitted(
    base: Any,
    x: Floats,
    y: Floats,
    groups: Ints,
    *,
    interactions: bool = False,
    sample_weight: Floats | None = None,
    random_state: int | None = None,
) -> Any:
    """Returns the learner that `base` names, fitted; "auto" is chosen by left-out units.

    Args:
        base: as `make_learner`'s, or "auto".
        x: [n, d] covariates.
        y: [n] pseudo-effects.
        groups: [n] the unit of each row.
        interactions: add products of two covariates.
        sample_weight: [n], or None.
        random_state: for learners that draw.
    """
    if isinstance(base, str) and base == "auto":
        learner = _chosen(x, y, groups, sample_weight, interactions)
    else:
        learner = make_learner(base, x.shape[1], interactions, random_state)
    return fit_learner(learner, x, y, sample_weight)


def left_out_errors(
    learner: Any, x: Floats, y: Floats, groups: Ints, sample_weight: Floats | None
) -> Floats:
    """Returns [n] the errors where each unit is predicted without it, in at most 50 folds."""
    count = len(np.unique(groups))
    errors = np.empty(len(y))
    for train, test in GroupKFold(min(count, _MOST_FOLDS)).split(x, y, groups):
        weight = None if sample_weight is None else sample_weight[train]
        model = fit_learner(clone(learner), x[train], y[train], weight)
        errors[test] = y[test] - model.predict(x[test])
    return errors


def _chosen(
    x: Floats, y: Floats, groups: Ints, sample_weight: Floats | None, interactions: bool
) -> Any:
    """The learner with the least squared error on left-out units; the simplest among equals."""
    if not x.shape[1] or len(np.unique(groups)) < 3:
        return make_learner("ridge", x.shape[1])
    best, least = None, np.inf
    for candidate in _candidates(x.shape[1], interactions):
        errors = left_out_errors(candidate, x, y, groups, sample_weight)
        error = float(np.average(errors**2, weights=sample_weight))
        if best is None or error < least:
            best, least = candidate, error
    return clone(best)


def _candidates(num_covariates: int, interactions: bool) -> Iterable[BaseEstimator]:
    yield DummyRegressor()
    for products in (False, True):
        if products and num_covariates < 2 and not interactions:
            continue
        yield from (_linear(Ridge(alpha=alpha), products) for alpha in reversed(_ALPHAS))
        yield _linear(LinearRegression(), products)


def _linear(last: Any, interactions: bool) -> Pipeline:
    products = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    return make_pipeline(StandardScaler(), *((products,) if interactions else ()), last)


def known_rows(base: Any, covariates: Floats) -> Bools:
    """Returns [N] whether a learner can use a unit's covariates."""
    if takes_missing(base):
        return np.ones(len(covariates), dtype=bool)
    return ~np.isnan(covariates.reshape(len(covariates), -1)).any(axis=1)
