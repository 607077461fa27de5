"""What a fitted panel estimator learnt, as arrays and JSON values, and back.

The panel is a part of it, so that all works as after `fit`: effects of the fitted units, tables,
pictures, placebo tests and the bootstrap. Arrays go by what they are: `synth.treated.W` holds the
donors' weights [N, q], `effect.treated.*` the effect regression of the treated side,
`propensity.*` the propensity.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo_core.card import json_mapping
from zoo_core.errors import (
    CardError,
    CheckpointError,
    WeightsMismatchError,
    ZooError,
    enumeration,
)
from zoo_synthetic_learner.effect_regression import PooledEffect, TimedEffect
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.learned import Learned
from zoo_synthetic_learner.panel import Panel
from zoo_synthetic_learner.value_state import Reader, Writer

_FORMAT = 1
_LIBRARIES = ("zoo-synthetic-learner", "numpy", "pandas", "scikit-learn")
_PACKAGE = "zoo_synthetic_learner"
_CLASSES = {
    "panel": ("Panel",),
    "imputation": ("Imputation",),
    "effect_regression": ("PooledEffect", "TimedEffect"),
    "combining": ("CombinedEffect", "ConstantWeight"),
    "propensity": ("Propensity",),
    "baselines.meta_learners": ("DifferenceEffect", "SwitchedEffect", "AveragedEffect"),
    "synthesizers.auto": ("Auto",),
    "synthesizers.did": ("DiD",),
    "synthesizers.elastic_net": ("ElasticNet", "Lasso"),
    "synthesizers.least_squares": ("LeastSquares",),
    "synthesizers.matrix_completion": ("MatrixCompletion",),
    "synthesizers.regressor": ("Regressor",),
    "synthesizers.ridge": ("Ridge",),
    "synthesizers.sdid": ("SDID",),
    "synthesizers.simplex": ("Simplex",),
}
_RECORDS = {
    name: f"{_PACKAGE}.{module}:{name}" for module, names in _CLASSES.items() for name in names
}
_LEARNED = {"parts": "", "treated": "synth.treated", "control": "synth.control"}
_PER_TARGET = {
    "units": "q", "start": "q", "stop": "q", "size": "q", "intercept": "q",
    "predicted": "qT", "gap": "qT", "fit": "qT", "time_weights": "qT", "weights": "Nq",
}  # fmt: skip
_INTEGERS = ("units", "start", "stop", "first_treated")


def state_of(estimator: Any, skops: bool = False) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns what an estimator learnt as arrays by name, and the rest as JSON values.

    Args:
        estimator: with `panel_` and `learned_`; without them both results are empty.
        skops: whether skops may write what arrays and JSON cannot hold, such as a forest as the
            base learner, or a function as a parameter.

    Raises:
        SaveError: it learnt by other models than scikit-learn's linear ones, or has labels or
            parameters that cannot be written.
    """
    if not hasattr(estimator, "learned_"):
        return {}, {}
    writer = Writer(_RECORDS, skops)
    values = {
        "format": _FORMAT,
        "class": type(estimator).__name__,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
        "panel": writer.write(estimator.panel_, "panel"),
        "learned": writer.fields(estimator.learned_, "learned", _names(estimator.learned_)),
        "params": {
            name: writer.write(value, f"params.{name}")
            for name, value in estimator.get_params(deep=False).items()
            if not _is_json(value)
        },
    }
    return writer.arrays, values


def restore(
    estimator: Any,
    arrays: Mapping[str, np.ndarray],
    values: Mapping[str, Any],
    trusted: Sequence[str] = (),
) -> None:
    """Gives an estimator what `state_of` has written of one like it.

    All of it is read and compared before anything is set.

    Args:
        estimator: of the same class.
        arrays: name -> array.
        values: the JSON values.
        trusted: full names of types that skops may build besides those that it knows.

    Raises:
        CheckpointError: the state is not such a one, or needs types that are not trusted.
        WeightsMismatchError: arrays are missing, unexpected or of shapes that contradict others.
    """
    kind = type(estimator).__name__
    if values.get("format") != _FORMAT:
        raise CheckpointError(
            f"the state has the format {values.get('format')!r}; this version reads {_FORMAT}. "
            "Upgrade zoo-synthetic-learner."
        )
    if values.get("class") != kind:
        raise CheckpointError(f"the state is that of a {values.get('class')}; expected a {kind}.")
    reader = Reader(arrays, _RECORDS, trusted)
    try:
        panel = reader.read(values["panel"])
        learned = Learned(**{key: reader.read(it) for key, it in values["learned"].items()})
        params = {key: reader.read(it) for key, it in values["params"].items()}
        _check_panel(panel)
        _check_learned(learned, panel)
        unknown = sorted(params.keys() - estimator.get_params(deep=False).keys())
    except ZooError:
        raise
    except Exception as error:  # the file may be anyone's
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(f"the state of this {kind} cannot be read: {reason}.") from error
    reader.finish()
    if unknown:
        raise CheckpointError(f"{kind} has no parameters {enumeration(unknown)}.")
    estimator.set_params(**params)
    estimator.panel_ = panel
    estimator.learned_ = learned


