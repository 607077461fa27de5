"""The cards of the synthetic learners and of what they are compared with."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core.card import Card, Paper, Weights
from zoo_core.experiment import Experiment
from zoo_core.hookspecs import hookimpl

PAPER = Paper(
    title="Heterogeneous Synthetic Learner for Panel Data",
    authors=("Ye Shen", "Runzhe Wan", "Hengrui Cai", "Rui Song"),
    venue="arXiv",
    year=2022,
    arxiv="2212.14580",
)
TASK = "tabular-regression"
_HERE = "zoo_synthetic_learner"
_LEARNERS = (
    ("h1sl", "h1sl:H1SL", "Effects by covariates in panels, treated units imputed from controls"),
    ("h2sl", "h2sl:H2SL", "Effects by covariates in panels, both groups imputed from each other"),
    ("did-t", "baselines.meta_learners:DiDT", "Changes regressed on covariates in each group"),
    (
        "panel-t-learner",
        "baselines.meta_learners:PanelTLearner",
        "T-learner of mean outcomes after treatment",
    ),
    (
        "panel-s-learner",
        "baselines.meta_learners:PanelSLearner",
        "S-learner of mean outcomes after treatment",
    ),
    (
        "panel-x-learner",
        "baselines.meta_learners:PanelXLearner",
        "X-learner of mean outcomes after treatment",
    ),
    ("sc", "baselines.constant:SyntheticControl", "Synthetic control: one effect for all"),
    (
        "sdid",
        "baselines.constant:SyntheticDiD",
        "Synthetic difference in differences: one effect for all",
    ),
    (
        "matrix-completion",
        "baselines.constant:MatrixCompletionATT",
        "Matrix completion with fixed effects: one effect for all",
    ),
)
_SEMI_SYNTHETIC = Weights(
    tag="semi-synthetic",
    source="bundled://h2sl-cps.semi-synthetic/model.safetensors",
    license="bsd-3-clause",
    sha256="639d65bc8d42eedbb0c572249028c7c0c37fdb007cfd914feed2cc2589800774",
    size=85254,
    metrics={
        "RMSE of the effect, all states": 0.0156,
        "RMSE of the effect, treated states": 0.0175,
        "ATT": 0.0936,
        "true ATT": 0.0909,
    },
    description="Fitted to log weekly wages of US states (Current Population Survey), with an "
    "effect put there that is known",
)


@hookimpl
def zoo_experiments() -> Iterable[Experiment]:
    """Returns what `zoo reproduce synthetic-learner` runs."""
    from zoo_synthetic_learner.experiments import EXPERIMENTS

    return EXPERIMENTS


@hookimpl
def zoo_cards() -> Iterable[Card]:
    """Returns the cards of the learners."""
    for name, factory, summary in _LEARNERS:
        yield Card(
            name=name,
            kind="estimator",
            factory=f"{_HERE}.{factory}",
            summary=summary,
            task=TASK,
            paper=PAPER,
        )
    yield Card(
        name="h2sl-cps",
        kind="estimator",
        factory=f"{_HERE}.h2sl:H2SL",
        config={"synthesizer": "simplex", "base": "linear"},
        summary="H2SL, fitted to wages of US states with a known effect, to try",
        task=TASK,
        paper=PAPER,
        weights=(_SEMI_SYNTHETIC,),
    )


def card_of(learner: type) -> str:
    """Returns the name of the card of a learner's class."""
    path = f"{learner.__module__}:{learner.__name__}"
    return next(name for name, factory, _ in _LEARNERS if f"{_HERE}.{factory}" == path)
