"""An estimator comes back with what it learnt, without a pickle; a stranger's by skops if asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import zoo
from tests.conftest import in_one_line
from tests.hub_server import HubServer
from tests.plugin_env import Site, site_fixture  # noqa: F401
from zoo_core.digests import sha256_of
from zoo_core.errors import (
    CheckpointError,
    ConfigError,
    DigestError,
    PluginError,
    SaveError,
    WeightsMismatchError,
    ZooError,
)

sklearn = pytest.importorskip("sklearn")
pytest.importorskip("skops")

PLUGIN = """
from zoo_core import Card, Weights, hookimpl

@hookimpl
def zoo_cards():
    shared = {"kind": "estimator", "summary": "For tests", "task": "tabular-regression"}
    own = "zoo_lines_pkg.model:"
    return [
        Card(name="line", factory=own + "Line", config={"power": 2}, aliases=("a-line",),
             weights=WEIGHTS, **shared),
        Card(name="squared", factory=own + "squared", **shared),
        Card(name="any-line", factory=own + "any_line", **shared),
        Card(name="ridge", factory="sklearn.linear_model:Ridge", **shared),
        Card(name="forest", factory="sklearn.ensemble:RandomForestRegressor",
             config={"n_estimators": 3, "random_state": 0}, **shared),
        Card(name="two-steps", factory=own + "two_steps", **shared),
    ]
"""
MODEL = """
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from zoo_core import estimators
from zoo_core.errors import WeightsMismatchError

class Line(BaseEstimator):
    '''y = coef . x ** power, and what `base` leaves of it; all of it learnt.'''

    def __init__(self, power=1, columns=None, base=None):
        self.power = power
        self.columns = columns
        self.base = base

    def fit(self, X, y=None):
        self.coef_ = np.linalg.lstsq(np.asarray(X) ** self.power, y, rcond=None)[0]
        self.names_ = [f"x{place}" for place in range(len(self.coef_))]
        return self

    def predict(self, X):
        return np.asarray(X) ** self.power @ self.coef_

    def get_state(self, *, skops=False):
        if not hasattr(self, "coef_"):
            return {}, {}
        arrays = {"coef": self.coef_}
        if self.base is not None and skops:
            arrays["base"] = estimators.skops_bytes(self.base)
        return arrays, {"names": self.names_, "loss": {"sum": 0.1 + 0.2, "steps": (1, None)}}

    def set_state(self, arrays, values, *, trusted=()):
        coef, names = arrays["coef"], values["names"]
        if coef.shape != (len(names),):
            raise WeightsMismatchError(f"coef has the shape {coef.shape}; names are {len(names)}.")
        if "base" in arrays:
            self.base = estimators.from_skops(arrays["base"], trusted)
        self.coef_, self.names_, self.loss_ = coef, names, values["loss"]

def squared(columns=None):
    return Line(power=2, columns=columns)

def any_line(**params):
    return Line(**params)

def two_steps(intercept=True):
    return make_pipeline(StandardScaler(), LinearRegression(fit_intercept=intercept))
