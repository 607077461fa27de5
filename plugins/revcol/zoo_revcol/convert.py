"""The official checkpoints, in the official code's names, to ours and back."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from zoo_core.checkpoint import converter
from zoo_core.errors import ConfigError, WeightsMismatchError, ZooWarning, enumeration
from zoo_revcol.keys import official_name, our_name
from zoo_revcol.model import RevCol
from zoo_revcol.validation import odd

_CONTAINERS = ("model", "state_dict", "state_dict_ema")
_NOT_WEIGHTS = frozenset(
    {"config", "epoch", "input", "lr_scheduler", "max_accuracy", "meta", "optimizer", "scaler"}
)
_SUPERVISED_HEAD = "cls_blocks.3.classifier."
_SINGLE_HEAD = "cls.classifier."
# The parts that inference leaves out: further heads, and the two kinds of decoders.
_LEFT_OUT = re.compile(
    r"(cls|cls_blocks\.[0-3])\.classifier\.[01]\.(weight|bias)"
    r"|decoder_blocks\.[0-2]\.("
    r"projback\.[01]\.(weight|bias)"
    r"|proj_layers\.[0-2]\.[01]\.(weight|bias)"
    r"|normal_layers\.[0-2]\.0\.(gamma|(dwconv|norm|pwconv1|pwconv2)\.(weight|bias)))"
)


def head_config(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the factory's arguments that only a checkpoint knows: its number of classes.

    Args:
        tensors: our names -> anything with a `shape`.
    """
    return {"num_classes": tensors["head.fc.weight"].shape[0]}


