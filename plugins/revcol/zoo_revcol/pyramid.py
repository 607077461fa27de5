"""RevCol as the backbone of other people's detectors and segmenters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from types import ModuleType

from torch import Tensor, nn

from zoo_core.errors import ConfigError, ZooError
from zoo_revcol.model import RevCol
from zoo_revcol.validation import integer

LEVELS = (0, 1, 2, 3)


class Pyramid(nn.Module):
    """The last column's maps by name, as torchvision's backbones give them.

    Args:
        backbone: the network; its head and intermediate supervision are removed.
        levels: which maps, in rising order. Without level 3 a few parameters of the last column
            have no effect and get no gradient.

    Attributes:
        out_channels: channels of the maps.
        strides: strides of the maps.

    Raises:
        ConfigError: not a RevCol, or levels that do not exist.
    """

    def __init__(self, backbone: RevCol, levels: Sequence[int] = LEVELS) -> None:
        super().__init__()
        check_backbone(backbone)
        self.levels = tuple(integer("levels", level, 0, LEVELS[-1]) for level in levels)
        if not self.levels or list(self.levels) != sorted(set(self.levels)):
            raise ConfigError(f"levels is {levels!r}; expected some of {LEVELS}, in rising order.")
        backbone.prune_intermediate_layers()
        self.backbone = backbone
        infos = [backbone.feature_info[level] for level in self.levels]
        self.out_channels: tuple[int, ...] = tuple(info["num_chs"] for info in infos)
        self.strides: tuple[int, ...] = tuple(info["reduction"] for info in infos)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Maps images [B, in_chans, H, W] to {"0": [B, C, H / stride, W / stride], ...}.

        The names are the levels' numbers; sizes are rounded down.
        """
        maps = self.backbone.forward_pyramid(x)
        return OrderedDict((str(level), maps[level]) for level in self.levels)


class PyramidWithFPN(nn.Module):
    """A `Pyramid` with torchvision's feature pyramid network on it.

    Takes the place of the backbone in `torchvision.models.detection.FasterRCNN`, `MaskRCNN`,
    `RetinaNet` and `FCOS`. The maps are "0" to "3" and "pool" with strides 4 to 64, which the
    paper's detectors use too.

    Args:
        backbone: as for `Pyramid`.
        out_channels: channels of all maps.
        levels: as for `Pyramid`.

    Raises:
        ConfigError: as `Pyramid`.
        ZooError: torchvision cannot be imported.
    """

    def __init__(
        self, backbone: RevCol, out_channels: int = 256, levels: Sequence[int] = LEVELS
    ) -> None:
        super().__init__()
        operations = _torchvision_operations()
        self.out_channels = integer("out_channels", out_channels, minimum=1)
        self.body = Pyramid(backbone, levels)
        self.fpn = operations.FeaturePyramidNetwork(
            list(self.body.out_channels),
            self.out_channels,
            extra_blocks=operations.feature_pyramid_network.LastLevelMaxPool(),
        )

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Maps images [B, in_chans, H, W] to maps of `out_channels` channels, by name."""
        return self.fpn(self.body(x))


def check_backbone(backbone: object) -> None:
    """Refuses what is not a RevCol, by a ConfigError."""
    if not isinstance(backbone, RevCol):
        raise ConfigError(
            f"backbone is a {type(backbone).__name__}; expected a RevCol, such as "
            "zoo.load('revcol-t')."
        )


def _torchvision_operations() -> ModuleType:
    """The module `torchvision.ops`, imported when first needed."""
    try:
        import torchvision.ops
    # A torchvision built for another torch raises RuntimeError instead of ImportError.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ZooError(
            f"torchvision cannot be imported ({reason}); install the torchvision that belongs to "
            "the installed torch."
        ) from error
    return torchvision.ops
