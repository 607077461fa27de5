"""Linear models come back from arrays and JSON with predictions equal to the bit; others do not."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn import dummy, ensemble, impute, linear_model, pipeline, preprocessing
from sklearn.base import clone

from zoo_core.errors import CheckpointError, SaveError, WeightsMismatchError, ZooError
from zoo_synthetic_learner.value_state import Reader, Writer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3 * RNG.normal(size=40)
BOTH = np.column_stack([Y, 2 - Y])
GROUP = (RNG.random(40) < 1 / (1 + np.exp(-Y))).astype(int)
NEW = RNG.normal(size=(7, 3)) * 3


def written(model: Any, skops: bool = False) -> tuple[dict[str, np.ndarray], Any]:
    writer = Writer({}, skops)
    state = writer.write(model, "effect.treated")
    return writer.arrays, json.loads(json.dumps(state, allow_nan=False))


def back(model: Any) -> Any:
    arrays, state = written(model)
    reader = Reader(arrays, {}, ())
    read = reader.read(state)
    reader.finish()
    return read


def test_a_linear_model_is_its_coefficients_by_name() -> None:
    model = linear_model.Ridge(alpha=2.0).fit(X, Y)
    arrays, state = written(model)
    assert arrays["effect.treated.coef_"] is model.coef_
    assert arrays["effect.treated.intercept_"] == model.intercept_
    assert set(arrays) == {"effect.treated.coef_", "effect.treated.intercept_"}
    assert (state["model"], state["params"]["alpha"]) == ("Ridge", 2.0)


def test_steps_of_a_pipeline_go_by_their_names() -> None:
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Lasso()).fit(X, Y)
    assert {"effect.treated.standardscaler.mean_", "effect.treated.lasso.coef_"} <= set(
        written(model)[0]
    )


REGRESSORS = [
    linear_model.LinearRegression(),
    linear_model.LinearRegression(fit_intercept=False),
    linear_model.Ridge(alpha=0.1),
    linear_model.RidgeCV(alphas=np.logspace(-3, 3, 7)),
    linear_model.RidgeCV(alphas=(0.1, 1.0), cv=3),
    linear_model.Lasso(alpha=0.1),
    linear_model.LassoCV(cv=3),
    linear_model.ElasticNet(alpha=0.1),
    linear_model.ElasticNetCV(l1_ratio=[0.5, 0.9], cv=3),
    linear_model.BayesianRidge(compute_score=True),
    linear_model.ARDRegression(),
    linear_model.HuberRegressor(),
    linear_model.TheilSenRegressor(random_state=0, max_subpopulation=50),
    linear_model.QuantileRegressor(alpha=0.01),
    linear_model.SGDRegressor(random_state=0),
    dummy.DummyRegressor(),
    dummy.DummyRegressor(strategy="constant", constant=2.5),
]
PIPELINES = [
    [preprocessing.StandardScaler(), linear_model.RidgeCV()],
    [preprocessing.PolynomialFeatures(2, interaction_only=True), linear_model.Ridge()],
    [preprocessing.RobustScaler(), preprocessing.PolynomialFeatures((1, 3)), linear_model.Ridge()],
    [preprocessing.MinMaxScaler(clip=True), linear_model.HuberRegressor()],
    [impute.SimpleImputer(strategy="median"), "passthrough", linear_model.LinearRegression()],
]


@pytest.mark.parametrize("model", REGRESSORS, ids=str)
def test_regressors_predict_the_same_to_the_bit(model: Any) -> None:
    model = clone(model).fit(X, Y)
    read = back(model)
    assert type(read) is type(model)
    assert np.array_equal(read.predict(NEW), model.predict(NEW))
    assert repr(read.get_params()) == repr(model.get_params())
    for name in ("alpha_", "intercept_", "n_iter_"):
        assert type(getattr(read, name, None)) is type(getattr(model, name, None))
        assert np.array_equal(getattr(read, name, None), getattr(model, name, None))
    assert np.array_equal(clone(read).fit(X, Y).predict(NEW), model.predict(NEW))


@pytest.mark.parametrize("steps", PIPELINES, ids=lambda steps: type(steps[0]).__name__)
def test_pipelines_predict_the_same_to_the_bit(steps: list[Any]) -> None:
    model = clone(pipeline.make_pipeline(*steps)).fit(X, Y)
    read = back(model)
    assert np.array_equal(read.predict(NEW), model.predict(NEW))
    assert [name for name, _ in read.steps] == [name for name, _ in model.steps]


def test_missing_values_are_imputed_as_before() -> None:
    with_gaps = X.copy()
    with_gaps[::5, 1] = np.nan
    model = pipeline.make_pipeline(impute.SimpleImputer(), linear_model.Ridge()).fit(with_gaps, Y)
    gaps = np.full((2, 3), np.nan)
    assert np.array_equal(back(model).predict(gaps), model.predict(gaps))
    with pytest.raises(SaveError, match=r"MissingIndicator"):
        written(impute.SimpleImputer(add_indicator=True).fit(with_gaps))


@pytest.mark.parametrize(
    "model",
    [
        linear_model.LinearRegression(),
        linear_model.Ridge(),
        linear_model.MultiTaskLasso(alpha=0.1),
        linear_model.MultiTaskElasticNet(alpha=0.1),
        dummy.DummyRegressor(),
    ],
    ids=str,
)
def test_several_outputs_predict_the_same_to_the_bit(model: Any) -> None:
    model = clone(model).fit(X, BOTH)
    assert model.predict(NEW).shape == (7, 2)
    assert np.array_equal(back(model).predict(NEW), model.predict(NEW))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "model",
    [
        linear_model.LogisticRegression(C=0.5),
        linear_model.LogisticRegressionCV(Cs=3, cv=3),
        dummy.DummyClassifier(strategy="prior"),
        pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_classifiers_give_the_same_probabilities_to_the_bit(model: Any) -> None:
    for group in (GROUP, GROUP.astype(bool)):
        fitted = clone(model).fit(X, group)
        read = back(fitted)
        assert np.array_equal(read.predict_proba(NEW), fitted.predict_proba(NEW))
        assert read.classes_.dtype == fitted.classes_.dtype


def test_an_unfitted_model_is_its_parameters() -> None:
    read = back(linear_model.Ridge(alpha=3))
    assert read.alpha == 3
    assert not hasattr(read, "coef_")


class Mine(linear_model.Ridge):
    """A subclass, which may do anything."""


@pytest.mark.parametrize(
    "model",
    [
        ensemble.RandomForestRegressor(3, random_state=0),
        pipeline.make_pipeline(preprocessing.StandardScaler(), ensemble.RandomForestRegressor(3)),
        Mine(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_other_class_is_named_with_the_way_out(model: Any) -> None:
    with pytest.raises(SaveError, match=r"effect\.treated.*(RandomForestRegressor|Mine).*skops=T"):
        written(model.fit(X, Y))


@dataclass(frozen=True)
class PooledEffect:
    """Has the name of one of the package's classes."""

    learner: Any = None


