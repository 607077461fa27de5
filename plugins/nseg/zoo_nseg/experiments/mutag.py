"""Which molecules mutate: NSEG beside its halves and other explainers, on MUTAG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from torch_geometric.explain import Explanation

from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_nseg.experiments.comparison import (
    ACCURACY,
    PNS,
    graph_explanations,
    leads,
    listed,
    means,
    measured,
    trained,
)
from zoo_nseg.pictures import save_picture
from zoo_nseg.presets import preset
from zoo_nseg.tu import read_tu

FOLDER: Final = "nseg-mutag"
NETWORK: Final = {"conv": "gin", "hidden_channels": [32, 32, 32], "num_classes": 2}
EPOCHS: Final = 100
CONFIG: Final = preset("mutagenicity")
_PICTURES: Final = 4


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Explains the labels predicted for all test molecules of each seed's split."""
    molecules = read_tu(context.data(FOLDER), "MUTAG")
    with one_thread():
        for seed in context.seeds:
            network, train, test, accuracy = trained(molecules, seed, epochs=EPOCHS, **NETWORK)
            found = graph_explanations(context, network, train, test, CONFIG, seed)
            for name, explanations in found:
                if name == PNS and seed == context.seeds[0]:
                    _draw(context, explanations)
                yield {
                    "seed": seed,
                    "explainer": name,
                    **measured(network, explanations),
                    ACCURACY: accuracy,
                }


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the PNS leads in both measures of necessity and sufficiency together."""
    charact, bound = (means(rows, column) for column in ("charact", "PNS lower bound"))
    return (
        leads(charact) and leads(bound),
        f"mean charact: {listed(charact)}; mean PNS lower bound: {listed(bound)}",
    )


def _draw(context: Context, explanations: Sequence[Explanation]) -> None:
    """Draws the first test molecules, whatever their explanations are like."""
    for place, each in enumerate(explanations[:_PICTURES]):
        save_picture(context.out / f"molecule-{place}.png", each, atoms="mutag")
