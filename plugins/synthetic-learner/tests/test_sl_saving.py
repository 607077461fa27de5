"""A fitted learner, saved and loaded, answers everything as before."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import HuberRegressor, LassoCV, LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sl_data import fit_frame_arguments, frame_of, matrices_of, small_panel

import zoo
from zoo_core.errors import CheckpointError, ConfigError, SaveError, ZooWarning
from zoo_synthetic_learner.baselines.constant import (
    MatrixCompletionATT,
    SyntheticControl,
    SyntheticDiD,
)
from zoo_synthetic_learner.baselines.meta_learners import (
    DiDT,
    PanelSLearner,
    PanelTLearner,
    PanelXLearner,
)
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.h2sl import H2SL
from zoo_synthetic_learner.synthesizers import DiD

NEW = np.random.default_rng(3).normal(size=(4, 2))
TREE = "sklearn.tree._tree.Tree"
FIT = {"N": 18, "m": 7, "labelled": True}
TABLES = (
    "ite_", "counterfactual_", "att_by_time_", "weights_", "control_weights_", "intercept_",
    "pre_rmse_", "synthesizer_choice_",
)  # fmt: skip


def fitted(learner: Any, **panel: Any) -> Any:
    """The learner, fitted to a small panel; what it has to say of it is not this file's matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        return learner.fit_frame(
            frame_of(made := small_panel(**FIT | panel)), **fit_frame_arguments(made)
        )


def table(learner: Any, name: str) -> Any:
    try:
        return getattr(learner, name)
    except AttributeError as error:
        return str(error)


def check_same(one: Any, other: Any) -> None:
    """Asserts that two learners give the same answers to the bit, with the same labels."""
    assert type(one) is type(other)
    assert one.get_params().keys() == other.get_params().keys()
    new = NEW[:, : len(one.panel_.covariate_names)]
    for S in (None, new, pd.DataFrame(new, columns=one.panel_.covariate_names)):
        first, second = one.effect(S), other.effect(S)
        assert type(first) is type(second)
        assert np.array_equal(first, second)
    for name in TABLES:
        first, second = table(one, name), table(other, name)
        if isinstance(first, pd.DataFrame):
            pd.testing.assert_frame_equal(first, second, check_exact=True, check_freq=True)
        elif isinstance(first, pd.Series):
            pd.testing.assert_series_equal(first, second, check_exact=True)
        else:
            assert first == second
    assert (one.att_, one.notes_, one.n_features_in_) == (
        other.att_,
        other.notes_,
        other.n_features_in_,
    )
    assert str(one.summary()) == str(other.summary())


LEARNERS = [
    H1SL(),
    H1SL("ridge", base="auto", weights="fit", time_weights=True),
    H1SL("simplex", pool="time", cross_fit=3),
    H2SL(),
    H2SL("did", base="linear", interactions=True, combine="half", cross_fit=3),
    H2SL("ridge", pool="time", combine="precision"),
    H2SL("simplex", combine="learned", balance_covariates="both"),
    PanelSLearner(),
    PanelTLearner(),
    PanelXLearner(),
    DiDT(base="auto"),
    SyntheticControl(),
    SyntheticDiD(),
    MatrixCompletionATT(),
]


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda it: f"{it}"[:60])
def test_every_learner_comes_back_to_the_bit(learner: Any, tmp_path: Path) -> None:
    before = fitted(clone(learner))
    before.save_pretrained(tmp_path / "saved")
    check_same(before, zoo.load(tmp_path / "saved"))
    check_same(before, type(learner).from_pretrained(tmp_path / "saved"))


@pytest.mark.parametrize(
    ("learner", "panel"),
    [
        (H1SL("did"), {"staggered": True}),
        (H2SL("did"), {"staggered": True, "m": 10, "N": 24}),
        (PanelXLearner(), {"staggered": True}),
        (H1SL("did", pool="cells"), {"time_varying": True}),
        (H1SL("did"), {"d": 0}),
        (H2SL("did"), {"d": 0}),
        (H1SL("did"), {"missing": 0.15}),
    ],
    ids=str,
)
def test_every_kind_of_panel_comes_back(
    learner: Any, panel: dict[str, Any], tmp_path: Path
) -> None:
    before = fitted(clone(learner), **panel)
    before.save_pretrained(tmp_path / "saved")
    check_same(before, zoo.load(tmp_path / "saved"))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_learners_of_scikit_learn_come_back(tmp_path: Path) -> None:
    chooses = LogisticRegressionCV(Cs=3, cv=2)
    bases = (HuberRegressor(), make_pipeline(StandardScaler(), LassoCV(cv=3)))
    for number, base in enumerate(bases):
        learner = H2SL("did", base=base, propensity=make_pipeline(StandardScaler(), chooses))
        before = fitted(learner)
        with pytest.raises(SaveError, match=r"\['base'\] is .*Pass skops=True"):
            before.save_pretrained(tmp_path / "refused")
        before.save_pretrained(tmp_path / str(number), skops=True)
        back = zoo.load(tmp_path / str(number))  # nothing but arrays, so nothing to trust
        check_same(before, back)
        assert str(back.base) == str(base)