"""
X = np.random.default_rng(0).normal(size=(20, 3))
Y = X**2 @ [1.0, -2.0, 0.5] + 0.1
TREE = "sklearn.tree._tree.Tree"
SAVED = {"config.json", "model.safetensors", "README.md"}


@pytest.fixture(autouse=True)
def lines(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("lines", PLUGIN.replace("WEIGHTS", "()"), files={"model.py": MODEL})
    monkeypatch.setenv("ZOO_PLUGINS", "lines")
    site.activate()


def line(**config: Any) -> Any:
    return zoo.load("line", pretrained=False, **config).fit(X, Y)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return zoo.save(line(), tmp_path / "saved", metrics={"R2": 0.5}, license="mit")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refused(*arguments: Any, **more: Any) -> str:
    with pytest.raises(SaveError) as caught:
        zoo.save(*arguments, **more)
    return in_one_line(caught.value)


def unreadable(folder: Path, error: type[ZooError] = CheckpointError, **more: Any) -> str:
    with pytest.raises(error) as caught:
        zoo.load(folder, **more)
    return in_one_line(caught.value)


def rewritten(folder: Path, text: str | None = None, **arrays: np.ndarray | None) -> Path:
    """Changes arrays of a saved folder, or its JSON; None removes an array."""
    file = folder / "model.safetensors"
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata() if text is None else {"state": text}
    changed = load_file(file) | arrays
    kept = {name: array for name, array in changed.items() if array is not None}
    save_file(kept, file, metadata)
    return folder


# A round trip


def test_a_fitted_estimator_comes_back_as_it_was(tmp_path: Path) -> None:
    fitted = line(columns=["a", "b"])
    folder = zoo.save(fitted, tmp_path / "saved", metrics={"R2": 0.5}, license="mit")
    assert names(folder) == SAVED
    back = zoo.load(folder)
    assert np.array_equal(back.predict(X), fitted.predict(X))
    assert back.loss_ == {"sum": 0.1 + 0.2, "steps": [1, None]}
    assert back.get_params() == {"power": 2, "columns": ["a", "b"], "base": None}
    assert back.zoo.name == "lines/line"
    assert back.zoo.config == {"power": 2, "columns": ["a", "b"], "base": None}
    assert back.zoo.weights.metrics == {"R2": 0.5}
    again = zoo.load(zoo.save(back, tmp_path / "again"))
    assert np.array_equal(again.coef_, fitted.coef_)
    assert again.zoo.weights.license == "mit"


def test_the_model_card_says_how_to_load_it(saved: Path) -> None:
    card = ModelCard.load(saved / "README.md")
    assert (card.data.license, card.data.tags) == ("mit", ["zoo", "lines", "estimator"])
    assert 'estimator = zoo.load("hf-hub:OWNER/NAME")' in card.text
    assert "| `power` | `2` |" in card.text


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12).reshape(3, 4)[:, ::2],
        np.arange(3.0).astype(">f8"),
        np.array(2.5),
        np.zeros((0, 4)),
        np.array([True, False]),
        np.array([1, 2], dtype=np.uint8),
        np.array([np.nan, np.inf, -0.0]),
    ],
)
def test_arrays_of_any_layout_come_back_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, array: np.ndarray
) -> None:
    fitted, seen = line(), {}
    monkeypatch.setattr(type(fitted), "get_state", lambda self, skops: ({"a": array}, {}))
    monkeypatch.setattr(type(fitted), "set_state", lambda self, it, *_, **__: seen.update(it))
    zoo.load(zoo.save(fitted, tmp_path / "saved"))
    assert seen["a"].shape == array.shape
    assert np.array_equal(seen["a"], array, equal_nan=array.dtype.kind == "f")
    assert seen["a"].dtype == array.dtype.newbyteorder("=")


def test_values_without_arrays_are_a_state_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, seen = line(), []
    monkeypatch.setattr(type(fitted), "get_state", lambda self, skops: ({}, {"mean": 2}))
    monkeypatch.setattr(type(fitted), "set_state", lambda self, *it, **_: seen.extend(it))
    zoo.load(zoo.save(fitted, tmp_path / "saved"))
    assert seen == [{}, {"mean": 2}]


def test_an_unfitted_estimator_is_its_configuration(tmp_path: Path) -> None:
    folder = zoo.save(line(), tmp_path / "saved")
    assert names(folder) == SAVED
    zoo.save(zoo.load("line", columns=["b"]), folder)
    assert names(folder) == {"config.json", "README.md"}
    back = zoo.load(folder)
    assert back.columns == ["b"]
    assert not hasattr(back, "coef_")
    assert back.zoo.weights is None


def test_the_parameters_of_now_are_written_and_not_those_of_loading(tmp_path: Path) -> None:
    fitted = line().set_params(power=np.int64(3), columns=("a",)).fit(X, Y)
    back = zoo.load(zoo.save(fitted, tmp_path / "saved"))
    assert (back.power, back.columns) == (3, ["a"])
    assert np.array_equal(back.predict(X), fitted.predict(X))


def test_without_pretrained_it_is_unfitted_and_of_the_same_configuration(saved: Path) -> None:
    back = zoo.load(saved, pretrained=False)
    assert back.power == 2
    assert not hasattr(back, "coef_")


def test_parameters_given_anew_win(saved: Path) -> None:
    back = zoo.load(saved, columns=["c"])
    assert (back.columns, back.zoo.config["columns"]) == (["c"], ["c"])
    assert hasattr(back, "coef_")
    assert "takes no argument 'colums'. Did you mean columns?" in unreadable(
        saved, ConfigError, colums=["c"]
    )


def test_torch_is_not_imported_to_save_and_load_an_estimator(site: Site, saved: Path) -> None:
    code = (
        "import sys, zoo; zoo.save(zoo.load(sys.argv[1]), sys.argv[1] + '2'); "
        "zoo.load(sys.argv[1] + '2'); sys.exit('torch' in sys.modules)"
    )
    assert site.python(code, str(saved)).returncode == 0


def test_an_estimator_takes_no_device_and_no_dtype(saved: Path) -> None:
    import torch

    for given in ({"device": "cpu"}, {"dtype": torch.float32}):
        for pretrained in (True, False):
            message = unreadable(saved, ConfigError, pretrained=pretrained, **given)
            assert message == "lines/line is an estimator, which takes no device and no dtype."


# The configuration


def test_what_a_factory_does_not_take_must_be_as_it_makes_it(tmp_path: Path) -> None:
    fitted = zoo.load("squared", columns=["a"]).fit(X, Y)
    back = zoo.load(zoo.save(fitted, tmp_path / "saved"))
    assert (back.power, back.columns) == (2, ["a"])
    assert back.zoo.config == {"columns": ["a"]}
    message = refused(fitted.set_params(power=3), tmp_path / "b")
    assert message.startswith("this Line has power=3, but lines/squared makes it with 2")


def test_a_factory_that_takes_anything_gets_every_parameter(tmp_path: Path) -> None:
    fitted = zoo.load("any-line").set_params(power=2).fit(X, Y)
    back = zoo.load(zoo.save(fitted, tmp_path / "saved"))
    assert np.array_equal(back.predict(X), fitted.predict(X))
    assert back.zoo.config == {"power": 2, "columns": None, "base": None}


def test_one_that_zoo_load_did_not_make_needs_its_name(tmp_path: Path) -> None:
    import zoo_lines_pkg.model

    fitted = zoo_lines_pkg.model.Line(power=1).fit(X, Y)
    assert "pass name=" in refused(fitted, tmp_path / "a")
    back = zoo.load(zoo.save(fitted, tmp_path / "a", name="a-line"))
    assert (back.power, back.zoo.name) == (1, "lines/line")
    assert "lines/ridge is a Ridge; got an object of type Line." in refused(
        fitted, tmp_path / "b", name="ridge"
    )
    assert "lines/line is a Line; got an object of type dict." in refused(
        {}, tmp_path / "b", name="line"
    )
    assert "this Line has power=1, but lines/line makes it with 3" in refused(
        fitted, tmp_path / "b", name="line", config={"power": 3}
    )


def test_a_parameter_that_is_not_json_is_named_and_skops_carries_it(tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge

    fitted = line(base=Ridge(alpha=3.0).fit(X, Y))
    message = refused(fitted, tmp_path / "saved")
    assert message.startswith(
        "this Line cannot be saved so: its parameters['base'] is Ridge(alpha=3.0)"
    )
    assert message.endswith("Pass skops=True to have skops write what JSON does not have.")
    assert not (tmp_path / "saved").exists()
    back = zoo.load(zoo.save(fitted, tmp_path / "saved", skops=True))
    assert "base" not in back.zoo.config
    assert np.array_equal(back.base.predict(X), fitted.base.predict(X))
    assert np.array_equal(back.predict(X), fitted.predict(X))
    unfitted = zoo.load("line", base=Ridge(alpha=3.0))
    message = refused(unfitted, tmp_path / "b", skops=True)
    assert "this Line cannot be saved: its parameters['base'] is Ridge(alpha=3.0)" in message


# What cannot be saved


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (({"a": np.array(["text"])}, {}), "what this Line learnt cannot be written: "),
        (({"a": np.array([object()])}, {}), "what this Line learnt cannot be written: "),
        (({"a": [1.0]}, {}), "what this Line learnt cannot be written: "),
        (({}, {"a": float("nan")}), "get_state's values['a'] is nan, a float"),
        (({}, {"a": {1}}), "get_state's values['a'] is {1}, a set"),
        (({}, {1: 1}), "get_state's values has the key 1"),
        ((None), "get_state of this Line failed: cannot unpack"),
        (({}, {}, {}), "get_state of this Line failed: too many values to unpack"),
    ],
)
def test_a_state_that_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Any, message: str
) -> None:
    fitted = line()
    monkeypatch.setattr(type(fitted), "get_state", lambda self, skops: state)
    assert message in refused(fitted, tmp_path / "a" / "saved")
    assert not (tmp_path / "a").exists()


def test_a_get_state_that_fails_is_the_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = line()
    for error, message in (
        (KeyError("coef"), "get_state of this Line failed: 'coef'."),
        (SaveError("base is a Forest."), "this Line cannot be saved: base is a Forest."),
    ):

        def fail(self: Any, *, skops: bool, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(type(fitted), "get_state", fail)
        assert refused(fitted, tmp_path / "saved") == message


def test_a_disk_that_is_full_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = zoo.save(line(), tmp_path / "saved")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left on device" in refused(line(power=1), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# A file that anyone may have written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"names": ["a", "b", "c"], "loss": NaN}', "NaN is not JSON"),
        ('{"names": ["a", "b", "c"], "loss": -Infinity}', "-Infinity is not JSON"),
        ('{"names": ["a", "b", "c"], "loss": 1e999}', "its state['loss'] is inf"),
        ("[" * 100_000, "recursion"),
        ("{", "Expecting"),
        ("[1]", "its state is [1]; expected a mapping"),
        ("{}", "Line cannot take what model.safetensors holds: 'names'"),
        ('{"names": 5}', "Line cannot take what model.safetensors holds: object of type 'int'"),
    ],
)
def test_values_that_are_not_of_this_estimator_are_refused(
    saved: Path, text: str, message: str
) -> None:
    assert message in unreadable(rewritten(saved, text))


def test_arrays_that_do_not_fit_are_refused(saved: Path) -> None:
    message = unreadable(rewritten(saved, coef=np.ones(5)), WeightsMismatchError)
    assert message == "coef has the shape (5,); names are 3."
    assert "'coef'" in unreadable(rewritten(saved, coef=None))


def test_a_damaged_file_is_refused(saved: Path) -> None:
    file = saved / "model.safetensors"
    whole = file.read_bytes()
    for content in (b"", b"\x80\x04N.", whole[:-3], whole[:20], b"\xff" * 64):
        file.write_bytes(content)
        assert "does not hold what zoo.save writes of an estimator" in unreadable(saved)
    save_file({"coef": np.ones(3)}, file)
    assert "'state'" in unreadable(saved)
    file.unlink()
    assert "has no model.safetensors" in unreadable(saved)
    file.mkdir()
    assert "has no model.safetensors" in unreadable(saved)


def test_an_index_of_shards_is_none_of_an_estimators(saved: Path) -> None:
    index = saved / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"coef": "model.safetensors"}}))
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"tensors": index.name}))
    assert "does not hold what zoo.save writes of an estimator" in unreadable(saved)


def test_one_without_skops_cannot_make_the_reader_use_it(saved: Path) -> None:
    from zoo_core.estimators import skops_bytes

    rewritten(saved, coef=None, skops=skops_bytes(line()))
    assert "Line cannot take what model.safetensors holds: 'coef'" in unreadable(saved)


# A stranger's estimator


def test_a_plain_estimator_is_written_whole_when_the_user_says_so(tmp_path: Path) -> None:
    fitted = zoo.load("ridge", alpha=2.0).fit(X, Y)
    message = refused(fitted, tmp_path / "saved")
    assert message.startswith("this Ridge has no get_state and set_state")
    assert "pass skops=True" in message
    assert not (tmp_path / "saved").exists()
    message = refused(fitted, tmp_path / "saved", skops=True, config={"alpha": 7.0})
    assert "this Ridge has alpha=2.0, but lines/ridge makes it with 7.0" in message
    folder = zoo.save(fitted, tmp_path / "saved", skops=True)
    assert names(folder) == SAVED
    assert fitted.zoo.name == "lines/ridge"
    back = zoo.load(folder)
    assert np.array_equal(back.predict(X), fitted.predict(X))
    assert back.zoo.config["alpha"] == 2.0
    assert back.zoo.name == "lines/ridge"
    changed = zoo.load(folder, alpha=5.0)
    assert (changed.alpha, changed.zoo.config["alpha"]) == (5.0, 5.0)
    assert not hasattr(zoo.load(folder, pretrained=False), "coef_")


def test_types_that_are_not_trusted_are_named(tmp_path: Path) -> None:
    fitted = zoo.load("forest").fit(X, Y)
    folder = zoo.save(fitted, tmp_path / "saved", skops=True)
    message = unreadable(folder)
    assert message == (
        f"the file holds types that skops does not trust: {TREE}. If you trust who made it, pass "
        f"trusted=['{TREE}']."
    )
    assert f"does not trust: {TREE}." in unreadable(folder, trusted=["sklearn.tree._tree"])
    for trusted in ([TREE], (TREE, "another.Type")):
        back = zoo.load(folder, trusted=trusted)
        assert np.array_equal(back.predict(X), fitted.predict(X))
    for wrong in (TREE, True, None, {TREE}):
        assert "expected a list of types' full names" in unreadable(
            folder, ConfigError, trusted=wrong
        )


def test_a_pipeline_that_a_factory_makes_is_written_whole(tmp_path: Path) -> None:
    fitted = zoo.load("two-steps", intercept=False).fit(X, Y)
    folder = zoo.save(fitted, tmp_path / "saved", skops=True)
    assert json.loads((folder / "config.json").read_text())["config"] == {"intercept": False}
    assert np.array_equal(zoo.load(folder).predict(X), fitted.predict(X))
    assert "Invalid parameter 'intercept'" in unreadable(folder, ConfigError, intercept=True)


def test_bytes_that_are_not_this_estimators_are_refused(tmp_path: Path) -> None:
    from sklearn.linear_model import Lasso

    from zoo_core.estimators import skops_bytes

    folder = zoo.save(zoo.load("ridge").fit(X, Y), tmp_path / "saved", skops=True)
    good = load_file(folder / "model.safetensors")["skops"]
    other = skops_bytes(Lasso())
    assert "holds a Lasso; expected a Ridge." in unreadable(rewritten(folder, skops=other))
    for bad in (good[:-30], np.zeros(3, np.uint8), np.ones(4), np.zeros(0, np.uint8)):
        assert "skops cannot read the file" in unreadable(rewritten(folder, skops=bad))
    rewritten(folder, skops=good, coef=np.ones(3))
    assert "holds coef, skops; expected skops" in unreadable(folder)
    assert "holds nothing; expected" in unreadable(rewritten(folder, skops=None, coef=None))


def test_code_in_skops_bytes_is_never_run(tmp_path: Path) -> None:
    from functools import partial

    folder = zoo.save(zoo.load("ridge").fit(X, Y), tmp_path / "saved", skops=True)
    from zoo_core.estimators import skops_bytes

    ran = tmp_path / "ran"
    rewritten(folder, skops=skops_bytes(partial(Path.touch, ran)))
    assert "types that skops does not trust: " in unreadable(folder)
    assert not ran.exists()


def test_skops_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    fitted = zoo.load("ridge").fit(X, Y)
    folder = zoo.save(fitted, tmp_path / "saved", skops=True)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    need = "this needs skops, which is not installed: pip install 'zoo-core[skops]'."
    assert refused(fitted, tmp_path / "b", skops=True) == need
    assert unreadable(folder, ConfigError) == need
    zoo.load(zoo.save(line(), tmp_path / "c"))  # needs no skops


@pytest.mark.parametrize("skops", [None, 1, "yes"])
def test_skops_is_true_or_false(tmp_path: Path, skops: Any) -> None:
    assert "expected True or False" in refused(line(), tmp_path / "saved", skops=skops)


# From elsewhere


def bundle(site: Site, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Gives the card `line` the fitted weights `demo`."""
    folder = site.home / "zoo_weights"
    monkeypatch.setattr("importlib.resources.files", {"zoo_weights": folder}.__getitem__)
    file = zoo.save(line(columns=["a"]), folder / "line") / "model.safetensors"
    stated = {
        "tag": "demo",
        "source": "bundled://line/model.safetensors",
        "license": "mit",
        "config": {"columns": ["a"]},
        "sha256": sha256_of(file),
    } | fields
    site.forget()
    code = PLUGIN.replace("WEIGHTS", f"(Weights(**{stated!r}),)")
    (site.path / "zoo_lines_pkg" / "plugin.py").write_text(code)


