"""TNS's cards: samplers, and temporal graph networks that sample with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from zoo_core.card import Card, Paper, Weights
from zoo_core.experiment import Experiment
from zoo_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer

PAPER = Paper(
    title="Time-Aware Neighbor Sampling for Temporal Graph Networks",
    authors=(
        "Yiwei Wang",
        "Yujun Cai",
        "Yuxuan Liang",
        "Henghui Ding",
        "Changhu Wang",
        "Bryan Hooi",
    ),
    venue="IJCNN",
    year=2022,
    arxiv="2112.09845",
)
TASK = "graph-ml"
_TGN = {"aggr": "attention", "memory": True, "layers": 1, "k": 10}
_TGAT = {"aggr": "tgat", "memory": False, "layers": 2, "k": 20}
_MEAN = {"aggr": "mean", "memory": False, "layers": 1, "k": 10}


@hookimpl
def zoo_commands(app: typer.Typer) -> None:
    """Adds `zoo tns-train` and `zoo tns-convert`."""
    from zoo_tns import convert_command, train_command

    app.command("tns-train")(train_command.command)
    app.command("tns-convert")(convert_command.command)


@hookimpl
def zoo_experiments() -> Iterable[Experiment]:
    """Returns what `zoo reproduce tns` runs."""
    from zoo_tns.experiments import EXPERIMENTS

    return EXPERIMENTS


@hookimpl
def zoo_cards() -> Iterable[Card]:
    """Returns the cards of the samplers and of the networks."""
    return [*_samplers(), *_models()]


def _samplers() -> Iterable[Card]:
    for name, factory, summary, config in (
        ("recent", "RecentSampler", "the k most recent events before a time", {}),
        ("uniform", "UniformSampler", "k events drawn uniformly among all before a time", {}),
        ("expanded", "ExpandedSampler", "every r-th event back from a time", {"rate": 5}),
        ("tns", "TNSSampler", "events at a real-valued rate of each node and time", {}),
    ):
        yield Card(
            name=name,
            kind="sampler",
            factory=f"zoo_tns.samplers:{factory}",
            config={"k": 10, **config},
            summary=f"Temporal neighbour sampler: {summary}",
            task=TASK,
            paper=PAPER,
        )


def _models() -> Iterable[Card]:
    yield _model("tns-tgn", "TGN that samples its neighbours by TNS", _TGN, "tns", (_WIKIPEDIA,))
    yield _model("tns-tgat", "TGAT that samples its neighbours by TNS", _TGAT, "tns")
    yield _model("tns-mean", "TNS with the mean aggregator of the paper's equations", _MEAN, "tns")
    yield _model("tgn-recent", "TGN, with the most recent neighbours", _TGN, "recent")
    yield _model("tgat-uniform", "TGAT, with neighbours drawn uniformly", _TGAT, "uniform")


def _model(
    name: str,
    summary: str,
    config: Mapping[str, Any],
    sampler: str,
    weights: tuple[Weights, ...] = (),
) -> Card:
    return Card(
        name=name,
        kind="model",
        factory="zoo_tns.model:TemporalGNN",
        config={**config, "sampler": sampler},
        summary=summary,
        task=TASK,
        paper=PAPER,
        weights=weights,
    )


_WIKIPEDIA = Weights(
    tag="wikipedia",
    source="bundled://tns-tgn.wikipedia/model.safetensors",
    license="apache-2.0",
    sha256="2d8942e599fe5d09554d9605fbd8b5a0ad9486cf72c89903bc05c40053d7ee66",
    size=6292776,
    config={"num_nodes": 9227, "edge_dim": 0},
    metrics={"test AP (%)": 97.52, "test accuracy (%)": 90.47, "new-node test AP (%)": 96.76},
    description="Trained here on the interactions of JODIE's Wikipedia, without edge features.",
)
