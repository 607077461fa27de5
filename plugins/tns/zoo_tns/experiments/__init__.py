"""What `zoo reproduce tns` runs; each experiment is a module here, imported when it is run."""

from __future__ import annotations

from typing import Final

from zoo_core.experiment import Experiment, Figure

_HERE = "zoo_tns.experiments"
_LINKS = (
    "test AP",
    "test accuracy",
    "new-node test AP",
    "new-node test accuracy",
    "mean rate",
    "closed gates",
    "spread of rates",
)

EXPERIMENTS: Final = (
    Experiment(
        name="planted",
        claim="A rate finds the period at which a signal is planted, from a basin around it.",
        paper="section 3: the rate is learned through interpolated messages",
        run=f"{_HERE}.planted:run",
        check=f"{_HERE}.planted:check",
        measures=("final rate",),
        minutes=1,
        seeds=3,
    ),
    Experiment(
        name="recent",
        claim="The most recent events beat events drawn uniformly from the whole history, by at "
        "least 3 points of AP.",
        run=f"{_HERE}.recent:run",
        check=f"{_HERE}.recent:check",
        measures=_LINKS,
        minutes=3,
        seeds=5,
        data=("collegemsg", "sfhh-conference", "jodie-wikipedia", "bitcoin-otc"),
        figure=Figure(x="data", y=("test AP",), series=("sampling",), kind="bar"),
    ),
    Experiment(
        name="fixed-rates",
        claim="The best fixed expansion depends on the data: among contacts it costs, among "
        "messages a fifth of the events is as good.",
        paper="figure 4: fixed expansion rates",
        run=f"{_HERE}.fixed_rates:run",
        check=f"{_HERE}.fixed_rates:check",
        measures=_LINKS,
        minutes=10,
        seeds=10,
        data=("collegemsg", "sfhh-conference"),
        figure=Figure(x="sampling", y=("test AP",), series=("data",), kind="bar"),
    ),
    Experiment(
        name="learned-rates",
        claim="TNS is not worse than the most recent events by a point of AP, its gates stay open, "
        "and queries get different rates.",
        paper="table 3: TNS against the backbones",
        run=f"{_HERE}.learned_rates:run",
        check=f"{_HERE}.learned_rates:check",
        measures=(*_LINKS, "spread between bounds"),
        minutes=8,
        seeds=10,
        data=("collegemsg", "sfhh-conference", "jodie-wikipedia"),
        figure=Figure(
            x="sampling", y=("test AP", "mean rate", "closed gates"), series=("data",), kind="bar"
        ),
    ),
    Experiment(
        name="backbones",
        claim="With TNS, TGN and TGAT are above their uniform sampling, and not below the most "
        "recent events by a point of AP.",
        paper="table 3: TGAT + TNS and TGN + TNS",
        run=f"{_HERE}.backbones:run",
        check=f"{_HERE}.backbones:check",
        measures=_LINKS,
        minutes=8,
        seeds=5,
        data=("jodie-wikipedia", "bitcoin-otc"),
        figure=Figure(x="sampling", y=("test AP",), series=("backbone", "data"), kind="bar"),
    ),
    Experiment(
        name="budget",
        claim="Among new nodes, TNS with 10 neighbours is above the 50 most recent ones.",
        paper="table 5: budgets of 10, 20 and 50",
        run=f"{_HERE}.budget:run",
        check=f"{_HERE}.budget:check",
        measures=_LINKS,
        minutes=6,
        seeds=5,
        data=("collegemsg",),
        figure=Figure(x="S", y=("new-node test accuracy",), series=("sampling",)),
    ),
    Experiment(
        name="sensitivity",
        claim="TNS is worst where its expansion modules learn fast and start from large weights.",
        paper="figure 5: alpha and sigma",
        run=f"{_HERE}.sensitivity:run",
        check=f"{_HERE}.sensitivity:check",
        measures=_LINKS,
        minutes=6,
        seeds=3,
        data=("collegemsg",),
        figure=Figure(x="alpha", y=("test AP",), series=("sigma",), log="x"),
    ),
    Experiment(
        name="preference",
        claim="Which events a model predicts well depends on its rate, more than on its first "
        "weights.",
        paper="figure 6: rank correlation of losses between fixed rates",
        run=f"{_HERE}.preference:run",
        check=f"{_HERE}.preference:check",
        measures=("tau",),
        minutes=3,
        seeds=5,
        data=("jodie-wikipedia",),
        figure=Figure(x="rates", y=("tau",), series=("weights",), kind="bar"),
    ),
    Experiment(
        name="wikipedia",
        claim="TNS improves TGN on Wikipedia, for links among known and new nodes and for bans.",
        paper="table 3: TGN + TNS against TGN",
        run=f"{_HERE}.wikipedia:run",
        check=f"{_HERE}.wikipedia:check",
        measures=(*_LINKS, "ban AUC", "best epoch"),
        minutes=35,
        seeds=3,
        data=("jodie-wikipedia",),
        figure=Figure(x="sampling", y=("test AP", "new-node test AP", "ban AUC"), kind="bar"),
    ),
)