def test_a_class_is_known_by_its_module_too() -> None:
    records = {"PooledEffect": "zoo_synthetic_learner.effect_regression:PooledEffect"}
    with pytest.raises(SaveError, match=r"PooledEffect, which arrays cannot hold"):
        Writer(records, False).write(PooledEffect(), "effect")


def test_with_skops_any_other_class_is_bytes_that_need_trust() -> None:
    pytest.importorskip("skops")
    forest = ensemble.RandomForestRegressor(3, random_state=0)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), forest).fit(X, Y)
    arrays, state = written(model, skops=True)
    assert arrays["effect.treated.randomforestregressor"].dtype == np.uint8
    with pytest.raises(CheckpointError, match=r"trust: sklearn\.tree\._tree\.Tree\."):
        Reader(arrays, {}, ()).read(state)
    read = Reader(arrays, {}, ("sklearn.tree._tree.Tree",)).read(state)
    assert np.array_equal(read.predict(NEW), model.predict(NEW))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("standardscaler.mean_", np.zeros(2)),
        ("standardscaler.scale_", np.ones((3, 3))),
        ("standardscaler.var_", np.ones(1)),
        ("ridge.coef_", np.ones(4)),
        ("ridge.coef_", np.ones((1, 2, 3))),
        ("ridge.coef_", np.array(1.0)),
        ("ridge.intercept_", np.ones(2)),
        ("ridge.intercept_", np.ones(0)),
    ],
)
def test_shapes_that_contradict_each_other_are_refused(name: str, array: np.ndarray) -> None:
    scaled = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge())
    arrays, state = written(scaled.fit(X, Y))
    with pytest.raises(WeightsMismatchError):
        Reader(arrays | {f"effect.treated.{name}": array}, {}, ()).read(state)