def test_weights_that_a_card_lists_give_a_fitted_estimator(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(site, monkeypatch)
    for name in ("line.demo", "line"):
        back = zoo.load(name)
        assert np.array_equal(back.predict(X), line().predict(X))
        assert (back.columns, back.zoo.weights.tag) == (["a"], "demo")
    assert not hasattr(zoo.load("line", pretrained=False), "coef_")


def test_weights_of_another_digest_or_with_a_converter_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(site, monkeypatch, sha256="0" * 64)
    with pytest.raises(DigestError):
        zoo.load("line.demo")
    bundle(site, monkeypatch, converter="zoo_lines_pkg.model:convert")
    with pytest.raises(PluginError, match="its weights take no converter"):
        zoo.load("line.demo")


def test_what_is_pushed_loads_back(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    fitted = line(columns=["a"])
    zoo.push(fitted, "tester/line", token=hub.token)
    back = zoo.load("hf-hub:tester/line")
    assert np.array_equal(back.coef_, fitted.coef_)
    assert back.columns == ["a"]
    forest = zoo.load("forest").fit(X, Y)
    zoo.push(forest, "tester/forest", token=hub.token, skops=True)
    back = zoo.load("hf-hub:tester/forest", trusted=[TREE])
    assert np.array_equal(back.predict(X), forest.predict(X))
    zoo.push(zoo.load("line", power=7), "tester/line", token=hub.token)
    back = zoo.load("hf-hub:tester/line")
    assert (back.power, hasattr(back, "coef_")) == (7, False)
