"""Known numbers of California's tobacco programme, which the synthesizers have to reproduce.

Published: Arkhangelsky et al. 2021, table 1, and Abadie et al. 2010; others are exact solutions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sl_data import data_root

from zoo_synthetic_learner import H1SL, SyntheticControl, SyntheticDiD
from zoo_synthetic_learner.panel_files import load_california
from zoo_synthetic_learner.synthesizers import SDID, Task


@pytest.fixture(scope="module")
def frame() -> Any:
    return load_california(data_root("california_prop99.csv"))


def _fitted(learner: Any, frame: Any) -> Any:
    columns = dict(zip(("unit", "time", "outcome", "treatment"), frame.columns, strict=True))
    return learner.fit_frame(frame, **columns)


def test_difference_in_differences(frame: Any) -> None:
    assert _fitted(H1SL("did"), frame).att_ == pytest.approx(-27.349, abs=0.001)


def test_synthetic_control(frame: Any) -> None:
    sc = _fitted(SyntheticControl(), frame)
    assert sc.att_ == pytest.approx(-19.514, abs=0.01)
    weights = sc.weights_["California"]
    for state, weight in {
        "Utah": 0.394,
        "Montana": 0.232,
        "Nevada": 0.205,
        "Connecticut": 0.109,
        "New Hampshire": 0.045,
        "Colorado": 0.015,
    }.items():
        assert weights[state] == pytest.approx(weight, abs=0.001)
    assert (weights > 1e-4).sum() == 6
    assert sc.intercept_["California"] == 0
    assert sc.pre_rmse_["California"] == pytest.approx(1.656, abs=0.001)
    for year, gap in {1989: -8.44, 1995: -22.86, 2000: -26.60}.items():
        assert sc.ite_.loc["California", year] == pytest.approx(gap, abs=0.05)


def test_demeaned_synthetic_control(frame: Any) -> None:
    sc = _fitted(SyntheticControl(intercept=True), frame)
    assert sc.att_ == pytest.approx(-11.109, abs=0.02)
    assert sc.learned_.treated.gap[0, :19].mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("learner", [SyntheticDiD(), H1SL("sdid"), H1SL(SDID())])
def test_synthetic_difference_in_differences(learner: Any, frame: Any) -> None:
    sdid = _fitted(learner, frame)
    assert sdid.att_ == pytest.approx(-15.605, abs=0.01)
    treated = sdid.learned_.treated
    found = dict(zip(sdid.panel_.times, treated.time_weights[0], strict=True))
    for year, weight in {1986: 0.3665, 1987: 0.2065, 1988: 0.4271}.items():
        assert found[year] == pytest.approx(weight, abs=0.001)
    assert sum(found.values()) == pytest.approx(1)
    weights = sdid.weights_["California"]
    for state, weight in {"Nevada": 0.124, "New Hampshire": 0.105, "Connecticut": 0.078}.items():
        assert weights[state] == pytest.approx(weight, abs=0.001)


def test_the_penalty_of_sdids_weights(frame: Any) -> None:
    panel = _fitted(H1SL("did"), frame).panel_
    treated, never = panel.treated, panel.never_treated
    task = Task(
        donors=panel.outcome[never].T,
        targets=panel.outcome[treated, :19].T,
        fit=np.arange(19),
        start=19,
    )
    assert SDID().zeta(task) == pytest.approx(10.2262, abs=1e-4)
    # Four times the treated units have the square root of two times the penalty's root.
    assert SDID(num_treated=4).zeta(task) == pytest.approx(np.sqrt(2) * SDID().zeta(task))


def test_units_of_a_cohort_share_sdids_weights(frame: Any) -> None:
    columns = list(frame.columns)
    more = frame.copy()
    more.loc[more[columns[0]].isin(["Nevada", "Utah"]) & (more[columns[1]] >= 1989), "treated"] = 1
    sdid = _fitted(SyntheticDiD(), more)
    assert np.ptp(sdid.weights_.to_numpy(), axis=1).max() == 0
    panel = sdid.panel_
    mean = panel.outcome[panel.treated].mean(axis=0)
    pre = panel.outcome[panel.never_treated, :19]
    weights = sdid.weights_.iloc[:, 0].reindex(panel.units[panel.never_treated]).to_numpy()
    lambdas = sdid.learned_.treated.time_weights[0, :19]
    gap = mean - weights @ panel.outcome[panel.never_treated]
    assert sdid.att_ == pytest.approx(gap[19:].mean() - lambdas @ gap[:19])
    zeta = (3 * 12) ** 0.25 * np.diff(pre, axis=1).std(ddof=1)
    centred, target = pre - pre.mean(axis=1, keepdims=True), mean[:19] - mean[:19].mean()
    gradient = centred @ (weights @ centred - target) / 19 + zeta**2 * weights
    assert np.ptp(gradient[weights > 1e-6]) < 1e-6
    assert gradient.min() > gradient[weights > 1e-6].min() - 1e-6
