"""Small graphs, data sets and saved networks for the tests of `zoo explain`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch_geometric.data import Data

import zoo
from zoo_nseg.training import initialised

QUICK = {"epochs": 12, "lr": 0.1, "beta_e": 0.01, "beta_f": 0.01}
SET = [part for name, value in QUICK.items() for part in ("--set", f"{name}={value}")]
NODES = 14


def saved(name: str, seed: int, **config) -> str:
    """A folder of zoo.save with random weights, neither too sure nor too unsure of its labels."""
    config = {"hidden_channels": [6, 5], "num_classes": 3, **config}
    model = initialised(seed, **config)
    with torch.no_grad():
        model.classify.weight.mul_({"node": 3.0, "graph": 0.3}[config["task_level"]])
    card = "nseg-gcn-ba-shapes" if config["task_level"] == "node" else "nseg-gin-mutag"
    zoo.save(model, name, name=card, config=config)
    return f"./{name}"


def ring(nodes: int = NODES, features: int = 4) -> Data:
    """A ring in which each node has features of its own, both directions of every edge."""
    ends = torch.arange(nodes)
    there = torch.stack([ends, (ends + 1) % nodes])
    generator = torch.Generator().manual_seed(0)
    return Data(
        x=torch.rand(nodes, features, generator=generator),
        edge_index=torch.cat([there, there.flip(0)], dim=1),
    )


def write_collection(root: Path, name: str, edge_truth: bool = False) -> Path:
    """Five molecules of three elements in the TU layout: paths of 3 to 7 nodes."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    edges, graph_of, elements, bonds, first = [], [], [], [], 1
    for graph, size in enumerate((3, 4, 5, 6, 7), start=1):
        for node in range(first, first + size - 1):
            edges += [(node, node + 1), (node + 1, node)]
            bonds += [node % 2, node % 2]
        graph_of += [graph] * size
        elements += [graph % 3] + [int(graph < 5)] * (size - 1)
        first += size
    tables = {
        "A": [f"{u}, {v}" for u, v in edges],
        "graph_indicator": graph_of,
        "graph_labels": [1, -1, 1, -1, 1],
        "node_labels": elements,
        "edge_labels": bonds,
    }
    if edge_truth:
        tables["edge_gt"] = [int(bond == 1) for bond in bonds]
    for part, lines in tables.items():
        (raw / f"{name}_{part}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root
