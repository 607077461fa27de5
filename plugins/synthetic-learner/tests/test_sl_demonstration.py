"""The fitted learner that comes along: it is fitted, right, and can be made again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo_synthetic_learner import demonstration


def test_it_is_fitted_and_near_the_truth_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_DATA", raising=False)
    learner = zoo.load("h2sl-cps")
    covariates = learner.panel_.covariates
    truth = 0.05 + 0.05 * covariates[:, 0] - 0.03 * covariates[:, 1]
    stated = learner.zoo.weights.metrics
    treated = learner.panel_.treated
    assert -learner.score(None, truth) == pytest.approx(
        stated["RMSE of the effect, all states"], abs=5e-5
    )
    assert -learner.score(covariates[treated], truth[treated]) == pytest.approx(
        stated["RMSE of the effect, treated states"], abs=5e-5
    )
    assert learner.att_ == pytest.approx(stated["ATT"], abs=5e-5)
    assert truth[treated].mean() == pytest.approx(stated["true ATT"], abs=5e-5)
    assert list(learner.panel_.times[learner.panel_.first_treated[treated]]) == [2009] * 15


def test_the_plain_learner_stays_unfitted() -> None:
    assert not hasattr(zoo.load("h2sl"), "learned_")
    assert not hasattr(zoo.load("h2sl-cps", pretrained=False), "learned_")


def test_it_is_made_again_from_the_data(tmp_path: Path) -> None:
    root = os.environ.get("ZOO_DATA")
    if not root or not (Path(root) / "panels" / "cps_states.csv").is_file():
        pytest.skip("needs panels/cps_states.csv below ZOO_DATA")
    made = zoo.load(demonstration.write(tmp_path / "made", root))
    shipped = zoo.load("h2sl-cps")
    np.testing.assert_array_equal(made.panel_.outcome, shipped.panel_.outcome)
    np.testing.assert_array_equal(made.panel_.first_treated, shipped.panel_.first_treated)
    np.testing.assert_allclose(made.weights_, shipped.weights_, atol=1e-9)
    np.testing.assert_allclose(made.effect(), shipped.effect(), atol=1e-9)
