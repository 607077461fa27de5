"""The propensity e(s), the probability to be treated: the weight of the two-side learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from zoo_core.errors import ConfigError, InputError
from zoo_core.retries import first_line
from zoo_synthetic_learner.panel import Bools, Floats, Ints

CLIP = 0.05
"""Propensities are kept within [0.05, 0.95]."""


@dataclass(frozen=True, eq=False)
class Propensity:
    """A fitted propensity.

    Attributes:
        classifier: fitted; None where there are no covariates.
        share: of treated units.
    """

    classifier: Any
    share: float

    def predict(self, covariates: Floats) -> Floats:
        """Returns [k] probabilities within [0.05, 0.95]."""
        if self.classifier is None:
            found = np.full(len(covariates), self.share)
        else:
            place = list(self.classifier.classes_).index(True)
            found = self.classifier.predict_proba(covariates)[:, place]
        return np.clip(found, CLIP, 1 - CLIP)


def check_propensity(propensity: Any) -> None:
    """Raises ConfigError where it is neither "logistic" nor a classifier with probabilities."""
    if isinstance(propensity, str):
        if propensity != "logistic":
            raise ConfigError(f"propensity is {propensity!r}; expected 'logistic' or a classifier.")
    elif (
        isinstance(propensity, type)
        or not hasattr(propensity, "__sklearn_tags__")
        or not is_classifier(propensity)
        or not hasattr(propensity, "predict_proba")
    ):
        raise ConfigError(
            f"propensity is {propensity!r}; expected 'logistic' or an object of a classifier with "
            "predict_proba, as scikit-learn's."
        )


def takes_missing(propensity: Any) -> bool:
    """Whether the classifier takes NaN among the covariates."""
    return not isinstance(propensity, str) and bool(get_tags(propensity).input_tags.allow_nan)


def learn_propensity(
    propensity: Any,
    covariates: Floats,
    treated: Bools,
    counts: Ints | None = None,
    random_state: int | None = None,
) -> Propensity:
    """Returns the propensity of units.

    Args:
        propensity: "logistic", a logistic regression with C=1 on standardised covariates; or a
            classifier, which is cloned.
        covariates: [N, d].
        treated: [N].
        counts: [N] how often each unit counts; None is once.
        random_state: for a classifier whose own is None.

    Raises:
        InputError: the classifier refuses them.
    """
    if counts is not None:
        covariates, treated = np.repeat(covariates, counts, axis=0), np.repeat(treated, counts)
    share = float(treated.mean())
    if not covariates.shape[1]:
        return Propensity(None, share)
    if isinstance(propensity, str):
        classifier: Any = make_pipeline(StandardScaler(), LogisticRegression(C=1.0))
    else:
        classifier = clone(propensity)
        given = classifier.get_params()
        if random_state is not None and given.get("random_state", 0) is None:
            classifier.set_params(random_state=random_state)
    try:
        classifier.fit(covariates, treated)
    except ValueError as error:
        raise InputError(f"the propensity's classifier refuses: {first_line(error)}.") from error
    return Propensity(classifier, share)
