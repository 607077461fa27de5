"""Scenes from segmented images: NSEG beside its halves and other explainers, on MSRC_21."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_nseg.experiments.comparison import (
    ACCURACY,
    GNN_EXPLAINER,
    PN,
    PNS,
    PS,
    RANDOM,
    graph_explanations,
    listed,
    means,
    measured,
    trained,
)
from zoo_nseg.presets import preset
from zoo_nseg.tu import read_tu

FOLDER: Final = "nseg-msrc21"
NETWORK: Final = {"conv": "gcn", "hidden_channels": [32, 64, 32], "num_classes": 20}
EPOCHS: Final = 100
NUMBER: Final = 60
"""So many of each seed's test graphs are explained, the first of the split."""
CONFIG: Final = preset("msrc21")
_TIE: Final = 0.01


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Explains the labels predicted for test graphs of each seed's split."""
    scenes = read_tu(context.data(FOLDER), "MSRC_21")
    with one_thread():
        for seed in context.seeds:
            network, train, test, accuracy = trained(scenes, seed, epochs=EPOCHS, **NETWORK)
            found = graph_explanations(context, network, train, test[:NUMBER], CONFIG, seed)
            for name, explanations in found:
                yield {
                    "seed": seed,
                    "explainer": name,
                    **measured(network, explanations),
                    ACCURACY: accuracy,
                }


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the PNS does as well as its halves, up to a hundredth, and all beat GNNExplainer."""
    charact = means(rows, "charact")
    halves = (charact[PS], charact[PN])
    return (
        charact[PNS] >= max(halves) - _TIE
        and min(charact[PNS], *halves) > charact[GNN_EXPLAINER] > charact[RANDOM],
        f"mean charact: {listed(charact)}",
    )
