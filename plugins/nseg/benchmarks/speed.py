"""How long explanations take, side by side on the same graphs in one process.

    python plugins/nseg/benchmarks/speed.py [--data DIR] [--rounds 3] [--threads 1]

Molecules (MUTAG, from DIR or the variable ZOO_DATA): all 188 at once, against the same explainer
one graph at a time, and against torch_geometric's GNNExplainer, which takes one a call, all with
as many steps. Nodes (BA-Shapes, generated): on their computation graphs at once, against one at a
time and against the whole graph. Ratios are medians over rounds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch_geometric
from torch_geometric.data import Data
from torch_geometric.explain import Explainer, GNNExplainer

import zoo
from zoo_core.errors import ZooWarning
from zoo_nseg import NSEGExplainer, preset
from zoo_nseg.synthetic import ba_shapes
from zoo_nseg.tu import read_tu

_GRAPH_LEVEL = {
    "mode": "multiclass_classification",
    "task_level": "graph",
    "return_type": "raw",
}
Case = tuple[str, Callable[[], object]]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("ZOO_DATA"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore", ZooWarning)
    print(
        f"torch {torch.__version__}, torch_geometric {torch_geometric.__version__}, "
        f"{given.threads} thread(s), {given.epochs} steps, {given.rounds} rounds"
    )
    if given.data is None:
        print("no molecules: give the folder that holds nseg-mutag/ with --data or ZOO_DATA")
    else:
        graphs = read_tu(Path(given.data, "nseg-mutag"), "MUTAG")
        for name in ("nseg-gin-mutag", "nseg-gcn-mutag"):
            network = zoo.load(name)
            cases = molecules(network, graphs, given.epochs)
            compare(f"{name}, {len(graphs)} molecules", cases, given.rounds)
    data = ba_shapes(seed=0)
    network = zoo.load("nseg-gcn-ba-shapes")
    nodes = torch.linspace(300, len(data.x) - 1, given.nodes).long().tolist()
    for kind in ("edge", "joint"):
        cases = roles(network, data, nodes, kind, given.epochs)
        compare(f"nseg-gcn-ba-shapes, {len(nodes)} nodes, {kind}", cases, given.rounds)


def molecules(network: torch.nn.Module, graphs: Sequence[Data], epochs: int) -> list[Case]:
    """Returns ways to explain the edges of molecules; the first is ours."""
    ours = NSEGExplainer(**{**preset("mutagenicity"), "epochs": epochs})
    theirs = Explainer(
        network,
        GNNExplainer(epochs=epochs, lr=0.01),
        explanation_type="model",
        edge_mask_type="object",
        model_config=_GRAPH_LEVEL,
    )
    return [
        ("all at once", lambda: ours.explain_graphs(network, graphs)),
        ("one at a time", lambda: [ours.explain_graphs(network, [each]) for each in graphs]),
        ("GNNExplainer", lambda: [theirs(each.x, each.edge_index) for each in graphs]),
    ]


def roles(
    network: torch.nn.Module, data: Data, nodes: Sequence[int], kind: str, epochs: int
) -> list[Case]:
    """Returns ways to explain nodes of one graph; the first is ours."""
    ours = NSEGExplainer(**{**preset("ba-shapes", "joint"), "epochs": epochs})
    x_cf = None if kind == "edge" else torch.zeros_like(data.x)
    return [
        ("all at once", lambda: ours.explain_nodes(network, data, nodes, kind=kind, x_cf=x_cf)),
        (
            "one at a time",
            lambda: [
                ours.explain_nodes(network, data, [each], kind=kind, x_cf=x_cf) for each in nodes
            ],
        ),
        (
            "whole graph",
            lambda: ours.explain_nodes(network, data, nodes, kind=kind, x_cf=x_cf, restrict=False),
        ),
    ]


def compare(title: str, cases: Sequence[Case], rounds: int) -> None:
    """Runs the cases in turn, round by round, and prints times and ratios to the first."""
    cases[0][1]()  # warms up what both sides share
    seconds: dict[str, list[float]] = {name: [] for name, _ in cases}
    for _ in range(rounds):
        for name, run in cases:
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    print(f"\n{title}\n| | seconds | times the first |\n|---|---|---|")
    first = seconds[cases[0][0]]
    for name, taken in seconds.items():
        ratios = [own / base for own, base in zip(taken, first, strict=True)]
        print(
            f"| {name} | {statistics.median(taken):.2f} | {statistics.median(ratios):.1f} "
            f"({min(ratios):.1f} to {max(ratios):.1f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
