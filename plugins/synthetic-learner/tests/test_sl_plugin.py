"""What the plugin registers: every card gives an estimator that learns, and is saved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sl_data import small_panel

import zoo
from zoo_core.interfaces import Estimator
from zoo_synthetic_learner import plugin

CARDS = {card.name: card for card in plugin.zoo_cards()}
UNFITTED = sorted(name for name, card in CARDS.items() if not card.weights)


def test_the_names_are_those_of_the_readme() -> None:
    assert {
        "did-t",
        "h1sl",
        "h2sl",
        "h2sl-cps",
        "matrix-completion",
        "panel-s-learner",
        "panel-t-learner",
        "panel-x-learner",
        "sc",
        "sdid",
    } == set(CARDS)
    assert set(CARDS) == set(zoo.list(plugin="synthetic-learner"))
    text = (Path(plugin.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert [name for name in CARDS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", UNFITTED)
def test_every_learner_learns_is_cloned_and_saved(name: str, tmp_path: Path) -> None:
    panel = small_panel(5, N=20, T=16, T0=11, m=7, d=2, labelled=True)
    learner = zoo.load(name)
    assert isinstance(learner, Estimator)
    with pytest.raises(AttributeError):
        _ = learner.att_
    learner._fit(panel)
    assert clone(learner).get_params() == learner.get_params()
    assert not hasattr(clone(learner), "learned_")
    loaded = zoo.load(zoo.save(learner, tmp_path / "mine"))
    assert type(loaded) is type(learner)
    np.testing.assert_array_equal(loaded.effect(), learner.effect())
    assert loaded.att_ == learner.att_
    again = type(learner).from_pretrained(tmp_path / "mine")
    assert again.panel_.units.tolist() == panel.units.tolist()
    learner.save_pretrained(tmp_path / "other")
    assert (tmp_path / "other" / "model.safetensors").is_file()


def test_a_learner_that_no_card_made_is_saved_under_its_card(tmp_path: Path) -> None:
    for name in UNFITTED:
        made = type(zoo.load(name))()
        assert plugin.card_of(type(made)) == name
    made = made._fit(small_panel(5, N=20, T=16, T0=11, m=7))
    made.save_pretrained(tmp_path / "it")
    assert zoo.load(tmp_path / "it").att_ == made.att_


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys, zoo; zoo.list(plugin='synthetic-learner'); import zoo_synthetic_learner; "
        "print([m for m in ('torch', 'sklearn', 'numpy', 'pandas') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_learning_needs_no_extra() -> None:
    code = (
        "import sys, zoo; zoo.load('h2sl');"
        "print([m for m in ('torch', 'matplotlib', 'skops', 'dask') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
