"""Reads what an official checkpoint holds: its layout, its names, and the sizes its shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from zoo_core.errors import ConfigError, WeightsMismatchError, enumeration
from zoo_revcol.keys import official_name, our_name
from zoo_revcol.model import RevCol
from zoo_revcol.supervision import MOST_CLASSES_WITH_STAGES

Part = Literal["classifier", "supervised", "backbone"]
"""What to take: the network for inference, with intermediate supervision too, or without head."""

_EMA = "state_dict_ema"
_CONTAINERS = ("model", "state_dict", _EMA)
_NOT_WEIGHTS = frozenset(
    {"config", "epoch", "input", "lr_scheduler", "max_accuracy", "meta", "optimizer", "scaler"}
)
_LAST_HEAD = "cls_blocks.3.classifier."


class Conversion(NamedTuple):
    """An official checkpoint in our terms.

    Attributes:
        config: the arguments of `RevCol`.
        tensors: the state dict of `RevCol(**config)`.
        left_out: official names of what the part asked for does not need.
        unknown: names that a RevCol does not have.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    left_out: list[str]
    unknown: list[str]


def part_of(checkpoint: Any, *, ema: bool = False) -> Part:
    """Returns "classifier", or "backbone" for a checkpoint without any classifier."""
    tensors = _named(_weights(checkpoint, ema)).tensors
    return "classifier" if any(name.startswith("head.") for name in tensors) else "backbone"


def convert(checkpoint: Any, part: Part, *, ema: bool = False) -> Conversion:
    """Takes one part of an official checkpoint. The tensors are not copied.

    Args:
        checkpoint: what the file holds: a dict with the weights under `model`, `state_dict` or
            `state_dict_ema`, or the weights themselves; their names may start with `module.`
            and `backbone.`. For "backbone", if any does start with `backbone.`, the others belong
            to a detector or segmenter and are left out.
        part: what to take.
        ema: whether to take the moving average under `state_dict_ema`.

    Raises:
        WeightsMismatchError: not a RevCol checkpoint, one without that part, tensors missing or
            of another shape, or not all of one floating-point dtype.
    """
    found, config = _architecture(checkpoint, part, ema)
    expected = _shapes(config)
    missing = [found.theirs(name) for name in expected if name not in found.tensors]
    misshapen = [
        f"{found.theirs(name)} {tuple(found.tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in found.tensors and tuple(found.tensors[name].shape) != shape
    ]
    if missing or misshapen:
        raise WeightsMismatchError(
            "the checkpoint does not fit RevCol"
            + (f"; missing: {enumeration(missing)}" if missing else "")
            + (f"; of another shape: {enumeration(misshapen)}" if misshapen else "")
            + "."
        )
    dtypes = {found.tensors[name].dtype for name in expected}
    if len(dtypes) > 1 or not next(iter(dtypes)).is_floating_point:
        raise WeightsMismatchError(
            f"the checkpoint's tensors are of {enumeration(sorted(map(str, dtypes)))}; expected "
            "one floating-point dtype, in which the network can run."
        )
    surplus = [found.theirs(name) for name in found.tensors if name not in expected]
    return Conversion(
        config,
        {name: found.tensors[name] for name in expected},
        found.left_out,
        [*found.unknown, *surplus],
    )


def architecture(checkpoint: Any, part: Part, *, ema: bool = False) -> dict[str, Any]:
    """Returns the arguments of `RevCol` for one part of an official checkpoint.

    Args and errors are those of `convert`, but only the tensors that tell sizes are looked at.
    """
    return _architecture(checkpoint, part, ema)[1]


class _Named(NamedTuple):
    """Tensors in our names; names known but left out; unknown names; how heads are called."""

    tensors: dict[str, Any]
    left_out: list[str]
    unknown: list[str]
    supervised: bool

    def theirs(self, name: str) -> str:
        return str(official_name(name, supervised=self.supervised))


