"""UPerNet on a RevCol: the paper's semantic segmentation.

Source: Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018; RevCol's
settings and official code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, interpolate

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.layers import without_weight_decay
from zoo_revcol.model import RevCol
from zoo_revcol.pyramid import check_backbone
from zoo_revcol.validation import integer, real

POOL_SCALES = (1, 2, 3, 6)
AUXILIARY_LEVEL = 2
AUXILIARY_WEIGHT = 0.4
IGNORE_INDEX = 255
"""The label, in ADE20K's convention, of pixels that are not to be counted."""


class SegmentationOutput(NamedTuple):
    """What the network gives in training; `segmentation_loss` takes it.

    Attributes:
        logits: [B, num_classes, H, W].
        auxiliary: logits of the auxiliary head, [B, num_classes, H, W].
    """

    logits: Tensor
    auxiliary: Tensor


class ConvNorm(nn.Sequential):
    """Convolution that keeps the size, norm, ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd side of the kernel.
        norm_layer: makes the norm from a number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        norm_layer: Callable[[int], nn.Module],
    ) -> None:
        conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        super().__init__(conv, norm_layer(out_channels), nn.ReLU())


class PyramidPooling(nn.Module):
    """Adds averages over 1 x 1, 2 x 2, 3 x 3 and 6 x 6 parts of the map to it.

    Source: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017.

    Args:
        in_channels: channels of the input.
        channels: channels of each average, and of the output.
        norm_layer: makes the norm from a number of channels.
    """

    def __init__(
        self, in_channels: int, channels: int, norm_layer: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            ConvNorm(in_channels, channels, 1, norm_layer) for _ in POOL_SCALES
        )
        self.bottleneck = ConvNorm(
            in_channels + len(POOL_SCALES) * channels, channels, 3, norm_layer
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C_in, H, W] to [B, C, H, W]."""
        pooled = [
            _resize(conv(adaptive_avg_pool2d(x, scale)), x.shape[-2:])
            for scale, conv in zip(POOL_SCALES, self.scales, strict=True)
        ]
        return self.bottleneck(torch.cat([x, *pooled], dim=1))


class FeatureFusion(nn.Module):
    """UPerNet's neck: pyramid pooling on top, a feature pyramid below, fused at stride 4.

    Args:
        in_channels: channels of the maps, lowest level first.
        channels: channels of the output.
        norm_layer: makes the norm from a number of channels.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int, norm_layer: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        *lower, top = in_channels
        self.pooling = PyramidPooling(top, channels, norm_layer)
        self.laterals = nn.ModuleList(ConvNorm(each, channels, 1, norm_layer) for each in lower)
        self.outputs = nn.ModuleList(ConvNorm(channels, channels, 3, norm_layer) for _ in lower)
        self.fusion = ConvNorm(len(in_channels) * channels, channels, 3, norm_layer)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, C_l, H_l, W_l], lowest level first, to [B, channels, H_0, W_0]."""
        *lower, top = maps
        above = self.pooling(top)
        size = lower[0].shape[-2:]
        fused = [_resize(above, size)]
        for map_, lateral, output in reversed(
            list(zip(lower, self.laterals, self.outputs, strict=True))
        ):
            above = lateral(map_) + _resize(above, map_.shape[-2:])
            fused.insert(0, _resize(output(above), size))
        return self.fusion(torch.cat(fused, dim=1))


