"""RevCol: a stem, a chain of reversible columns, and a classifier on the last one.

Source: Cai et al., "Reversible Column Networks", ICLR 2023, arXiv 2212.11696.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.errors import ConfigError, InputError, ZooError
from zoo_revcol.column import Column
from zoo_revcol.head import Head
from zoo_revcol.level import Level
from zoo_revcol.stem import PATCH_SIZE, Stem
from zoo_revcol.validation import MAX_DEPTH, boolean, four_integers, integer, odd, positive, real

MIN_IMAGE_SIZE = 32
FINE_TUNING_SCALE = 0.001


class RevCol(nn.Module):
    """The image classification network, and a four-level backbone.

    Args:
        channels: width of the four levels; level l has stride 2 ** (l + 2).
        layers: ConvNeXt blocks in each level of one column.
        num_columns: columns.
        kernel_size: odd side of the blocks' depthwise kernels.
        num_classes: outputs of the classifier; 0 leaves it out (see `reset_classifier`).
        in_chans: channels of the images.
        drop_path_rate: stochastic depth, rising linearly from 0 to this rate over the blocks of a
            column, in [0, 1); every column has the same schedule.
        layer_scale_init: initial value of the blocks' layer scale `gamma`.
        alpha_init: initial value of the shortcuts' scale `alpha`.
        alpha_min: smallest magnitude of `alpha` in use, above 0.
        top_down_skip: whether level 0 also takes the top level of the previous column, as in the
            paper's huge.

    Raises:
        ConfigError: an argument of the wrong type or out of its range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        layers: Sequence[int],
        num_columns: int,
        kernel_size: int = 3,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_path_rate: float = 0.0,
        layer_scale_init: float = 1e-6,
        alpha_init: float = 0.5,
        alpha_min: float = 1e-3,
        top_down_skip: bool = False,
    ) -> None:
        super().__init__()
        self.channels = four_integers("channels", channels)
        self.layers = four_integers("layers", layers, MAX_DEPTH)
        self.num_columns = integer("num_columns", num_columns, 1, MAX_DEPTH)
        self.num_classes = integer("num_classes", num_classes, minimum=0)
        self.num_features = self.channels[-1]
        self.in_chans = integer("in_chans", in_chans, minimum=1)
        self.drop_path_rate = real("drop_path_rate", drop_path_rate, minimum=0.0, below=1.0)
        level_options = {
            "kernel_size": odd("kernel_size", kernel_size),
            "layer_scale_init": real("layer_scale_init", layer_scale_init),
            **_alpha_options(alpha_init, alpha_min),
        }
        boolean("top_down_skip", top_down_skip)

        self.stem = Stem(self.in_chans, self.channels[0])
        self.columns = nn.ModuleList(
            Column(self._levels(top_down_skip, first=index == 0, **level_options))
            for index in range(self.num_columns)
        )
        self.head = Head(self.num_features, self.num_classes)
        self.apply(_initialise)

    def _levels(self, top_down_skip: bool, first: bool, **options: Any) -> Iterator[Level]:
        """Builds the levels of one column; the first column has no up paths."""
        top = len(self.channels) - 1
        for index, rates in enumerate(_drop_path_schedule(self.drop_path_rate, self.layers)):
            yield Level(
                self.channels[index],
                lower_channels=self.channels[index - 1] if index else None,
                higher_channels=None if first or index == top else self.channels[index + 1],
                top_channels=self.channels[top] if top_down_skip and not (first or index) else None,
                drop_path_rates=rates,
                **options,
            )

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, stride and module of each map of `forward_features`, in timm's words."""
        return [
            {
                "num_chs": channels,
                "reduction": PATCH_SIZE * 2**index,
                "module": f"columns.{self.num_columns - 1}.levels.{index}",
            }
            for index, channels in enumerate(self.channels)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Classifies images.

        Args:
            x: [B, in_chans, H, W], floating point, H and W at least 32.

        Returns:
            Logits [B, num_classes]; normed features [B, channels[3]] when num_classes is 0.

        Raises:
            InputError: images of another rank, channel count, dtype, device, or too small.
        """
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Returns the last column's maps, [B, C_l, H / 2 ** (l + 2), W / 2 ** (l + 2)] each.

        The sizes are rounded down. Without autograd one column's maps are alive at a time, and
        those of the column being computed. Arguments and errors are those of `forward`.
        """
        for features in self._columns(x):  # noqa: B007
            pass
        return features

    def forward_columns(self, x: Tensor) -> list[list[Tensor]]:
        """Returns the maps of every column, first to last; see `forward_features`."""
        return list(self._columns(x))

    def forward_head(self, features: Sequence[Tensor] | Tensor, pre_logits: bool = False) -> Tensor:
        """Pools, norms and classifies.

        Args:
            features: the maps of a column, or its top map [B, channels[3], h, w] alone.
            pre_logits: whether to stop before the classifier.

        Returns:
            Logits [B, num_classes], or features [B, channels[3]].

        Raises:
            InputError: a top map of another shape.
        """
        top = features if isinstance(features, Tensor) else features[-1]
        if top.ndim != 4 or top.shape[1] != self.num_features:
            raise InputError(
                f"the top map has shape {tuple(top.shape)}; "
                f"expected [B, {self.num_features}, h, w]."
            )
        return self.head(top, pre_logits)

    def invert(
        self, features: Sequence[Tensor], stem: Tensor, column: int = -1
    ) -> list[list[Tensor]]:
        """Rebuilds the maps of all columns before `column`, from that column's maps alone.

        Exact in exact arithmetic. In floating point the error grows with every column, by up to
        a division by alpha a level: at the initial alpha of 0.5, float32 serves about four
        columns and float64 about sixteen.

        Args:
            features: the four maps of `column`.
            stem: the stem's output for the same images, `model.stem(x)`.
            column: index of the column the maps are from, counted from the end when negative.

        Returns:
            The maps of columns 0 ... column - 1, in this order; nothing for column 0.

        Raises:
            InputError: maps of other shapes than the column gives, or no such column.
            ZooError: in training mode with drop path, where forward is random.
        """
        if self.training and self.drop_path_rate > 0:
            raise ZooError(
                f"a forward pass with drop path (rate {self.drop_path_rate}) in training mode is "
                "random and cannot be inverted; call eval() on the model first."
            )
        if not -self.num_columns <= column < self.num_columns:
            raise InputError(f"column is {column}; this model has {self.num_columns} columns.")
        self._check_features(features, stem)
        columns: list[list[Tensor]] = []
        for index in range(column % self.num_columns, 0, -1):
            features = self.columns[index].inverse(stem, features)
            columns.append(features)
        return columns[::-1]

    def get_classifier(self) -> nn.Module:
        """Returns the last linear layer, or the identity when num_classes is 0."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, init_scale: float = FINE_TUNING_SCALE) -> None:
        """Replaces the linear classifier by a new one, for fine-tuning.

        Args:
            num_classes: outputs; with 0 the model gives the pooled, normed features
                [B, channels[3]], ready for a classifier of one's own.
            init_scale: factor on the initial weights, 0.001 in the official fine-tuning, so that
                training starts from nearly even predictions.

        Raises:
            ConfigError: an argument out of its range.
        """
        self.num_classes = integer("num_classes", num_classes, minimum=0)
        init_scale = real("init_scale", init_scale)
        like = self.head.norm.weight
        if self.num_classes == 0:
            self.head.fc = nn.Identity()
            return
        classifier = nn.Linear(
            self.num_features, self.num_classes, device=like.device, dtype=like.dtype
        )
        _initialise(classifier)
        with torch.no_grad():
            classifier.weight.mul_(init_scale)
        self.head.fc = classifier

    def _columns(self, x: Tensor) -> Iterator[list[Tensor]]:
        """Yields the maps of each column, holding on to one column's only."""
        self._check_images(x)
        stem = self.stem(x)
        features = None
        for column in self.columns:
            features = column(stem, features)
            yield features

    def _check_images(self, x: Tensor) -> None:
        expected = (
            f"expected floating-point images [B, {self.in_chans}, H, W] with H and W of at least "
            f"{MIN_IMAGE_SIZE} pixels"
        )
        if not isinstance(x, Tensor):
            raise InputError(f"images are a {type(x).__name__}; {expected}.")
        if (
            x.ndim != 4
            or x.shape[1] != self.in_chans
            or not x.is_floating_point()
            or min(x.shape[2:]) < MIN_IMAGE_SIZE
        ):
            raise InputError(f"images have shape {tuple(x.shape)} and dtype {x.dtype}; {expected}.")
        weight = self.stem.conv.weight
        # Offloaded weights stay on the meta device until a hook fetches them.
        if x.device != weight.device and not weight.is_meta:
            raise InputError(f"images are on {x.device}, the model on {weight.device}; move one.")
        if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise InputError(
                f"images have dtype {x.dtype} and the model {weight.dtype}; convert one, or run "
                "under torch.autocast."
            )

    def _check_features(self, features: Sequence[Tensor], stem: Tensor) -> None:
        if stem.ndim != 4:
            raise InputError(f"stem has shape {tuple(stem.shape)}; expected [B, C, h, w].")
        given = [tuple(map_.shape) for map_ in (stem, *features)]
        height, width = stem.shape[-2:]
        expected = [
            (stem.shape[0], self.channels[level], height >> level, width >> level)
            for level in (0, *range(len(self.channels)))
        ]
        if given != expected:
            raise InputError(f"stem and features have shapes {given}; expected {expected}.")


def _alpha_options(alpha_init: Any, alpha_min: Any) -> dict[str, float]:
    alpha_init, alpha_min = real("alpha_init", alpha_init), positive("alpha_min", alpha_min)
    if abs(alpha_init) < alpha_min:
        raise ConfigError(f"alpha_init is {alpha_init}; expected at least alpha_min in magnitude.")
    return {"alpha_init": alpha_init, "alpha_min": alpha_min}


def _drop_path_schedule(rate: float, layers: Sequence[int]) -> Iterator[list[float]]:
    """Rates rising linearly from 0 to `rate` over a column's blocks, as one list a level."""
    last = max(sum(layers) - 1, 1)
    rates = iter(rate * block / last for block in range(sum(layers)))
    for number in layers:
        yield [next(rates) for _ in range(number)]


def _initialise(module: nn.Module) -> None:
    """Normal weights of standard deviation 0.02 and zero biases, as the official code.

    It cuts the normal distribution at +-2, a hundred standard deviations away: no cut at all, so
    the much slower sampling of a truncated distribution is spared.
    """
    # The meta device has no values, and sampling there makes torch import for seconds.
    if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
