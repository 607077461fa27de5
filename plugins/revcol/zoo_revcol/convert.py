"""The official checkpoints, in the official code's names, to ours and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from zoo_core.checkpoint import converter
from zoo_core.errors import WeightsMismatchError, ZooWarning, enumeration
from zoo_revcol.keys import official_name
from zoo_revcol.official import Part, architecture, convert, part_of
from zoo_revcol.validation import odd


def head_config(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the factory's arguments that only a checkpoint knows: its number of classes.

    Args:
        tensors: our names -> anything with a `shape`.
    """
    return {"num_classes": tensors["head.fc.weight"].shape[0]}


def supervised_config(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the number of classes, and that there is intermediate supervision.

    And of which kind: the decoders stay when a new head has another number of classes.
    """
    return {
        **head_config(tensors),
        "intermediate_supervision": True,
        "simple_decoders": not any(".stages." in name for name in tensors),
    }


def backbone_config(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns that there is no head, and the kernels' size, which huge changes for segmentation."""
    kernel = tensors["columns.0.levels.0.blocks.0.dwconv.weight"]
    return {"num_classes": 0, "global_pool": "", "kernel_size": kernel.shape[-1]}


@converter(version=1, config=head_config)
def from_megvii(checkpoint: Any, *, ema: bool = False) -> dict[str, Tensor]:
    """Converts a classification checkpoint of the official code, for inference.

    Of a checkpoint trained with intermediate supervision the last head is kept (`cls_blocks.3`,
    also when a further `cls.classifier` lies beside it); the other heads and the decoders are
    left out. The tensors keep their dtype and are not copied.

    Args:
        checkpoint: what the file holds: a dict with the weights under `model`, `state_dict` or
            `state_dict_ema`, or the weights themselves; their names may start with `module.`
            and `backbone.`.
        ema: whether to take the moving average, under `state_dict_ema`.

    Returns:
        The state dict of `RevCol(**config_of(checkpoint))`.

    Raises:
        WeightsMismatchError: not a RevCol checkpoint, tensors missing or of another shape.

    Warns:
        ZooWarning: tensors that RevCol does not have; they are left out.
    """
    return _converted(checkpoint, "classifier", ema)


@converter(version=1, config=supervised_config)
def from_megvii_supervised(checkpoint: Any, *, ema: bool = False) -> dict[str, Tensor]:
    """Converts a checkpoint trained with intermediate supervision, with all heads and decoders.

    Args, errors and warnings are those of `from_megvii`; a checkpoint without the heads is an
    error, too.

    Returns:
        The state dict of `RevCol(**config_of(checkpoint, supervised=True))`.
    """
    return _converted(checkpoint, "supervised", ema)


@converter(version=1, config=backbone_config)
def backbone_from_megvii(checkpoint: Any, *, ema: bool = False) -> dict[str, Tensor]:
    """Converts the backbone of a detector or segmenter of the official code, or of a classifier.

    Args:
        checkpoint: a file of MMDetection or MMSegmentation (`meta`, `state_dict` with names that
            start with `backbone.`, `optimizer`), whose necks and heads are left out; or as for
            `from_megvii`, whose classifiers and decoders are left out.
        ema: as for `from_megvii`.

    Returns:
        The state dict of a `RevCol` with num_classes 0 and global_pool "".

    Raises:
        WeightsMismatchError: not a RevCol checkpoint, tensors missing or of another shape.

    Warns:
        ZooWarning: tensors of the backbone that RevCol does not have; they are left out.
    """
    return _converted(checkpoint, "backbone", ema)


def to_megvii(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames our state dict to the official code's names.

    Args:
        state_dict: of a `RevCol`, with intermediate supervision or without.

    Raises:
        WeightsMismatchError: names that RevCol does not have.
    """
    supervised = any(name.startswith("supervision.") for name in state_dict)
    names = {name: official_name(name, supervised=supervised) for name in state_dict}
    unknown = [name for name, official in names.items() if official is None]
    if unknown:
        raise WeightsMismatchError(f"not names of a RevCol: {enumeration(unknown)}.")
    return {str(names[name]): tensor for name, tensor in state_dict.items()}


def config_of(checkpoint: Any, *, supervised: bool = False, ema: bool = False) -> dict[str, Any]:
    """Infers the arguments of `RevCol` from the names and shapes in an official checkpoint.

    Args:
        checkpoint: as for `from_megvii` or `backbone_from_megvii`.
        supervised: whether it is for `from_megvii_supervised`.
        ema: as for `from_megvii`.

    Returns:
        channels, layers, num_columns, kernel_size, num_classes, in_chans and top_down_skip; with
        `supervised` also intermediate_supervision; of a checkpoint without a classifier
        num_classes is 0 and global_pool "".

    Raises:
        WeightsMismatchError: not a RevCol checkpoint, or one that lacks what tells the sizes.
    """
    return architecture(
        checkpoint, "supervised" if supervised else part_of(checkpoint, ema=ema), ema=ema
    )


def pad_kernels(state_dict: Mapping[str, Tensor], kernel_size: int) -> dict[str, Tensor]:
    """Enlarges the depthwise kernels with zeros; the network's outputs stay the same.

    The official huge model goes from 3 to 7 this way before it is fine-tuned on ADE20K. The
    decoders' kernels are always of size 3 and stay so.

    Args:
        state_dict: of a `RevCol`; it is not changed.
        kernel_size: the new odd size, for the argument `kernel_size` of `RevCol`.

    Raises:
        ConfigError: an even size.
        WeightsMismatchError: kernels larger than `kernel_size`, or no depthwise kernels at all.
    """
    odd("kernel_size", kernel_size)
    kernels = {
        name: value
        for name, value in state_dict.items()
        if name.endswith(".dwconv.weight") and not name.startswith("supervision.")
    }
    if not kernels:
        raise WeightsMismatchError("the state dict has no depthwise kernels (*.dwconv.weight).")
    too_large = [name for name, kernel in kernels.items() if kernel.shape[-1] > kernel_size]
    if too_large:
        raise WeightsMismatchError(f"kernels larger than {kernel_size}: {enumeration(too_large)}.")
    padded = {
        name: pad(kernel, [(kernel_size - kernel.shape[-1]) // 2] * 4)
        for name, kernel in kernels.items()
    }
    return {**state_dict, **padded}


def _converted(checkpoint: Any, part: Part, ema: bool) -> dict[str, Tensor]:
    conversion = convert(checkpoint, part, ema=ema)
    if conversion.unknown:
        names = enumeration(conversion.unknown)
        warnings.warn(
            f"the checkpoint holds what RevCol does not have, left out: {names}.",
            ZooWarning,
            stacklevel=3,
        )
    return conversion.tensors