class UPerNet(nn.Module):
    """The semantic segmentation network.

    Args:
        backbone: a RevCol; its head and intermediate supervision are removed.
        num_classes: classes of pixels.
        channels: of the neck; the paper's huge has 1440.
        auxiliary_channels: of the auxiliary head on level 2, which serves training alone.
        dropout: probability of leaving out a channel before the classifiers, while training.
        norm_layer: makes the heads' norms from a number of channels; `nn.SyncBatchNorm` for
            training on several devices.

    Raises:
        ConfigError: not a RevCol, or an argument out of its range.
    """

    def __init__(
        self,
        backbone: RevCol,
        num_classes: int = 150,
        channels: int = 512,
        auxiliary_channels: int = 256,
        dropout: float = 0.1,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        check_backbone(backbone)
        self.num_classes = integer("num_classes", num_classes, minimum=1)
        integer("channels", channels, minimum=1)
        integer("auxiliary_channels", auxiliary_channels, minimum=1)
        real("dropout", dropout, minimum=0.0, below=1.0)
        widths = backbone.channels
        self.neck = FeatureFusion(widths, channels, norm_layer)
        self.classifier = _classifier(channels, num_classes, dropout)
        self.auxiliary = nn.Sequential(
            ConvNorm(widths[AUXILIARY_LEVEL], auxiliary_channels, 3, norm_layer),
            _classifier(auxiliary_channels, num_classes, dropout),
        )
        like = backbone.stem.norm.weight
        self.to(like.device, like.dtype)
        backbone.prune_intermediate_layers()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor | SegmentationOutput:
        """Classifies pixels.

        Args:
            x: [B, in_chans, H, W], floating point, H and W at least 32.

        Returns:
            Logits [B, num_classes, H, W]; in training those of the auxiliary head beside them.

        Raises:
            InputError: as `RevCol`, or a batch of one image in training with batch norm, whose
                statistics of the 1 x 1 average are over the batch alone.
        """
        norm = self.neck.pooling.scales[0][1]
        if isinstance(norm, nn.BatchNorm2d) and norm.training and len(x) == 1:
            raise InputError(
                "batch norm cannot train on one image; give at least two, or another norm_layer, "
                "or call eval() on the model."
            )
        maps = self.backbone.forward_pyramid(x)
        size = x.shape[-2:]
        logits = _resize(self.classifier(self.neck(maps)), size)
        if not self.training:
            return logits
        return SegmentationOutput(logits, _resize(self.auxiliary(maps[AUXILIARY_LEVEL]), size))

    def no_weight_decay(self) -> set[str]:
        """The parameters that are not decayed: the alphas, and what has one dimension."""
        return without_weight_decay(self)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Returns the function from a parameter's name to its layer; the heads are the last.

        Args:
            coarse: has no effect: there is one grouping.
        """
        layer = self.backbone.group_matcher(coarse)
        prefix = "backbone."
        return lambda name: layer(name.removeprefix(prefix) if name.startswith(prefix) else "head.")


def segmentation_loss(
    output: SegmentationOutput,
    target: Tensor,
    auxiliary_weight: float = AUXILIARY_WEIGHT,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """The mean cross-entropy of the labelled pixels, plus the auxiliary head's, weighted.

    Args:
        output: of a `UPerNet` in training.
        target: labels [B, H, W], int64, in [0, num_classes) or `ignore_index`.
        auxiliary_weight: of the auxiliary head's cross-entropy.
        ignore_index: label of the pixels that are left out; without any other the loss is 0.

    Returns:
        A scalar; of half-precision logits, in float32.

    Raises:
        InputError: not the output of a network in training; labels of another shape or dtype, or
            out of range (looked at on the CPU alone).
        ConfigError: a negative weight.
    """
    real("auxiliary_weight", auxiliary_weight, minimum=0.0)
    if not isinstance(output, SegmentationOutput):
        raise InputError(
            f"output is a {type(output).__name__}; expected the SegmentationOutput that a UPerNet "
            "gives in training mode."
        )
    batch, classes, *size = output.logits.shape
    if tuple(target.shape) != (batch, *size) or target.dtype != torch.int64:
        raise InputError(
            f"target has shape {tuple(target.shape)} and dtype {target.dtype}; expected int64 "
            f"labels {(batch, *size)}."
        )
    labelled = target != ignore_index
    # On a GPU a look at the values would stop the host until the device is done.
    if target.device.type == "cpu" and (target[labelled] // classes).any():
        raise InputError(
            f"target holds classes from {target.min()} to {target.max()}; expected 0 to "
            f"{classes - 1}, and {ignore_index} for pixels to leave out."
        )
    # Half precision would lose the small terms of the sums.
    main, auxiliary = (
        cross_entropy(
            each.float() if each.dtype.itemsize < 4 else each,
            target,
            ignore_index=ignore_index,
            reduction="sum",
        )
        for each in output
    )
    return (main + auxiliary_weight * auxiliary) / labelled.sum().clamp(min=1)


@torch.no_grad()
def sliding_window(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    crop: int | Sequence[int] = 512,
    stride: int | Sequence[int] = 341,
) -> Tensor:
    """Segments images of any size window by window, and averages where windows overlap.

    The last window of a row or column ends at the image's edge. The defaults are those of the
    paper's tiny and small; the others have crops of 640 pixels and a stride of 426.

    Args:
        model: maps images [B, C, h, w] to logits [B, K, h, w], such as a `UPerNet` in eval mode.
        images: [B, C, H, W].
        crop: side of the windows, or height and width; where the image is smaller, its side.
        stride: distance between windows, or rows and columns; at most `crop`.

    Returns:
        Logits [B, K, H, W].

    Raises:
        ConfigError: a crop or stride that is not positive, or windows that leave gaps.
        InputError: images of another rank, or a model that gives something else.
    """
    crops, strides = _pair("crop", crop), _pair("stride", stride)
    if any(step > side for side, step in zip(crops, strides, strict=True)):
        raise ConfigError(
            f"stride is {stride} and crop {crop}: the windows leave gaps; expected a stride of at "
            "most the crop."
        )
    if images.ndim != 4:
        raise InputError(f"images have shape {tuple(images.shape)}; expected [B, C, H, W].")
    rows, columns = (
        _windows(*each) for each in zip(images.shape[-2:], crops, strides, strict=True)
    )
    total: Tensor | None = None
    count = images.new_zeros(images.shape[-2:])
    for row in rows:
        for column in columns:
            logits = model(images[..., row, column])
            size = (row.stop - row.start, column.stop - column.start)
            if not isinstance(logits, Tensor) or tuple(logits.shape[-2:]) != size:
                given = getattr(logits, "shape", None)
                what = tuple(given) if given is not None else f"a {type(logits).__name__}"
                raise InputError(
                    f"the model gave {what} for a window of {size}; expected logits of this size, "
                    "as a UPerNet gives in eval mode."
                )
            if total is None:
                total = logits.new_zeros(*logits.shape[:2], *images.shape[-2:])
            total[..., row, column] += logits
            count[row, column] += 1
    assert total is not None
    return total / count.to(total.dtype)


def _windows(side: int, crop: int, stride: int) -> list[slice]:
    """Windows of `crop` that cover `side`, `stride` apart; the last one ends at the edge."""
    crop = min(crop, side)
    number = -(-(side - crop) // stride) + 1
    starts = [min(index * stride, side - crop) for index in range(number)]
    return [slice(start, start + crop) for start in starts]


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    values: Sequence[Any] = value if isinstance(value, Sequence) else (value, value)
    if len(values) != 2:
        raise ConfigError(f"{name} is {value!r}; expected a whole number, or two.")
    return integer(name, values[0], minimum=1), integer(name, values[1], minimum=1)


def _classifier(channels: int, num_classes: int, dropout: float) -> nn.Sequential:
    """Dropout of whole channels, then a 1 x 1 convolution that starts near zero."""
    conv = nn.Conv2d(channels, num_classes, kernel_size=1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)
    return nn.Sequential(nn.Dropout2d(dropout), conv)


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    return interpolate(x, size=size, mode="bilinear", align_corners=False)
