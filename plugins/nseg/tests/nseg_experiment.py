"""What the tests of experiments share: small data sets, and an experiment's rows, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo_core.experiment import Context, Experiment
from zoo_core.factories import import_string
from zoo_core.rows import Rows
from zoo_nseg.experiments import EXPERIMENTS
from zoo_nseg.experiments.comparison import (
    EVERYTHING,
    GNN_EXPLAINER,
    PG_EXPLAINER,
    PN,
    PNS,
    PS,
    RANDOM,
)

EXPLAINERS = [PNS, PS, PN, GNN_EXPLAINER, PG_EXPLAINER, RANDOM, EVERYTHING]
NAMED = {each.name: each for each in EXPERIMENTS}


def chain(length: int, group: bool) -> tuple[list[int], list[tuple[int, int]]]:
    """Atoms and bonds of a chain, with or without a group of one N and two O at its end."""
    atoms = [0] * length
    bonds = [(place, place + 1) for place in range(length - 1)]
    if group:
        atoms += [1, 2, 2]
        bonds += [(length - 1, length), (length, length + 1), (length, length + 2)]
    return atoms, bonds


def write_tu(folder: Path, name: str, elements: int, number: int = 40) -> None:
    """Chains of which every second bears a group, whose bonds are the ground truth, class 0."""
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    lines: dict[str, list[str]] = {
        part: [] for part in ("A", "edge_gt", "graph_indicator", "graph_labels", "node_labels")
    }
    start = 1
    for place in range(number):
        atoms, bonds = chain(4 + place % 3, place % 2 == 0)
        # The last element is never seen otherwise, and gives the features their width.
        atoms[0] = elements - 1 if place < 4 else 0
        lines["graph_indicator"] += [str(place + 1)] * len(atoms)
        lines["graph_labels"].append(str(place % 2))
        lines["node_labels"] += [str(atom) for atom in atoms]
        for one, other in bonds:
            lines["A"] += [f"{start + one}, {start + other}", f"{start + other}, {start + one}"]
            lines["edge_gt"] += [str(int(atoms[other] in (1, 2)))] * 2
        start += len(atoms)
    for part, content in lines.items():
        (raw / f"{name}_{part}.txt").write_text("\n".join(content) + "\n")


def rows_of(experiment: Experiment, context: Context) -> list[dict[str, Any]]:
    """The rows, as `zoo reproduce` checks them."""
    rows = Rows(
        measures=experiment.measures,
        over=experiment.over,
        seeds=context.seeds,
        figure=experiment.figure,
    )
    for row in import_string(experiment.run)(context):
        rows.add(row)
    assert not rows.infinite
    return [dict(row) for row in rows.rows]