@converter(version=1, config=head_config)
def from_megvii(checkpoint: Any) -> dict[str, Tensor]:
    """Converts a classification checkpoint of the official code, for inference.

    Of a checkpoint trained with intermediate supervision the last head is kept (`cls_blocks.3`,
    also when a further `cls.classifier` lies beside it); the other heads and the decoders are
    left out. The tensors keep their dtype and are not copied.

    Args:
        checkpoint: what the file holds: a dict with the weights under `model`, `state_dict` or
            `state_dict_ema`, or the weights themselves; their names may start with `module.`
            and `backbone.`.

    Returns:
        The state dict of `RevCol(**config_of(checkpoint))`.

    Raises:
        WeightsMismatchError: not a RevCol checkpoint, tensors missing or of another shape.

    Warns:
        ZooWarning: tensors that RevCol does not have; they are left out.
    """
    tensors, unknown = _read(checkpoint)
    expected = _shapes(_architecture(tensors))
    missing = [official_name(name) for name in expected if name not in tensors]
    misshapen = [
        f"{official_name(name)} {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if missing or misshapen:
        raise WeightsMismatchError(
            "the checkpoint does not fit RevCol"
            + (f"; missing: {enumeration(missing)}" if missing else "")
            + (f"; of another shape: {enumeration(misshapen)}" if misshapen else "")
            + "."
        )
    unknown += [official_name(name) for name in tensors if name not in expected]
    if unknown:
        warnings.warn(
            f"the checkpoint holds what RevCol does not have, left out: {enumeration(unknown)}.",
            ZooWarning,
            stacklevel=2,
        )
    return {name: tensors[name] for name in expected}


def to_megvii(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames our state dict to the official code's names, with a single head.

    Args:
        state_dict: of a `RevCol`.

    Raises:
        WeightsMismatchError: names that RevCol does not have.
    """
    unknown = [name for name in state_dict if official_name(name) is None]
    if unknown:
        raise WeightsMismatchError(f"not names of a RevCol: {enumeration(unknown)}.")
    return {official_name(name): tensor for name, tensor in state_dict.items()}


def config_of(checkpoint: Any) -> dict[str, Any]:
    """Infers the arguments of `RevCol` from the names and shapes in an official checkpoint.

    Args:
        checkpoint: as for `from_megvii`.

    Returns:
        channels, layers, num_columns, kernel_size, num_classes, in_chans and top_down_skip.

    Raises:
        WeightsMismatchError: not a RevCol checkpoint, or one that lacks what tells the sizes.
    """
    return _architecture(_read(checkpoint)[0])


def pad_kernels(state_dict: Mapping[str, Tensor], kernel_size: int) -> dict[str, Tensor]:
    """Enlarges the depthwise kernels with zeros; the network's outputs stay the same.

    The official huge model goes from 3 to 7 this way before it is fine-tuned on ADE20K.

    Args:
        state_dict: of a `RevCol`; it is not changed.
        kernel_size: the new odd size, for the argument `kernel_size` of `RevCol`.

    Raises:
        ConfigError: an even size.
        WeightsMismatchError: kernels larger than `kernel_size`, or no depthwise kernels at all.
    """
    odd("kernel_size", kernel_size)
    kernels = {key: value for key, value in state_dict.items() if key.endswith(".dwconv.weight")}
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


def _read(checkpoint: Any) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors that we use, in our names, and the names that nothing is known of."""
    weights = _weights(checkpoint)
    supervised = any(name.startswith(_SUPERVISED_HEAD) for name in weights)
    head = _SUPERVISED_HEAD if supervised else _SINGLE_HEAD
    tensors: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, value in weights.items():
        if name.startswith(head):
            ours = our_name(_SINGLE_HEAD + name.removeprefix(head))
        elif _LEFT_OUT.fullmatch(name):
            continue
        else:
            ours = our_name(name)
        if ours is None:
            unknown.append(name)
        else:
            tensors[ours] = value
    others = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if others:
        names = enumeration(map(official_name, others))
        raise WeightsMismatchError(
            f"the checkpoint holds no tensors, but other values, under {names}."
        )
    return tensors, unknown


def _weights(checkpoint: Any) -> dict[str, Any]:
    """The weights' own dict, without the prefixes that wrappers add to the names."""
    if not isinstance(checkpoint, Mapping):
        raise WeightsMismatchError(
            f"the checkpoint is a {type(checkpoint).__name__}; expected a dict of tensors, or one "
            f"with them under {', '.join(_CONTAINERS)}."
        )
    containers = (checkpoint.get(name) for name in _CONTAINERS)
    found = next((item for item in containers if isinstance(item, Mapping)), None)
    if found is None:
        found = {name: value for name, value in checkpoint.items() if name not in _NOT_WEIGHTS}
    weights: dict[str, Any] = {}
    for key, value in found.items():
        name = str(key).removeprefix("module.").removeprefix("backbone.")
        if name in weights:
            raise WeightsMismatchError(f"the checkpoint holds {name} with and without a prefix.")
        weights[name] = value
    return weights


def _architecture(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The factory's arguments, from tensors in our names."""
    num_columns = _count(tensors, r"columns\.(\d+)\..*", "columns")
    blocks = r"columns\.\d+\.levels\.{}\.blocks\.(\d+)\..*"
    layers = [_count(tensors, blocks.format(level), f"level{level} blocks") for level in range(4)]
    alphas = [f"columns.0.levels.{level}.alpha" for level in range(4)]
    kernel, stem = "columns.0.levels.0.blocks.0.dwconv.weight", "stem.conv.weight"
    classifier = "head.fc.weight"
    ranks = {**dict.fromkeys((*alphas, kernel, stem), 4), classifier: 2}
    unfit = [
        official_name(name)
        for name, rank in ranks.items()
        if name not in tensors or tensors[name].ndim != rank
    ]
    if unfit:
        raise WeightsMismatchError(
            "the checkpoint does not tell its sizes; missing or of another rank: "
            f"{enumeration(unfit)}."
        )
    return {
        "channels": [tensors[alpha].shape[1] for alpha in alphas],
        "layers": layers,
        "num_columns": num_columns,
        "kernel_size": tensors[kernel].shape[-1],
        "num_classes": tensors[classifier].shape[0],
        "in_chans": tensors[stem].shape[1],
        "top_down_skip": any(".top_down." in name for name in tensors),
    }


def _count(tensors: Mapping[str, Tensor], pattern: str, what: str) -> int:
    """How many different numbers the pattern finds; they must be 0, 1, 2, ... without a gap."""
    matches = (re.fullmatch(pattern, name) for name in tensors)
    numbers = {int(match[1]) for match in matches if match}
    absent = [str(number) for number in range(max(numbers, default=0)) if number not in numbers]
    if not numbers or absent:
        raise WeightsMismatchError(
            f"the checkpoint is not a whole RevCol: it lacks {what}"
            + (f" {enumeration(absent)}." if absent else ".")
        )
    return len(numbers)


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the network's state dict."""
    try:
        with torch.device("meta"):
            state_dict = RevCol(**config).state_dict()
    except ConfigError as error:
        raise WeightsMismatchError(f"the checkpoint's shapes make no RevCol: {error}") from error
    return {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