def test_a_forest_is_written_by_skops_and_needs_trust(tmp_path: Path) -> None:
    pytest.importorskip("skops")
    before = fitted(H1SL("did", base=RandomForestRegressor(3, random_state=0)))
    before.save_pretrained(tmp_path / "saved", skops=True)
    with pytest.raises(CheckpointError, match=f"does not trust: {TREE}"):
        zoo.load(tmp_path / "saved")
    check_same(before, zoo.load(tmp_path / "saved", trusted=[TREE]))
    check_same(before, H1SL.from_pretrained(tmp_path / "saved", trusted=[TREE]))


def test_a_synthesizer_that_is_an_object_comes_back(tmp_path: Path) -> None:
    before = fitted(H1SL(DiD(base="last")))
    before.save_pretrained(tmp_path / "saved", skops=True)
    back = zoo.load(tmp_path / "saved")
    assert back.synthesizer == DiD(base="last")
    check_same(before, back)


def test_what_refits_and_draws_works_as_before(tmp_path: Path) -> None:
    before = fitted(H2SL("did", random_state=3), N=24, m=8)
    before.save_pretrained(tmp_path / "saved")
    back = zoo.load(tmp_path / "saved")
    for ask in (
        lambda it: it.placebo_time().effects,
        lambda it: np.array([each.att for each in it.placebo_space(n=4).placebos]),
        lambda it: np.array(it.effect_interval(NEW, n_boot=4)),
        lambda it: it.in_support(NEW),
    ):
        np.testing.assert_array_equal(ask(before), ask(back))
    lines = [each.plot_event_study().get_lines()[0].get_ydata() for each in (before, back)]
    assert np.array_equal(*lines)
    again = fitted(back, N=24, m=8)
    assert np.array_equal(again.effect(NEW), before.effect(NEW))


def test_the_folder_says_what_it_holds(tmp_path: Path) -> None:
    from safetensors import safe_open

    before = fitted(H2SL("did"))
    before.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["name"], config["config"]["synthesizer"]) == ("synthetic-learner/h2sl", "did")
    with safe_open(tmp_path / "model.safetensors", framework="numpy") as opened:
        names = set(opened.keys())
        state = json.loads(opened.metadata()["state"])
    assert names >= {
        "panel.outcome", "synth.treated.W", "synth.treated.c", "synth.control.W",
        "synth.control.c", "effect.treated.ridge.coef_", "effect.control.ridge.coef_",
        "propensity.logisticregression.coef_",
    }  # fmt: skip
    units = state["panel"]["fields"]["units"]["labels"]
    assert units["values"] == before.panel_.units.tolist()
    assert state["versions"]["numpy"] == np.__version__


def test_unfitted_learners_are_their_configuration(tmp_path: Path) -> None:
    H1SL("did", cross_fit=2).save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    back = H1SL.from_pretrained(tmp_path)
    assert (back.synthesizer, back.cross_fit, hasattr(back, "learned_")) == ("did", 2, False)


def test_another_learner_is_refused(tmp_path: Path) -> None:
    fitted(H1SL("did")).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="holds a H1SL, no H2SL"):
        H2SL.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    edited = config | {"name": "synthetic-learner/h2sl"}
    (tmp_path / "config.json").write_text(json.dumps(edited))
    with pytest.raises(CheckpointError, match="state is that of a H1SL; expected a H2SL"):
        zoo.load(tmp_path)


def test_a_state_that_is_refused_leaves_the_earlier_fit(tmp_path: Path) -> None:
    learner = fitted(H1SL("did"))
    arrays, values = learner.get_state()
    before = learner.effect(NEW)
    with pytest.raises(CheckpointError):
        learner.set_state(arrays, {**values, "panel": None})
    assert np.array_equal(learner.effect(NEW), before)


def test_matrices_without_labels_come_back(tmp_path: Path) -> None:
    before = H1SL("did").fit(*matrices_of(small_panel()))
    before.save_pretrained(tmp_path)
    check_same(before, zoo.load(tmp_path))
