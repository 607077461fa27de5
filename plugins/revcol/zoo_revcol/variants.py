"""The sizes of RevCol: the six of the paper, and `nano` for tests and small data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Variant:
    """One size of the network.

    Attributes:
        channels: width of the four levels (strides 4, 8, 16, 32).
        layers: ConvNeXt blocks in each level of one column.
        num_columns: columns, all of the same shape.
        parameters: how many, with a classifier of 1000 classes.
        top_down_skip: whether level 0 also takes the previous column's top level.
    """

    channels: tuple[int, int, int, int]
    layers: tuple[int, int, int, int]
    num_columns: int
    parameters: int
    top_down_skip: bool = False

    def config(self) -> dict[str, Any]:
        """The keyword arguments of `zoo_revcol.model.RevCol`, as JSON values."""
        return {
            "channels": list(self.channels),
            "layers": list(self.layers),
            "num_columns": self.num_columns,
            "top_down_skip": self.top_down_skip,
        }


VARIANTS: Final[dict[str, Variant]] = {
    "nano": Variant((12, 24, 48, 96), (1, 1, 1, 1), 4, 620_848),
    "tiny": Variant((64, 128, 256, 512), (2, 2, 4, 2), 4, 30_456_168),
    "small": Variant((64, 128, 256, 512), (2, 2, 4, 2), 8, 60_568_424),
    "base": Variant((72, 144, 288, 576), (1, 1, 3, 2), 16, 138_616_408),
    "large": Variant((128, 256, 512, 1024), (1, 2, 6, 2), 8, 273_095_400),
    "xlarge": Variant((224, 448, 896, 1792), (1, 2, 6, 2), 8, 833_807_400),
    "huge": Variant((360, 720, 1440, 2880), (1, 2, 6, 2), 8, 2_157_600_160, top_down_skip=True),
}
