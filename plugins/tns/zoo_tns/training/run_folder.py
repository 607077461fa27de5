"""The folder of a training: which one it is, so that no other goes on there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo_core.cache import replacing
from zoo_core.errors import CheckpointError, SaveError, enumeration
from zoo_core.retries import first_line
from zoo_tns.events import edge_features
from zoo_tns.splits import EventSplit
from zoo_tns.training.checkpointing import newest_checkpoint
from zoo_tns.training.config import TrainingConfig

FILE = "run.json"


def identity(model: nn.Module, split: EventSplit, config: TrainingConfig) -> dict[str, Any]:
    """Returns all that decides a training but its initial weights, as JSON values."""
    settings = getattr(model, "settings", None)
    masks = [split.train_mask, split.val_mask, split.test_mask]
    masks += [split.new_node_val_mask, split.new_node_test_mask]
    data = split.data
    # How often checkpoints are written changes nothing, and more epochs go on where fewer ended.
    decisive = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("epochs", "checkpoint_every")
    }
    return {
        "config": decisive,
        "model": None if settings is None else asdict(settings),
        "parameters": {name: list(each.shape) for name, each in model.named_parameters()},
        "events": len(data.src),
        "nodes": split.num_nodes,
        "data": _digest(data.src, data.dst, data.t, edge_features(data), *masks),
    }


def starting_point(folder: Path, resume: bool, mine: Mapping[str, Any]) -> Path | None:
    """Returns the checkpoint from which to go on in a folder; None starts a new training.

    Args:
        folder: of the training; need not exist.
        resume: whether to go on with a training that is there.
        mine: `identity` of the training that is to go on.

    Raises:
        SaveError: without `resume`, the folder holds a training or a model.
        CheckpointError: with `resume`, it holds another training.
    """
    if folder.exists() and not folder.is_dir():
        raise SaveError(f"{folder} exists and is not a folder.")
    if not resume:
        for name, what in ((FILE, "a training"), ("config.json", "a saved model")):
            if (folder / name).exists():
                raise SaveError(
                    f"{folder} already holds {what}; name another folder, or go on there with "
                    "resume=True (--resume)."
                )
        return None
    if not (folder / FILE).exists():
        return None
    try:
        theirs = _flat(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / FILE} cannot be read: {first_line(error)}.") from error
    ours = _flat(json.loads(json.dumps(mine)))
    different = [
        f"{key} ({theirs.get(key)!r} there, {ours.get(key)!r} here)"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    if different:
        raise CheckpointError(
            f"{folder} holds another training; different are: {enumeration(different, 4)}."
        )
    return newest_checkpoint(folder)


def write_identity(folder: Path, mine: Mapping[str, Any]) -> None:
    """Writes down which training it is; raises SaveError where that cannot be done."""
    try:
        with replacing(folder / FILE) as fresh:
            fresh.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SaveError(f"cannot write {folder}: {error.strerror or error}.") from error


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{name}.{key}" if name else key)
    return flat
