"""A fit comes back from arrays and JSON as it was; what contradicts itself is refused whole."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sl_data import small_panel

from zoo_core.errors import CheckpointError, SaveError, WeightsMismatchError, ZooError
from zoo_synthetic_learner.effect_regression import PooledEffect
from zoo_synthetic_learner.imputation import Imputation
from zoo_synthetic_learner.learned import Learned
from zoo_synthetic_learner.panel import Panel
from zoo_synthetic_learner.state import restore, state_of


class Fitted(BaseEstimator):
    """What every panel learner has after `fit`."""

    def __init__(self, base: Any = "ridge", grid: Any = None) -> None:
        self.base = base
        self.grid = grid


def imputed(panel: Panel, rows: np.ndarray, seed: int) -> Imputation:
    rng = np.random.default_rng(seed)
    shape = len(rows), panel.num_periods
    return Imputation(
        units=rows,
        start=np.full(len(rows), 10),
        stop=np.full(len(rows), panel.num_periods),
        predicted=rng.normal(size=shape),
        gap=np.where(rng.random(shape) < 0.1, np.nan, rng.normal(size=shape)),
        fit=rng.random(shape) < 0.5,
        size=np.ones(len(rows)),
        weights=rng.normal(size=(panel.num_units, len(rows))),
        intercept=rng.normal(size=len(rows)),
        time_weights=None,
        choices=tuple(f"ridge({row})" for row in rows),
        notes=("A note.",),
    )


def fitted(base: Any = None, params: dict[str, Any] | None = None, **panel: Any) -> Fitted:
    """An estimator with a fit of two sides that is made up, so that every number differs."""
    made = small_panel(missing=0.1, **panel)
    groups = (made.first_treated < made.num_periods).astype(int)
    static = made.static_covariates()
    outcome = np.nanmean(made.outcome, axis=1)
    estimator = Fitted(**(params or {}))
    estimator.panel_ = made
    estimator.learned_ = Learned(
        effect=PooledEffect((Ridge(alpha=0.5) if base is None else base).fit(static, outcome)),
        treated=imputed(made, made.treated, 1),
        control=imputed(made, made.never_treated, 2),
        att=0.1 + 0.2,
        att_by_time=np.array([0.5, np.nan, 1.5]),
        parts={"propensity": LogisticRegression().fit(static, groups), "share": 0.25},
        notes=("One.", "Two."),
    )
    return estimator


def through_json(state: tuple[dict[str, np.ndarray], dict[str, Any]]) -> Any:
    return state[0], json.loads(json.dumps(state[1], allow_nan=False))


def back(estimator: Fitted, trusted: Any = (), skops: bool = False) -> Fitted:
    arrays, values = through_json(state_of(estimator, skops=skops))
    fresh = Fitted()
    restore(fresh, arrays, values, trusted)
    return fresh


def same_record(one: Any, other: Any) -> None:
    """Asserts that two dataclasses are equal, to the bit and in their types."""
    assert type(one) is type(other)
    for field in fields(one):
        mine, others = getattr(one, field.name), getattr(other, field.name)
        assert type(mine) is type(others), field.name
        if isinstance(mine, np.ndarray):
            assert mine.dtype == others.dtype
            assert np.array_equal(mine, others, equal_nan=mine.dtype.kind == "f"), field.name
        elif isinstance(mine, pd.Index):
            pd.testing.assert_index_equal(mine, others, exact=True)
        elif isinstance(mine, Imputation):
            same_record(mine, others)
        elif field.name not in ("effect", "parts"):
            assert mine == others, field.name


@pytest.mark.parametrize(
    "panel",
    [{}, {"d": 0}, {"labelled": True, "staggered": True}, {"time_varying": True}],
    ids=str,
)
def test_a_fit_comes_back_to_the_bit(panel: dict[str, Any]) -> None:
    if panel.get("d") == 0:
        from sklearn.dummy import DummyRegressor

        estimator = fitted_without_covariates(DummyRegressor())
    else:
        estimator = fitted(**panel)
    read = back(estimator)
    same_record(read.panel_, estimator.panel_)
    same_record(read.learned_, estimator.learned_)
    static = estimator.panel_.static_covariates()
    effect, others = estimator.learned_.effect, read.learned_.effect
    assert np.array_equal(effect.predict(static), others.predict(static))
    if static.shape[1]:
        groups, read_groups = (it.learned_.parts["propensity"] for it in (estimator, read))
        assert np.array_equal(groups.predict_proba(static), read_groups.predict_proba(static))
        assert read.learned_.parts["share"] == 0.25


def fitted_without_covariates(model: Any) -> Fitted:
    estimator = Fitted()
    made = small_panel(d=0)
    estimator.panel_ = made
    estimator.learned_ = Learned(
        effect=PooledEffect(model.fit(np.zeros((made.num_units, 0)), made.outcome.mean(axis=1))),
        treated=None,
        control=None,
        att=1.5,
        att_by_time=np.ones(6),
    )
    return estimator


def test_arrays_go_by_what_they_are() -> None:
    estimator = fitted()
    arrays, values = state_of(estimator)
    learned = estimator.learned_
    for name, array in {
        "synth.treated.W": learned.treated.weights,
        "synth.treated.c": learned.treated.intercept,
        "synth.control.W": learned.control.weights,
        "synth.control.c": learned.control.intercept,
        "effect.treated.coef_": learned.effect.learner.coef_,
        "propensity.coef_": learned.parts["propensity"].coef_,
        "panel.outcome": estimator.panel_.outcome,
    }.items():
        assert arrays[name] is array
    assert set(values["versions"]) >= {"python", "numpy", "pandas", "scikit-learn"}
    assert values["panel"]["fields"]["units"]["labels"]["kind"]


def test_an_unfitted_estimator_has_no_state() -> None:
    assert state_of(Fitted()) == ({}, {})


def test_another_base_learner_is_named_and_skops_writes_it() -> None:
    pytest.importorskip("skops")
    forest = RandomForestRegressor(3, random_state=0)
    estimator = fitted(forest)
    with pytest.raises(SaveError, match=r"effect\.treated is a .*RandomForestRegressor.*skops=T"):
        state_of(estimator)
    with pytest.raises(CheckpointError, match=r"trusted=\['sklearn\.tree\._tree\.Tree'\]"):
        back(estimator, skops=True)
    read = back(estimator, ("sklearn.tree._tree.Tree",), skops=True)
    static = estimator.panel_.static_covariates()
    effects = (it.learned_.effect.predict(static) for it in (estimator, read))
    assert np.array_equal(*effects)


def test_parameters_that_are_not_json_come_along() -> None:
    params = {"base": Ridge(alpha=3.0), "grid": np.array([0.1, 0.2])}
    read = back(fitted(params=params))
    assert (type(read.base), read.base.alpha) == (Ridge, 3.0)
    assert np.array_equal(read.grid, params["grid"])
    with pytest.raises(SaveError, match=r"params\.grid is a builtins\.set"):
        state_of(fitted(params={"grid": {1}}))


def test_labels_that_cannot_be_written_are_refused() -> None:
    estimator = fitted()
    labels = pd.Index([("a", row) for row in range(12)])
    estimator.panel_ = replace(estimator.panel_, units=labels)
    with pytest.raises(SaveError, match=r"panel\.units have the label"):
        state_of(estimator)


# What anyone may have written

TIMES = {
    "labels": {"kind": "range", "values": [0, 3, 1], "name": None},
    "of": "panel.times",
    "size": 3,
}


def refused(arrays: Any, values: Any) -> ZooError:
    fresh = Fitted()
    with pytest.raises(ZooError) as caught:
        restore(fresh, arrays, values)
    assert isinstance(caught.value, CheckpointError | WeightsMismatchError)
    assert vars(fresh) == vars(Fitted())  # nothing was set
    assert "\n" not in str(caught.value)
    return caught.value


def test_every_array_is_checked() -> None:
    arrays, values = through_json(state_of(fitted()))
    assert len(arrays) > 20
    for name, array in arrays.items():
        rest = {key: value for key, value in arrays.items() if key != name}
        assert isinstance(refused(rest, values), WeightsMismatchError), name
        if array.ndim == 0 or name.endswith("n_iter_"):
            continue
        several = () if name.endswith("att_by_time") else (np.repeat(array, 2, axis=0), array[:-1])
        alone = () if name == "effect.treated.coef_" else (array[None],)  # [1, d] is one output
        for wrong in (*several, array[..., None], *alone):
            assert isinstance(refused({**arrays, name: wrong}, values), ZooError), name
        if not name.startswith(("effect.", "propensity.")):
            for dtype in (np.float32, np.uint8, np.complex64):
                wrong = np.nan_to_num(array).astype(dtype)
                assert isinstance(refused({**arrays, name: wrong}, values), WeightsMismatchError)
    assert "unexpected arrays: more" in str(refused({**arrays, "more": np.ones(1)}, values))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("panel.first_treated", 0),
        ("panel.first_treated", 17),
        ("panel.first_treated", -1),
        ("synth.treated.units", 12),
        ("synth.treated.units", -1),
        ("synth.control.start", 0),
        ("synth.control.stop", 17),
        ("panel.outcome", np.inf),
        ("synth.treated.W", -np.inf),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, value: float) -> None:
    arrays, values = through_json(state_of(fitted()))
    changed = arrays[name].copy()
    changed.flat[-1] = value
    assert isinstance(refused({**arrays, name: changed}, values), WeightsMismatchError)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("format",), 2, "has the format 2; this version reads 1. Upgrade"),
        (("format",), ..., "has the format None"),
        (("class",), "H2SL", "is that of a H2SL; expected a Fitted"),
        (("panel",), ..., "KeyError"),
        (("panel",), None, "panel is a NoneType"),
        (("panel", "record"), "Imputation", "cannot be read"),
        (("panel", "record"), "Path", "is no record known here"),
        (("panel", "fields", "units", "size"), 3, "another length than 3"),
        (("panel", "fields", "units", "labels", "values"), [0, 11, 1], "another length than 12"),
        (("panel", "fields", "times"), TIMES, "12 units and 3 times; expected 12 and 16"),
        (("panel", "fields", "covariate_names"), {"tuple": ["a"]}, "covariates"),
        (("panel", "fields", "covariate_names"), {"tuple": [1, 2]}, "covariate_names are"),
        (("panel", "fields", "covariate_names"), 5, "covariate_names are '5'"),
        (("panel", "fields", "outcome_name"), 5, "outcome_name are"),
        (("panel", "fields", "more"), 5, "unexpected keyword"),
        (("learned",), 5, "AttributeError"),
        (("learned", "att"), "high", "not a number"),
        (("learned", "att"), None, "not a number"),
        (("learned", "effect"), None, "NoneType"),
        (("learned", "treated"), 5, "a int where imputed units go"),
        (("learned", "treated", "fields", "choices"), {"tuple": []}, "imputed units"),
        (("learned", "treated", "fields", "choices"), {"tuple": [1] * 4}, "choices are"),
        (("learned", "treated", "fields", "intercept"), None, "weights or intercepts"),
        (("learned", "treated", "fields", "gap"), None, "gap of imputed units is object"),
        (("learned", "notes"), {"tuple": [5]}, "notes"),
        (("learned", "parts", "dict", "cross_fitted"), 5, "not one for each unit"),
        (("learned", "parts"), None, "parts"),
        (("learned", "more"), 1, "unexpected keyword"),
        (("params",), {"alpha": 1}, "has no parameters alpha"),
        (("params",), {"base": {"eval": "1"}}, "kind 'eval'"),
    ],
)
def test_values_that_are_not_of_a_fit_are_refused(
    place: tuple[str, ...], value: Any, message: str
) -> None:
    arrays, values = through_json(state_of(fitted()))
    *way, last = place
    inner = values
    for key in way:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    used = {name: array for name, array in arrays.items() if name in json.dumps(values)}
    assert message in str(refused(used, values))
