"""Teen employment where minimum wages rose: cohorts with so few periods that nothing is learnt."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from zoo_core.errors import ZooWarning
from zoo_core.experiment import Context
from zoo_synthetic_learner.event_time import group_time
from zoo_synthetic_learner.experiments.pairs import Line, verdict
from zoo_synthetic_learner.h1sl import H1SL
from zoo_synthetic_learner.panel_files import load_mpdta, load_mpdta_reference

REPLICATES: Final = 200
TOLERANCE: Final = 1e-6
EFFECT: Final = "effect"
FALLEN_BACK: Final = "units that auto imputes by did"
TOLD: Final = "periods before treatment that its warnings name"
SLOPE: Final = "slope of tau(lpop)"
_SCENARIO: Final = "mpdta_nev_dr"
_COLUMNS: Final = {
    "unit": "county",
    "time": "year",
    "outcome": "lemp",
    "first_treated": "first_treated",
}


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Yields a row for each group-time effect, for what "auto" does, and for the slope."""
    root = context.data("panels").parent
    table = load_mpdta(root)
    yield from _effects(table, load_mpdta_reference(root))
    learner = H1SL("auto", base="linear")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ZooWarning)
        learner.fit_frame(table, **_COLUMNS, covariates=["lpop"])
    choices = learner.synthesizer_choice_
    yield _row(FALLEN_BACK, float((choices == "did").sum()), float(len(choices)))
    lengths = sorted({int(start) for start in learner.learned_.treated.start})  # type: ignore[union-attr]
    told = [
        length
        for length in lengths
        if any(
            f" are {length}, " in str(each.message) and "'did'" in str(each.message)
            for each in caught
        )
    ]
    yield _row(TOLD, float(len(told)), float(len(lengths)))
    yield _slope(learner, context)


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the effects are the reference's, and "auto" falls back and says so."""
    effects = [row for row in rows if row["quantity"] == EFFECT]
    most = max(row["off by"] for row in effects)
    lines = [
        Line(f"{len(effects)} group-time effects at most {most:.1g} off", most < TOLERANCE),
        *(
            Line(f"{quantity}: {row['estimate']:g} of {row['reference']:g}", row["off by"] == 0)
            for quantity in (FALLEN_BACK, TOLD)
            for row in rows
            if row["quantity"] == quantity
        ),
    ]
    slope = next(row for row in rows if row["quantity"] == SLOPE)
    holds, text = verdict(lines)
    shown = f"{slope['estimate']:.4f} [{slope['low']:.4f}, {slope['high']:.4f}]"
    return holds, f"{text}; {SLOPE} {shown}, whose truth is not known"


def _effects(table: pd.DataFrame, reference: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The last year before treatment is the base, as in the reference."""
    learner = H1SL("did", {"base": "last"}, base="constant")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZooWarning)
        learner.fit_frame(table, **_COLUMNS)
    found = group_time(learner).set_index(["cohort", "time"])["effect"]
    wanted = reference[reference["scenario"] == _SCENARIO]
    for group, year, att in wanted[["group", "year", "att"]].itertuples(index=False):
        if year >= group:
            yield _row(EFFECT, float(found[group, year]), float(att), int(group), int(year))


def _slope(learner: H1SL, context: Context) -> dict[str, Any]:
    """The difference of tau at lpop 1 and 0, tau being linear, with its 95 % interval."""
    found = learner.bootstrap(np.array([[0.0], [1.0]]), REPLICATES)
    slopes = found.effects[:, 1] - found.effects[:, 0]
    low, high = np.quantile(slopes, [0.025, 0.975])
    estimate = float(found.effect_estimate[1] - found.effect_estimate[0])
    context.note(
        f"{SLOPE}: {REPLICATES} resamples of counties, percentile interval of 95 %; lpop is the "
        "logarithm of population"
    )
    return _row(SLOPE, estimate, None) | {"low": float(low), "high": float(high)}


def _row(
    quantity: str,
    estimate: float,
    reference: float | None,
    group: int | None = None,
    year: int | None = None,
) -> dict[str, Any]:
    return {
        "quantity": quantity,
        "group": group,
        "year": year,
        "estimate": estimate,
        "reference": reference,
        "off by": None if reference is None else abs(estimate - reference),
        "low": None,
        "high": None,
    }