def _weights(checkpoint: Any, ema: bool) -> dict[str, Any]:
    """The weights' own dict, in the file's names."""
    if not isinstance(checkpoint, Mapping):
        raise WeightsMismatchError(
            f"the checkpoint is a {type(checkpoint).__name__}; expected a dict of tensors, or one "
            f"with them under {', '.join(_CONTAINERS)}."
        )
    containers = (checkpoint.get(name) for name in ((_EMA,) if ema else _CONTAINERS))
    found = next((item for item in containers if isinstance(item, Mapping)), None)
    if found is None and ema:
        raise WeightsMismatchError(
            f"the checkpoint holds no moving average under {_EMA}; read it without ema."
        )
    if found is None:
        found = {name: value for name, value in checkpoint.items() if name not in _NOT_WEIGHTS}
    return {str(key): value for key, value in found.items()}


def _named(weights: Mapping[str, Any], part: Part = "classifier") -> _Named:
    """Sorts the weights into what we use, leave out, and do not know."""
    own = re.compile(r"(module\.)?backbone\.")
    whole = part == "backbone" and any(map(own.match, weights))
    plain: dict[str, Any] = {}
    left_out: list[str] = []
    unknown: list[str] = []
    for key, value in weights.items():
        name = key.removeprefix("module.").removeprefix("backbone.")
        if whole and not own.match(key):
            left_out.append(key)
        elif name in plain:
            raise WeightsMismatchError(f"the checkpoint holds {name} with and without a prefix.")
        else:
            plain[name] = value
    supervised = any(name.startswith(_LAST_HEAD) for name in plain)
    tensors: dict[str, Any] = {}
    for name, value in plain.items():
        ours = our_name(name, supervised=supervised)
        if ours is None:
            known = our_name(name, supervised=not supervised) is not None
            (left_out if known else unknown).append(name)
        elif _belongs(ours, part):
            tensors[ours] = value
        else:
            left_out.append(name)
    return _Named(tensors, left_out, unknown, supervised)


def _belongs(name: str, part: Part) -> bool:
    """Whether a tensor, in our names, is of that part of the network."""
    if name.startswith("supervision."):
        return part == "supervised"
    return part != "backbone" or not name.startswith("head.")


def _architecture(checkpoint: Any, part: Part, ema: bool) -> tuple[_Named, dict[str, Any]]:
    found = _named(_weights(checkpoint, ema), part)
    tensors = found.tensors
    others = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if others:
        names = enumeration(map(found.theirs, others))
        raise WeightsMismatchError(
            f"the checkpoint holds no tensors, but other values, under {names}."
        )
    num_columns = _count(tensors, r"columns\.(\d+)\..*", "columns")
    if part == "supervised" and not found.supervised:
        raise WeightsMismatchError(
            "the checkpoint has no heads of intermediate supervision (cls_blocks.*); read it "
            "without them, with from_megvii."
        )
    if part != "backbone" and not any(name.startswith("head.") for name in tensors):
        raise WeightsMismatchError(
            "the checkpoint has no classifier; missing: cls.classifier.0.weight and the others "
            "of cls.classifier.*. Read it with backbone_from_megvii."
        )
    blocks = r"columns\.\d+\.levels\.{}\.blocks\.(\d+)\..*"
    layers = [_count(tensors, blocks.format(level), f"level{level} blocks") for level in range(4)]
    alphas = [f"columns.0.levels.{level}.alpha" for level in range(4)]
    kernel, stem = "columns.0.levels.0.blocks.0.dwconv.weight", "stem.conv.weight"
    classifier = "head.fc.weight"
    ranks = dict.fromkeys((*alphas, kernel, stem), 4)
    if part != "backbone":
        ranks[classifier] = 2
    unfit = [
        found.theirs(name)
        for name, rank in ranks.items()
        if name not in tensors or tensors[name].ndim != rank
    ]
    if unfit:
        raise WeightsMismatchError(
            "the checkpoint does not tell its sizes; missing or of another rank: "
            f"{enumeration(unfit)}."
        )
    config = {
        "channels": [tensors[alpha].shape[1] for alpha in alphas],
        "layers": layers,
        "num_columns": num_columns,
        "kernel_size": tensors[kernel].shape[-1],
        "num_classes": 0 if part == "backbone" else tensors[classifier].shape[0],
        "in_chans": tensors[stem].shape[1],
        "top_down_skip": any(".top_down." in name for name in tensors),
    }
    if part == "supervised":
        config["intermediate_supervision"] = True
        config["simple_decoders"] = config["num_classes"] > MOST_CLASSES_WITH_STAGES
    if part == "backbone":
        config["global_pool"] = ""
    return found, config


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
