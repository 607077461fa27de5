"""`zoo nseg-convert`: a checkpoint of the official code to a folder that `zoo.load` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from zoo_core.errors import InputError

_CARDS = {
    ("gcn", "node"): "nseg-gcn-ba-shapes",
    ("gcn", "graph"): "nseg-gcn-mutag",
    ("gin", "node"): "nseg-gin-ba-shapes",
    ("gin", "graph"): "nseg-gin-mutag",
}
"""The card whose factory and configuration are nearest; what differs is written down."""
_GRAPH = "graph.npz"


def command(
    file: Annotated[Path, typer.Argument(help="A .pth of the official code, or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    task_level: Annotated[
        Literal["node", "graph"], typer.Option(help="What the network classifies.")
    ] = "node",
    name: Annotated[str | None, typer.Option(help="The card that the folder names.")] = None,
) -> None:
    """Convert a checkpoint of NSEG's official code to safetensors, without running it."""
    from zoo_core import lean
    from zoo_core.cli import output
    from zoo_core.saving import save
    from zoo_nseg.graph_file import write_graph
    from zoo_nseg.networks import GNN
    from zoo_nseg.official import config_of, convert_official_checkpoint

    found = convert_official_checkpoint(file)
    taken = [each for each in ("config.json", "model.safetensors", _GRAPH) if (out / each).exists()]
    if taken:
        raise InputError(f"{out} holds {taken[0]} already; give another folder.")
    config = {**config_of(found.state_dict), "task_level": task_level, "dropout": 0.0}
    model = lean.build(GNN, config)
    lean.assign(model, found.state_dict.items())
    measured = {
        f"{part} accuracy (%)": round(100 * found.meta[key], 2)
        for part, key in (("train", "acc_train"), ("test", "acc_test"))
        if key in found.meta
    }
    folder = save(
        model,
        out,
        name=name or _CARDS[config["conv"], task_level],
        config=config,
        license="unknown",  # the official repository states none
        metrics=measured,
        description=f"Converted from {file.name}; the metrics are those it records.",
    )
    if found.graph is not None:
        write_graph(found.graph, folder / _GRAPH)
    output.table(
        ("converted", str(folder)),
        [
            *((key, str(value)) for key, value in config.items()),
            ("parameters", f"{sum(each.numel() for each in model.parameters()):,}"),
            *((key, f"{value:.2f}") for key, value in measured.items()),
            *_graph_rows(found.graph),
        ],
    )


def _graph_rows(graph: object) -> list[tuple[str, str]]:
    if graph is None:
        return []
    return [(_GRAPH, f"{graph.num_nodes} nodes, {graph.num_edges} directed edges")]
