"""NSEG's cards: the explainer with its objectives, types and presets, and networks to explain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.card import Card, Paper, Weights
from zoo_core.experiment import Experiment
from zoo_core.hookspecs import hookimpl
from zoo_nseg.presets import PRESETS
from zoo_nseg.released import official, own_copy

if TYPE_CHECKING:
    import typer

PAPER = Paper(
    title="On the Probability of Necessity and Sufficiency of Explaining Graph Neural Networks: A "
    "Lower Bound Optimization Approach",
    authors=(
        "Ruichu Cai",
        "Yuxuan Zhu",
        "Xuexin Chen",
        "Yuan Fang",
        "Min Wu",
        "Jie Qiao",
        "Zhifeng Hao",
    ),
    venue="Neural Networks",
    year=2025,
    arxiv="2212.07056",
    code="https://github.com/EthanChu7/NSEG",
)
TASK = "graph-ml"
_WHAT = {
    "edge": "edges",
    "feature": "node features",
    "joint": "edges and node features together",
}
_SYNTHETIC = (("BA-Shapes", 4), ("Tree-Cycles", 2), ("Tree-Grid", 2))


@hookimpl
def zoo_commands(app: typer.Typer) -> None:
    """Adds `zoo explain` and `zoo nseg-convert`."""
    from zoo_nseg import convert_command, explain_command

    app.command("explain")(explain_command.command)
    app.command("nseg-convert")(convert_command.command)


@hookimpl
def zoo_experiments() -> Iterable[Experiment]:
    """Returns what `zoo reproduce nseg` runs."""
    from zoo_nseg.experiments import EXPERIMENTS

    return EXPERIMENTS


@hookimpl
def zoo_fetch(weights: Weights, local_files_only: bool) -> Path | None:
    """Returns the user's own copy of an official checkpoint, if there is one."""
    return own_copy(weights)


@hookimpl
def zoo_cards() -> Iterable[Card]:
    """Returns the cards of the explainers and of the networks."""
    return [*_explainers(), *_networks()]


def _explainers() -> Iterable[Card]:
    yield _explainer("nseg", {}, "NSEG: necessary and sufficient parts of a graph network's input")
    for kind, what in _WHAT.items():
        yield _explainer(f"nseg-{kind}", {"kind": kind}, f"NSEG that explains {what}")
    yield _explainer("nseg-pn", {"objective": "pn"}, "NSEG's half that seeks necessity alone")
    yield _explainer("nseg-ps", {"objective": "ps"}, "NSEG's half that seeks sufficiency alone")
    for (data, kind), config in PRESETS.items():
        yield _explainer(
            f"nseg-{kind}-{data}",
            {"kind": kind, **config},
            f"NSEG that explains {_WHAT[kind]}, as configured by its authors for {data}",
            aliases=(f"nseg-{data}",) if kind == "edge" else (),
        )


def _explainer(
    name: str, config: Mapping[str, Any], summary: str, aliases: tuple[str, ...] = ()
) -> Card:
    return Card(
        name=name,
        kind="explainer",
        factory="zoo_nseg.explainer:NSEGExplainer",
        config=config,
        summary=summary,
        task=TASK,
        paper=PAPER,
        aliases=aliases,
    )


def _networks() -> Iterable[Card]:
    for conv in ("gcn", "gin"):
        for data, classes in _SYNTHETIC:
            weights = [official(conv, data)]
            if (conv, data) == ("gcn", "BA-Shapes"):
                weights.insert(0, _BA_SHAPES)
            yield _network(
                f"nseg-{conv}-{data.lower()}",
                conv,
                10,
                [16, 32, 16],
                classes,
                "node",
                f"{conv.upper()} that tells the roles of nodes in {data}, to be explained",
                tuple(weights),
            )
    for conv, hidden, weights in (("gcn", [16, 32, 16], _GCN_MUTAG), ("gin", [32] * 3, _GIN_MUTAG)):
        yield _network(
            f"nseg-{conv}-mutag",
            conv,
            7,
            hidden,
            2,
            "graph",
            f"{conv.upper()} that tells mutagenic molecules, to be explained",
            (weights,),
        )


def _network(
    name: str,
    conv: str,
    width: int,
    hidden: list[int],
    classes: int,
    level: str,
    summary: str,
    weights: tuple[Weights, ...],
) -> Card:
    return Card(
        name=name,
        kind="model",
        factory="zoo_nseg.networks:GNN",
        config={
            "conv": conv,
            "in_channels": width,
            "hidden_channels": hidden,
            "num_classes": classes,
            "task_level": level,
        },
        summary=summary,
        task=TASK,
        paper=PAPER,
        weights=weights,
    )


def _trained_here(name: str, tag: str, **stated: Any) -> Weights:
    """Weights made by `zoo reproduce nseg networks`, which travel with the zoo."""
    return Weights(
        tag=tag,
        source=f"bundled://{name}.{tag}/model.safetensors",
        license="apache-2.0",
        **stated,
    )


_MUTAG_LABELS = ("non-mutagenic", "mutagenic")
_BA_SHAPES = _trained_here(
    "nseg-gcn-ba-shapes",
    "generated",
    sha256="2469f1f6b2eb160c3102377268c3b0223dffd226b8532cc12013d63e9b54572a",
    size=5896,
    labels=("base", "middle of a house", "bottom of a house", "top of a house"),
    metrics={"train accuracy (%)": 98.39, "test accuracy (%)": 97.86},
    description="Trained here on the graph of zoo_nseg.synthetic.ba_shapes(seed=0).",
)
_GCN_MUTAG = _trained_here(
    "nseg-gcn-mutag",
    "mutag",
    sha256="c0175d45b07b9105fbfc38936154d0519da86f1a9abb6c0c0e43ce64625d9192",
    size=5560,
    metrics={"train accuracy (%)": 76.0, "test accuracy (%)": 81.58},
    labels=_MUTAG_LABELS,
    description="Trained here on 150 of the 188 molecules of MUTAG.",
)
_GIN_MUTAG = _trained_here(
    "nseg-gin-mutag",
    "mutag",
    sha256="2e679835422eebc44474afe5dde81e96a94837b99755d9217aa5c6f10a34b524",
    size=10588,
    metrics={"train accuracy (%)": 84.0, "test accuracy (%)": 78.95},
    labels=_MUTAG_LABELS,
    description="Trained here on 150 of the 188 molecules of MUTAG.",
)
