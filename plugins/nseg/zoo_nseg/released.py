"""The official checkpoints: where their authors publish them, and a folder of one's own instead.

Their licence is not stated, so they are fetched from their authors or taken from the user's disk,
and never travel with the zoo.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from zoo_core.card import Weights

COMMIT: Final = "3be49705f627f79604038ddd9b7b012ffba938e1"
FOLDER: Final = f"https://raw.githubusercontent.com/EthanChu7/NSEG/{COMMIT}/checkpoint"
VARIABLE: Final = "ZOO_NSEG_CHECKPOINTS"
"""Names a folder that holds `GCN/BA-Shapes.pth` or `GCN_BA-Shapes.pth`, and so on."""

_KNOWN: Final = {
    "GCN/BA-Shapes.pth": (
        "dc4b174b1d94aa9361382c3a4cfbacbc3c615ad522b09f819aef033c8bdedaf3",
        125253,
    ),
    "GIN/Tree-Cycles.pth": (
        "490d18777e6de8ab3391dc670cf6ce415ec78fabdf77fdc2439e9dc38ed20346",
        99324,
    ),
}
"""Digest and size of the files that were at hand; the others are recorded when first fetched."""
_ACCURACY: Final = {
    "GCN/BA-Shapes.pth": 95.71,
    "GCN/Tree-Cycles.pth": 90.29,
    "GCN/Tree-Grid.pth": 92.71,
    "GIN/BA-Shapes.pth": 95.00,
    "GIN/Tree-Cycles.pth": 92.00,
    "GIN/Tree-Grid.pth": 85.83,
}
"""On the test nodes, in percent, as the checkpoints record it."""


def official(conv: str, data: str) -> Weights:
    """Returns the weights of an official network.

    Args:
        conv: "gcn" or "gin".
        data: "BA-Shapes", "Tree-Cycles" or "Tree-Grid".
    """
    path = f"{conv.upper()}/{data}.pth"
    digest, size = _KNOWN.get(path, (None, None))
    return Weights(
        tag="official",
        source=f"{FOLDER}/{path}",
        license="unknown",
        sha256=digest,
        size=size,
        converter="zoo_nseg.official:from_official",
        metrics={"test accuracy (%)": _ACCURACY[path]},
        description="The authors' checkpoint; its licence is not stated.",
    )


def own_copy(weights: Weights) -> Path | None:
    """Returns the user's own file of an official checkpoint, from the folder of `VARIABLE`."""
    folder = os.environ.get(VARIABLE)
    if not folder or not weights.source.startswith(f"{FOLDER}/"):
        return None
    path = weights.source.removeprefix(f"{FOLDER}/")
    for name in (path, path.replace("/", "_")):
        if (file := Path(folder, name)).is_file():
            return file
    return None