def changed(state: Any, **changes: Any) -> Any:
    return {key: value for key, value in (state | changes).items() if value is not ...}


def test_what_was_written_otherwise_is_refused() -> None:
    arrays, state = written(linear_model.Ridge().fit(X, Y))
    learnt, params = state["learnt"], state["params"]
    for wrong, message in (
        (changed(state, model="RandomForestRegressor"), "is no model that is known"),
        (changed(state, model="os.system"), "is no model that is known"),
        (changed(state, model=["Ridge"]), "is no model that is known"),
        (changed(state, params={**params, "alhpa": 1}), "Ridge does not take the parameters"),
        (changed(state, learnt={**learnt, "predict": 1}), "gives Ridge the attribute 'predict'"),
        (changed(state, learnt={**learnt, "n_features_in_": -1}), "has -1 features"),
        (changed(state, learnt={**learnt, "n_features_in_": "3"}), "has '3' features"),
        (changed(state, learnt={**learnt, "coef_": {"array": "no"}}), "array no is missing"),
        (changed(state, learnt={**learnt, "coef_": {"array": ["a"]}}), "missing"),
        (changed(state, learnt={**learnt, "coef_": {"same": 7}}), "same cannot be read"),
        (changed(state, learnt={**learnt, "coef_": "1"}), "coef_"),
        (changed(state, learnt=...), "model cannot be read"),
        (changed(state, learnt=[1]), "model cannot be read"),
        ({"read": 1}, "kind 'read', which is not known"),
        ({"__class__": 1}, "kind '__class__', which is not known"),
        ({}, "kind None"),
        ([1], "a list where a value"),
        ({"record": "Path", "fields": {}}, "is no record known here"),
        ({"float": "x"}, "float cannot be read"),
        ({"dtype": "|O8"}, "dtype cannot be read"),
        ({"scalar": "effect.treated.coef_"}, "has 1 axes"),
        ({"labels": {"kind": "str"}, "size": 3, "of": "units"}, "labels of units"),
        ({"skops": "effect.treated.coef_"}, "skops"),
    ):
        with pytest.raises(ZooError, match=message) as caught:
            Reader(arrays, {}, ()).read(wrong)
        assert isinstance(caught.value, CheckpointError | WeightsMismatchError)


def test_arrays_that_are_no_real_numbers_are_refused() -> None:
    arrays, state = written(linear_model.Ridge().fit(X, Y))
    wrong = {"effect.treated.coef_": np.ones(3, np.complex64)}
    with pytest.raises(WeightsMismatchError, match="complex64; expected real numbers"):
        Reader(arrays | wrong, {}, ()).read(state)


def test_arrays_whose_names_are_alike_stay_two() -> None:
    read = back({"a": {"b": X}, "a.b": X + 1})
    assert np.array_equal(read["a"]["b"], X)
    assert np.array_equal(read["a.b"], X + 1)


def test_arrays_that_nobody_reads_are_named() -> None:
    arrays, state = written(linear_model.Ridge().fit(X, Y))
    reader = Reader(arrays | {"more": np.ones(1)}, {}, ())
    reader.read(state)
    with pytest.raises(WeightsMismatchError, match=r"unexpected arrays: more\."):
        reader.finish()


def test_what_occurs_twice_is_written_once_and_stays_one() -> None:
    model = linear_model.Ridge().fit(X, Y)
    arrays, state = written({"a": model, "b": [model, X, (X,)]})
    assert len(arrays) == 3
    read = Reader(arrays, {}, ()).read(state)
    assert read["b"][0] is read["a"]
    assert read["b"][2][0] is read["b"][1]


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.1 + 0.2, "a", [1, (2, [])], {"a": (1,)}, float("inf"), -float("inf"), ()],
)
def test_plain_values_keep_their_types(value: Any) -> None:
    assert repr(back(value)) == repr(value)


def test_numbers_of_numpy_keep_their_types() -> None:
    for value in (np.float32(0.1), np.int64(2**62), np.bool_(True), np.float64("nan")):
        read = back(value)
        assert type(read) is type(value)
        assert np.array_equal(read, value, equal_nan=True)
