"""How well learners find an effect that is known, ours and those of econml and causalml.

    python plugins/synthetic-learner/benchmarks/meta_learners.py [--data DIR] [--seeds 40]

Real outcomes of states, with an effect put in (`semi_synthetic_panel`): log wages (CPS, 50 states,
30 years before and 10 with treatment of 15) and cigarette sales (38 states, 19 and 12 years, 12
treated). Peers take a state as a row. They are given each state's mean outcome with treatment
("means"), as a learner for independent rows would be, and its change from the mean before
("changes"), the best that rows can do about the past. Base learners are linear regressions,
propensities logistic regressions within [0.05, 0.95], for all. CausalForestDML has forests of its
own.

All methods take the same data of each seed in one process, in turn. Root mean squared errors are
means over seeds, with their standard error; seconds are medians of fitting and asking once, of the
process. Peers that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LinearRegression, LogisticRegression

from zoo_synthetic_learner import (
    H1SL,
    H2SL,
    DiDT,
    PanelSLearner,
    PanelTLearner,
    PanelXLearner,
    SyntheticControl,
)
from zoo_synthetic_learner.datasets import (
    SemiSynthetic,
    cps_panel,
    semi_synthetic_panel,
    smoking_panel,
)

Floats = npt.NDArray[np.float64]
Method = Callable[[SemiSynthetic], Floats]
"""From a panel to tau [N] of its units."""
PEERS = ("econml", "causalml")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ZOO_DATA"))
    parser.add_argument("--seeds", type=int, default=40)
    given = parser.parse_args()
    if given.data is None:
        parser.error("give the folder that holds panels/ with --data or ZOO_DATA")
    installed = [name for name in PEERS if importlib.util.find_spec(name)]
    absent = [name for name in PEERS if name not in installed]
    named = ("numpy", "scikit-learn", *installed)
    print(", ".join(f"{name} {metadata.version(name)}" for name in named), end="; ")
    print(f"{given.seeds} seeds" + "".join(f"; {name} is not installed" for name in absent))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for title, panel in (("wages", wages), ("cigarettes", cigarettes)):
        compare(title, partial(panel, given.data), dict(methods(installed)), given.seeds)


def wages(root: str, seed: int) -> SemiSynthetic:
    """Returns log wages of states with an effect."""
    outcome, covariates = cps_panel(root)
    return semi_synthetic_panel(
        outcome, covariates, lambda s: 0.05 + 0.05 * s[:, 0] - 0.03 * s[:, 1], 15, seed, T0=30
    )


def cigarettes(root: str, seed: int) -> SemiSynthetic:
    """Returns packs a head in states with an effect."""
    outcome, covariates = smoking_panel(root)
    return semi_synthetic_panel(
        outcome, covariates, lambda s: -10 - 6 * s[:, 0] + 4 * s[:, 1], 12, seed, T0=19
    )


def methods(installed: list[str]) -> Iterator[tuple[str, Method]]:
    """Yields what is compared, by name."""
    for synthesizer in ("simplex", "auto"):
        for learner in (H1SL, H2SL):
            name = f"{learner.__name__}, {synthesizer}"
            yield name, partial(of_panel, partial(learner, synthesizer, base="linear"))
    yield "DiD-T", partial(of_panel, partial(DiDT, "linear"))
    for kind, learner in (("T", PanelTLearner), ("S", PanelSLearner), ("X", PanelXLearner)):
        yield f"{kind}-learner, means", partial(of_panel, partial(learner, "linear"))
    yield "synthetic control, one effect for all", partial(of_panel, SyntheticControl)
    peers: dict[str, Callable[..., Floats]] = {}
    if "econml" in installed:
        peers |= {f"econml {kind}": partial(of_econml, kind) for kind in ECONML}
    if "causalml" in installed:
        peers |= {f"causalml Base{kind}Regressor": partial(of_causalml, kind) for kind in "TSX"}
    for name, peer in peers.items():
        for what in ("means", "changes"):
            yield f"{name}, {what}", partial(of_rows, peer, what)


def of_panel(learner: Callable[[], Any], data: SemiSynthetic) -> Floats:
    """tau by a learner of ours."""
    fitted = learner().fit(data.Y, data.D, data.S)
    return np.asarray(fitted.effect(data.S))


def of_rows(peer: Callable[..., Floats], what: str, data: SemiSynthetic) -> Floats:
    """tau by a peer that is given a row for each unit."""
    outcome, start = data.Y.to_numpy(), int(data.D.max())
    row = outcome[:, start:].mean(axis=1)
    if what == "changes":
        row = row - outcome[:, :start].mean(axis=1)
    return peer(row, (data.D > 0).astype(np.int64), data.S.to_numpy())


class Clipped(LogisticRegression):
    """A logistic regression whose probabilities stay within [0.05, 0.95]."""

    def predict_proba(self, X: Floats) -> Floats:  # noqa: N803 - scikit-learn's name
        """Returns [n, 2]."""
        return np.clip(super().predict_proba(X), 0.05, 0.95)


def _dml(name: str, **options: Any) -> Any:
    import econml.dml

    return getattr(econml.dml, name)(
        model_y=LinearRegression(),
        model_t=LogisticRegression(),
        discrete_treatment=True,
        random_state=0,
        **options,
    )


def _meta(name: str, **options: Any) -> Any:
    import econml.metalearners

    return getattr(econml.metalearners, name)(**options)


ECONML: dict[str, Callable[[], Any]] = {
    "TLearner": lambda: _meta("TLearner", models=LinearRegression()),
    "SLearner": lambda: _meta("SLearner", overall_model=LinearRegression()),
    "XLearner": lambda: _meta("XLearner", models=LinearRegression(), propensity_model=Clipped()),
    "LinearDML": lambda: _dml("LinearDML"),
    "CausalForestDML": lambda: _dml("CausalForestDML", n_estimators=100, n_jobs=1),
}


def of_econml(kind: str, outcome: Floats, treated: Floats, covariates: Floats) -> Floats:
    """tau by an estimator of econml."""
    learner = ECONML[kind]().fit(outcome, treated, X=covariates)
    return np.asarray(learner.effect(covariates)).reshape(-1)


def of_causalml(kind: str, outcome: Floats, treated: Floats, covariates: Floats) -> Floats:
    """tau by a meta-learner of causalml."""
    from causalml.inference import meta

    learner = getattr(meta, f"Base{kind}Regressor")(learner=LinearRegression(), control_name=0)
    asked = {"X": covariates}
    if kind == "X":
        asked["p"] = Clipped().fit(covariates, treated).predict_proba(covariates)[:, 1]
    learner.fit(treatment=treated, y=outcome, **asked)
    return np.asarray(learner.predict(**asked)).reshape(-1)


def compare(
    title: str, panel: Callable[[int], SemiSynthetic], competing: dict[str, Method], seeds: int
) -> None:
    """Prints errors over all and over treated units, and seconds."""
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in competing}
    seconds: dict[str, list[float]] = {name: [] for name in competing}
    for seed in range(seeds):
        data = panel(seed)
        for name, method in competing.items():
            began = time.process_time()
            found = method(data)
            seconds[name].append(time.process_time() - began)
            squared = (found - data.tau) ** 2
            errors[name].append(
                (float(np.sqrt(squared.mean())), float(np.sqrt(squared[data.treated].mean())))
            )
    print(f"\n{title}\n\n| method | RMSE, all units | RMSE, treated units | seconds |")
    print("|---|---|---|---|")
    for name in competing:
        both = np.array(errors[name])
        mean = both.mean(axis=0)
        spread = both.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.full(2, np.nan)
        cells = [f"{value:.3g} ± {error:.1g}" for value, error in zip(mean, spread, strict=True)]
        print(f"| {name} | {' | '.join(cells)} | {statistics.median(seconds[name]):.4f} |")


if __name__ == "__main__":
    main()
