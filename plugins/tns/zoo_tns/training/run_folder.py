"""The folder of a training: which one it is, so that no other goes on there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.cache import replacing
from zoo_core.errors import CheckpointError, SaveError, enumeration
from zoo_core.retries import first_line
from zoo_tns.events import edge_features
from zoo_tns.splits import EventSplit
from zoo_tns.training import log, saving
from zoo_tns.training.checkpointing import newest_checkpoint
from zoo_tns.training.config import TrainingConfig

FILE = "run.json"
_SCRATCH = (*(f".{name}." for name in (FILE, log.FILE, saving.FILE)), ".zoo-")


def identity(
    model: nn.Module,
    split: EventSplit,
    config: TrainingConfig,
    node_features: Tensor | None = None,
) -> dict[str, Any]:
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
        "held_rates": [each.held for each in getattr(model, "expansions", ())],
        "dtype": ", ".join(sorted({str(each.dtype) for each in model.parameters()})),
        "parameters": {name: list(each.shape) for name, each in model.named_parameters()},
        "events": len(data.src),
        "nodes": split.num_nodes,
        "data": _digest(data.src, data.dst, data.t, edge_features(data), *masks),
        "node_features": None if node_features is None else _digest(node_features),
    }


def starting_point(folder: Path, resume: bool, mine: Mapping[str, Any]) -> Path | None:
    """Returns the checkpoint from which to go on in a folder; None starts a new training.

    Args:
        folder: of the training; need not exist.
        resume: whether to go on with a training that is there.
        mine: `identity` of the training that is to go on.

    Raises:
        SaveError: `require_usable`.
        CheckpointError: it holds another training, or checkpoints of who knows which.
    """
    require_usable(folder, resume)
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        return None
    if not (folder / FILE).exists():
        raise CheckpointError(
            f"{folder} has checkpoints and no {FILE}, which says of which training; name another "
            f"folder, or remove {checkpoint.parent} to start anew."
        )
    try:
        theirs = _flat(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
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
    return checkpoint


def require_usable(folder: Path, resume: bool) -> None:
    """Checks what can be known of a folder before there are data.

    Raises:
        SaveError: it is no folder, holds a model that no checkpoint belongs to, or, without
            `resume`, a training.
    """
    if folder.exists() and not folder.is_dir():
        raise SaveError(f"{folder} exists and is not a folder.")
    if newest_checkpoint(folder) is None:
        if (folder / "config.json").exists():
            raise SaveError(f"{folder} already holds a saved model; name another folder.")
    elif not resume:
        raise SaveError(
            f"{folder} already holds a training; name another folder, or go on there with "
            "resume=True (--resume)."
        )


def clear_leftovers(folder: Path) -> None:
    """Removes what a process left that was killed while it wrote; needs the folder's lock."""
    for each in folder.iterdir():
        if each.is_dir() and each.name.startswith(_SCRATCH):
            shutil.rmtree(each, ignore_errors=True)


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
        digest.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{name}.{key}" if name else key)
    return flat