def _names(learned: Learned) -> dict[str, str]:
    """The paths of a fit's fields: shared models first, and by their own name."""
    one_side = isinstance(learned.effect, PooledEffect | TimedEffect)
    return {**_LEARNED, "effect": "effect.treated" if one_side else "effect"}


def _is_json(value: Any) -> bool:
    try:
        json_mapping({"": value}, "")
    except CardError:
        return False
    return True


def _check_panel(panel: Any) -> None:
    if not isinstance(panel, Panel):
        raise CheckpointError(f"the state's panel is a {type(panel).__name__}.")
    _check_text(panel.covariate_names, "covariate_names")
    _check_text(panel.given_covariates, "given_covariates")
    _check_text((panel.outcome_name,), "outcome_name")
    if panel.outcome.ndim != 2 or panel.covariates.ndim not in (2, 3):
        raise WeightsMismatchError(
            f"the panel has outcomes {list(panel.outcome.shape)} and covariates "
            f"{list(panel.covariates.shape)}; expected [N, T], and [N, d] or [N, T, d]."
        )
    sizes = {"N": panel.num_units, "T": panel.num_periods, "d": len(panel.covariate_names)}
    _check_arrays(panel, {"outcome": "NT", "first_treated": "N"}, sizes, "the panel")
    covariates = {"covariates": "NTd" if panel.time_varying else "Nd"}
    _check_arrays(panel, covariates, sizes, "the panel")
    if len(panel.units) != sizes["N"] or len(panel.times) != sizes["T"]:
        raise WeightsMismatchError(
            f"the panel has {len(panel.units)} units and {len(panel.times)} times; expected "
            f"{sizes['N']} and {sizes['T']} as its outcomes have."
        )
    _check_within(panel.first_treated, 1, sizes["T"], "first treated periods")


def _check_learned(learned: Learned, panel: Panel) -> None:
    by_time = np.asarray(learned.att_by_time)
    if not isinstance(learned.att, float) or by_time.ndim != 1 or by_time.dtype != np.float64:
        raise WeightsMismatchError("the effects on the treated are not a number and [L] numbers.")
    if not isinstance(learned.parts, Mapping):
        raise CheckpointError(f"the state's parts are a {type(learned.parts).__name__}.")
    _check_text(learned.notes, "notes")
    for side in (learned.treated, learned.control):
        if side is not None:
            _check_imputation(side, panel)
    held_out = learned.parts.get("cross_fitted")
    if held_out is not None and (
        not isinstance(held_out, np.ndarray)
        or held_out.dtype != np.float64
        or held_out.shape not in ((panel.num_units,), (panel.num_units, *by_time.shape))
    ):
        raise WeightsMismatchError("the cross-fitted effects are not one for each unit.")
    few = np.zeros((2, panel.covariates.shape[-1]))
    shape = np.shape(learned.effect.predict(few))
    if shape[:1] != (2,) or shape[1:] not in ((), by_time.shape):
        raise WeightsMismatchError(
            f"the effects of 2 units with {few.shape[1]} covariates have the shape {list(shape)}."
        )


def _check_imputation(side: Any, panel: Panel) -> None:
    if not isinstance(side, Imputation):
        raise CheckpointError(f"the state has a {type(side).__name__} where imputed units go.")
    _check_text(side.choices, "choices")
    _check_text(side.notes, "notes")
    sizes = {"N": panel.num_units, "T": panel.num_periods, "q": len(side.choices)}
    _check_arrays(side, _PER_TARGET, sizes, "imputed units")
    if (side.weights is None) != (side.intercept is None):
        raise WeightsMismatchError("imputed units have weights or intercepts without the other.")
    _check_within(side.units, 0, sizes["N"] - 1, "rows of imputed units")
    _check_within(side.start, 1, sizes["T"], "starts of imputed units")
    _check_within(side.stop, 1, sizes["T"], "ends of imputed units")


def _check_text(texts: Any, what: str) -> None:
    if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts):
        raise CheckpointError(f"the state's {what} are {str(texts)[:100]!r}; expected text.")


def _check_arrays(held: Any, axes: Mapping[str, str], sizes: Mapping[str, int], what: str) -> None:
    for name, letters in axes.items():
        array = getattr(held, name)
        if array is None and name in ("weights", "intercept", "time_weights"):
            continue
        shape = tuple(sizes[letter] for letter in letters)
        kind = np.bool_ if name == "fit" else np.int64 if name in _INTEGERS else np.float64
        if np.shape(array) != shape or np.asarray(array).dtype != kind:
            raise WeightsMismatchError(
                f"{name} of {what} is {np.asarray(array).dtype} {list(np.shape(array))}; expected "
                f"{np.dtype(kind)} {list(shape)}."
            )
        if kind == np.float64 and np.isinf(array).any():
            raise WeightsMismatchError(f"{name} of {what} has infinite values.")


def _check_within(numbers: np.ndarray, low: int, high: int, what: str) -> None:
    if len(numbers) and not (low <= numbers.min() and numbers.max() <= high):
        raise WeightsMismatchError(
            f"{what} go from {numbers.min()} to {numbers.max()}; expected {low} to {high}."
        )
