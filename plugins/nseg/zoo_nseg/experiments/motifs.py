"""Nodes whose label their motif makes, in the official networks and graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from torch_geometric.data import Data
from torch_geometric.explain import Explanation

from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_nseg.experiments.comparison import (
    GNN_EXPLAINER,
    OBJECTIVES,
    PN,
    PNS,
    PS,
    RANDOM,
    gnn_explanations,
    listed,
    means,
    measured,
    noted,
    trivial_explanations,
)
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.graph_file import read_graph
from zoo_nseg.ground_truth import explanation_auc, motif_edges, recall_at_k
from zoo_nseg.networks import GNN
from zoo_nseg.official import config_of, convert_official_checkpoint
from zoo_nseg.presets import preset

FOLDER: Final = "nseg-synthetic"
K: Final = 6
"""A house and a cycle have six undirected edges."""
_TIE: Final = 0.02


@dataclass(frozen=True)
class Case:
    """What is explained.

    Attributes:
        conv: of the official network.
        data: its graph.
        nodes: in motifs.
    """

    conv: str
    data: str
    nodes: range

    @property
    def name(self) -> str:
        """As the tables show it."""
        return f"{self.conv} {self.data}"


TREES = Case("GIN", "Tree-Cycles", range(511, 871, 10))
HOUSES = Case("GCN", "BA-Shapes", range(300, 700, 20))
CASES: Final = (TREES, HOUSES)


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Explains motif nodes; networks and graphs are the official ones, seeds the explainers'."""
    folder = context.data(FOLDER)
    with one_thread():
        for case in CASES:
            network, graph = official(folder, case)
            config = preset(case.data.lower())
            for seed in context.seeds:
                for name, explanations in _explained(context, network, graph, case, config, seed):
                    yield {
                        "seed": seed,
                        "network": case.name,
                        "explainer": name,
                        **measured(network, explanations),
                        **_found(explanations, graph, case),
                    }


def official(folder: Path, case: Case) -> tuple[GNN, Data]:
    """Returns a network of the authors, frozen, and the graph that it was trained on."""
    tensors, _, _ = convert_official_checkpoint(folder / f"{case.conv}_{case.data}.pth")
    network = GNN(**config_of(tensors)).eval()
    network.load_state_dict(tensors)
    return network.requires_grad_(False), read_graph(folder / f"{case.data}.npz")


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the PNS leads its halves on the cycles, and finds the houses.

    Necessity alone finds the cycles' edges as well, up to two hundredths, and more than one house
    network is needed to tell PNS from PS there: both are perfect.
    """
    charact, recall = (
        means(rows, column, network=TREES.name) for column in ("charact", "recall@K")
    )
    cycles = (
        min(charact[PNS] - charact[each] for each in (PS, PN, RANDOM)) > 0
        and recall[PNS] > max(recall[PS], recall[RANDOM])
        and recall[PNS] > recall[PN] - _TIE
    )
    plus, minus, houses, area = (
        means(rows, column, network=HOUSES.name) for column in ("Fid+", "Fid-", "recall@K", "AUC")
    )
    found = plus[PNS] > 0.95 and minus[PNS] < 0.05 and houses[PNS] > 0.75 and area[PNS] > 0.95
    return (
        cycles and found,
        f"{TREES.name}: mean charact {listed(charact)}, recall@{K} {listed(recall)}; "
        f"{HOUSES.name}: mean Fid+ {listed(plus)}, Fid- {listed(minus)}, recall@{K} "
        f"{listed(houses)}, AUC {listed(area)}",
    )


def _explained(
    context: Context, network: GNN, graph: Data, case: Case, config: dict[str, Any], seed: int
) -> Iterator[tuple[str, list[Explanation]]]:
    for name, objective in context.progress(OBJECTIVES.items(), f"{case.name}, seed {seed}"):
        explainer = NSEGExplainer(**config, objective=objective, kind="edge", seed=seed)
        with noted(context, case.name):
            found = explainer.explain_nodes(network, graph, case.nodes, progress=False)
        yield name, found
    yield (
        GNN_EXPLAINER,
        gnn_explanations(
            context, network, found, epochs=config["epochs"], lr=config["lr"], seed=seed
        ),
    )
    yield from trivial_explanations(found, seed)


def _found(explanations: Sequence[Explanation], graph: Data, case: Case) -> dict[str, float]:
    """How much of the motifs explanations find."""
    pairs = [
        (each, motif_edges(graph, node))
        for each, node in zip(explanations, case.nodes, strict=True)
    ]
    return {
        "recall@K": fmean(recall_at_k(*pair, K) for pair in pairs),
        "AUC": fmean(explanation_auc(*pair, edges="influencing") for pair in pairs),
        "AUC of the neighbourhood": fmean(explanation_auc(*pair) for pair in pairs),
    }
