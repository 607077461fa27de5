"""Learners under equal settings on panels whose effects are known, side by side on all cores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
from joblib import Parallel, delayed

from zoo_core.errors import ZooWarning
from zoo_core.experiment import Context
from zoo_synthetic_learner.baselines.constant import SyntheticControl
from zoo_synthetic_learner.baselines.meta_learners import (
    DiDT,
    PanelSLearner,
    PanelTLearner,
    PanelXLearner,
)
from zoo_synthetic_learner.estimator import PanelEstimator
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.h2sl import H2SL
from zoo_synthetic_learner.semi_synthetic import SemiSynthetic

_Result = TypeVar("_Result")
BASE: Final = "linear"
"""What regresses on covariates in all learners: with one base they differ only in the method."""
ALL: Final = "RMSE all"
TREATED: Final = "RMSE treated"
DID_T: Final = "DiD-T"
T_LEARNER: Final = "T-learner"
S_LEARNER: Final = "S-learner"
X_LEARNER: Final = "X-learner"
SC: Final = "synthetic control"
CONSTANT: Final = "constant, ridge"

LEARNERS: Final[Mapping[str, Callable[[], PanelEstimator]]] = MappingProxyType(
    {
        "H1SL, simplex": lambda: H1SL("simplex", base=BASE),
        "H2SL, simplex": lambda: H2SL("simplex", base=BASE),
        "H2SL, simplex, half": lambda: H2SL("simplex", base=BASE, combine="half"),
        "H1SL, auto": lambda: H1SL("auto", base=BASE),
        "H2SL, auto": lambda: H2SL("auto", base=BASE),
        "H1SL, ridge": lambda: H1SL("ridge", base=BASE),
        "H2SL, ridge": lambda: H2SL("ridge", base=BASE),
        "H1SL, ridge by GCV": lambda: H1SL("ridge", {"penalty": "gcv"}, base=BASE),
        "H1SL, did": lambda: H1SL("did", base=BASE),
        "H2SL, did": lambda: H2SL("did", base=BASE),
        DID_T: lambda: DiDT(BASE),
        T_LEARNER: lambda: PanelTLearner(BASE),
        S_LEARNER: lambda: PanelSLearner(BASE),
        X_LEARNER: lambda: PanelXLearner(BASE),
        SC: SyntheticControl,
        CONSTANT: lambda: H1SL("ridge", base="constant"),
    }
)
"""Name -> a function that makes the learner."""


def errors(name: str, data: SemiSynthetic) -> dict[str, float]:
    """Returns the root mean squared error of a learner's tau over all and over treated units."""
    with warnings.catch_warnings():
        # What a fit has to say is the same in all repetitions.
        warnings.simplefilter("ignore", ZooWarning)
        learner = LEARNERS[name]().fit(data.Y, data.D, data.S)
    off = np.asarray(learner.effect(data.S)) - data.tau
    return {
        ALL: float(np.sqrt(np.mean(off**2))),
        TREATED: float(np.sqrt(np.mean(off[data.treated] ** 2))),
    }


def side_by_side(
    context: Context, function: Callable[..., _Result], jobs: Sequence[tuple[Any, ...]]
) -> Iterator[_Result]:
    """Yields a function's results for each job, in their order; each runs on a core of its own."""
    found = Parallel(n_jobs=-1, return_as="generator")(delayed(function)(*job) for job in jobs)
    return context.progress(found, "fitting", len(jobs))
