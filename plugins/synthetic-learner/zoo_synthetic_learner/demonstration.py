"""A fitted learner to try: H2SL on the wages of US states, with an effect that we put there.

    python -m zoo_synthetic_learner.demonstration FOLDER [--data DIR]

writes it to FOLDER as `zoo.load("h2sl-cps")` finds it. Outcomes and covariates are the real ones of
`datasets.cps_panel`; 15 of 50 states are treated from 2009 on, in seed 0's draw.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from zoo_synthetic_learner.datasets import SemiSynthetic, cps_panel, semi_synthetic_panel
from zoo_synthetic_learner.panel import Floats

NAME = "synthetic-learner/h2sl-cps"
DESCRIPTION = (
    "Fitted to log weekly wages of US states, 1979-2018 (Current Population Survey, from "
    "synth-inference/synthdid, BSD-3-Clause), "
    "with an effect put there that is known: 0.05 + 0.05 urate - 0.03 hours, in standardised "
    "covariates, on 15 states from 2009 on; the panel is in the file."
)
PERIODS_BEFORE = 30
NUM_TREATED = 15


def true_effect(covariates: Floats) -> Floats:
    """Returns tau [N] for standardised unemployment rates and hours [N, 2]."""
    return 0.05 + 0.05 * covariates[:, 0] - 0.03 * covariates[:, 1]


def panel(root: str | os.PathLike[str] | None = None, seed: int = 0) -> SemiSynthetic:
    """Returns wages of 50 states in 40 years, with the effect in treated cells.

    Args:
        root: the folder of data, see `datasets.load_cps`.
        seed: which states are treated.
    """
    outcome, covariates = cps_panel(root)
    return semi_synthetic_panel(outcome, covariates, true_effect, NUM_TREATED, seed, PERIODS_BEFORE)


def write(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Path:
    """Fits the learner to `panel` and writes it to a folder, which is returned."""
    from zoo_core.loading import load
    from zoo_core.saving import save

    data = panel(root)
    learner: Any = load(NAME, pretrained=False)
    learner.fit(data.Y, data.D, data.S)
    treated = data.treated
    metrics = {
        "RMSE of the effect, all states": -learner.score(data.S, data.tau),
        "RMSE of the effect, treated states": -learner.score(
            data.S.iloc[treated], data.tau[treated]
        ),
        "ATT": learner.att_,
        "true ATT": float(data.tau[treated].mean()),
    }
    return save(
        learner,
        path,
        license="bsd-3-clause",
        metrics={name: round(value, 4) for name, value in metrics.items()},
        description=DESCRIPTION,
    )


def main() -> None:
    """Writes the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", help="the folder that holds panels/; or ZOO_DATA")
    given = parser.parse_args()
    print(write(given.folder, given.data))


if __name__ == "__main__":
    main()
