"""The networks and images that the experiments on CIFAR-10 share."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from timm.models.convnext import ConvNeXt
from torch import nn

from zoo_revcol.experiments.training import Images
from zoo_revcol.model import RevCol
from zoo_revcol.plugin import CIFAR10, NANO_PREPROCESSING
from zoo_revcol.transforms import evaluation

FOLDER: Final = "cifar10-small"
_ARCHIVE: Final = "cifar10_small.zip"
_NARROW, _WIDE = (16, 32, 64, 128), (32, 64, 128, 256)
_DROP_PATH = 0.1


def _revcol(
    channels: tuple[int, int, int, int], num_columns: int, supervised: bool = False
) -> RevCol:
    return RevCol(
        channels,
        (1, 1, 1, 1),
        num_columns,
        num_classes=len(CIFAR10),
        drop_path_rate=_DROP_PATH,
        intermediate_supervision=supervised,
    )


def _convnext() -> ConvNeXt:
    return ConvNeXt(
        depths=(2, 2, 2, 2),
        dims=(24, 48, 96, 192),
        num_classes=len(CIFAR10),
        drop_path_rate=_DROP_PATH,
    )


NETWORKS: Final[dict[str, Callable[[], nn.Module]]] = {
    "4 columns": lambda: _revcol(_NARROW, 4),
    "4 columns, supervised": lambda: _revcol(_NARROW, 4, supervised=True),
    "1 such column": lambda: _revcol(_NARROW, 1),
    "1 wide column": lambda: _revcol(_WIDE, 1),
    "ConvNeXt": _convnext,
}
"""RevCols of 0.9 million parameters, one of their columns, and plain networks as large as all."""


def read(folder: Path, split: str) -> Images:
    """Returns the images and labels of "train" or "test", preprocessed for the networks.

    Args:
        folder: of cifar10_small.zip, with JPEG files in folders SPLIT/CLASS/.
        split: which.
    """
    transform = evaluation(**NANO_PREPROCESSING)
    images, labels = [], []
    with zipfile.ZipFile(folder / _ARCHIVE) as archive:
        for name in sorted(archive.namelist()):
            part, _, rest = name.partition("/")
            if part == split and not name.endswith("/"):
                images.append(transform(Image.open(io.BytesIO(archive.read(name)))))
                labels.append(CIFAR10.index(rest.split("/")[0]))
    return Images(torch.stack(images), torch.tensor(labels))
