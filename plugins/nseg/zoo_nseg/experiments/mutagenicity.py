"""Mutagens whose toxicophores are known: NSEG beside its halves and other explainers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any, Final

from torch_geometric.data import Data

from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_core.threads import one_thread
from zoo_nseg.experiments.comparison import (
    ACCURACY,
    GNN_EXPLAINER,
    PN,
    PNS,
    RANDOM,
    graph_explanations,
    listed,
    means,
    measured,
    predicted,
    trained,
)
from zoo_nseg.ground_truth import explanation_auc
from zoo_nseg.networks import GNN
from zoo_nseg.presets import preset
from zoo_nseg.tu import mutagenicity_ground_truth, read_tu

FOLDER: Final = "nseg-mutagenicity-gt"
NETWORK: Final = {"conv": "gcn", "hidden_channels": [32, 64, 32], "num_classes": 2}
EPOCHS: Final = 25
NUMBER: Final = 60
"""So many of each seed's test mutagens are explained."""
CONFIG: Final = preset("mutagenicity")
_MUTAGEN: Final = 0


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Explains the label of test mutagens that the network recognises, the first of each split."""
    folder = context.data(FOLDER)
    molecules = mutagenicity_ground_truth(folder, read_tu(folder, "Mutagenicity"))
    context.note(
        "the non-mutagens of this subset were selected so that they lack the toxicophores, which "
        "makes the label easy: hardly a network misses it"
    )
    with one_thread():
        for seed in context.seeds:
            network, train, test, accuracy = trained(molecules, seed, epochs=EPOCHS, **NETWORK)
            mutagens = recognised(network, test)[:NUMBER]
            known = recognised(network, train)
            found = graph_explanations(context, network, known, mutagens, CONFIG, seed)
            for name, explanations in found:
                areas = [
                    explanation_auc(each, graph.gt_edge_mask, edges="all")
                    for each, graph in zip(explanations, mutagens, strict=True)
                    if graph.gt_edge_mask.any()
                ]
                yield {
                    "seed": seed,
                    "explainer": name,
                    **measured(network, explanations),
                    "AUC": fmean(areas),
                    ACCURACY: accuracy,
                }


def recognised(network: GNN, graphs: Sequence[Data]) -> list[Data]:
    """Returns the mutagens that the network takes for such."""
    mutagens = [each for each in graphs if int(each.y) == _MUTAGEN]
    labels = predicted(network, mutagens)
    return [each for each, label in zip(mutagens, labels, strict=True) if label == _MUTAGEN]


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the PNS is necessary, sufficient and finds what necessity alone does not."""
    plus, minus, areas = (means(rows, column) for column in ("Fid+", "Fid-", "AUC"))
    empty = fmean(values(rows, "kept by the empty graph", explainer=PNS))
    return (
        plus[PNS] > 0.9
        and minus[PNS] < 0.1
        and minus[PN] > 0.5
        and all(areas[PNS] > areas[name] for name in (GNN_EXPLAINER, PN, RANDOM)),
        f"mean Fid+ {listed(plus)}; mean Fid- {listed(minus)}; mean AUC {listed(areas)}; the empty "
        f"graph keeps {100 * empty:.0f} % of the labels",
    )
