"""What a training needs to go on, on disk: safetensors and JSON, nothing that is unpickled.

A checkpoint is a folder step-NNNNNNNN-epoch-NNNN with the weights, Adam's moments, the memory with
its pending messages, the best weights so far with the memory that belongs to them, and state.json
with the position, the history and the digests of the other files. It is written beside and renamed
when it is complete, and only then is the one before removed: no name is used twice. There is no
random state in it: every generator is seeded from the training's seed and the place where it is
used.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zoo_core.cache import replacing
from zoo_core.errors import CheckpointError, SaveError, enumeration
from zoo_core.retries import first_line
from zoo_tns.training.rates import rate_sums

FORMAT = 2
CHECKPOINTS = "checkpoints"
Tensors = dict[str, Tensor]

_KINDS = ("step", "exp_avg", "exp_avg_sq")  # of Adam
_NAME = re.compile(r"step-(\d{8,})-epoch-(\d{4,})")
_SCRATCH = re.compile(r"\." + _NAME.pattern + r"\..+")
_STATE = "state.json"
_FILES = ("model", "optimizer", "memory", "best-model", "best-memory")
_SUMS = {"loss", "events", "seconds", *rate_sums({}, 0)}


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        step: steps done, of all epochs.
        epoch: epochs done, with their validation.
        batch: steps done in the epoch under way.
        sums: of the epoch under way, what its record is made from.
        history: a record of each epoch done.
        best_epoch: the one with the best validation AP, counted from 1; 0 before the first.
        best_val_ap: its validation AP.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_val_ap: float = 0.0

    @property
    def name(self) -> str:
        """Of its checkpoint: those at an epoch's end, before and after validation, differ, too."""
        return f"step-{self.step:08d}-epoch-{self.epoch:04d}"


@dataclass(frozen=True)
class Snapshot:
    """A model's weights and its memory."""

    model: Tensors
    memory: Tensors

    @classmethod
    def of(cls, model: nn.Module) -> Snapshot:
        """Returns a copy of those of a model."""
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        return cls(weights, model.memory_state())

    def restore(self, model: nn.Module) -> None:
        """Gives them to a model."""
        model.load_state_dict(self.model)
        model.load_memory_state(self.memory)


def save_checkpoint(
    out: Path,
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: Snapshot | None,
) -> Path:
    """Writes a checkpoint, removes the others, and returns its folder.

    Raises:
        SaveError: the folder cannot be written.
    """
    folder = out / CHECKPOINTS
    target = folder / progress.name
    now = Snapshot.of(model)
    best = best or Snapshot({}, {})
    contents = (now.model, _moments(optimizer, model), now.memory, best.model, best.memory)
    try:
        with replacing(target) as fresh:
            fresh.mkdir()
            for name, tensors in zip(_FILES, contents, strict=True):
                write_tensors(fresh / f"{name}.safetensors", tensors)
            digests = {name: _sha256(fresh / f"{name}.safetensors") for name in _FILES}
            state = {"format": FORMAT, "digests": digests, **asdict(progress)}
            text = json.dumps(state, indent=2, allow_nan=False)
            (fresh / _STATE).write_text(text + "\n", encoding="utf-8")
        for old in folder.iterdir():
            # Also what a training left that was killed while it wrote.
            ours = _NAME.fullmatch(old.name) or _SCRATCH.fullmatch(old.name)
            if ours and old != target:
                shutil.rmtree(old)
    except (OSError, SafetensorError) as error:
        raise SaveError(
            f"the checkpoint {target} cannot be written: {first_line(error)}."
        ) from error
    return target


def newest_checkpoint(out: Path) -> Path | None:
    """Returns the newest complete checkpoint of a training's folder, or None."""
    found = {}
    for each in (out / CHECKPOINTS).glob("step-*"):
        if place := _NAME.fullmatch(each.name):
            found[int(place[1]), int(place[2])] = each
    return found[max(found)] if found else None


def load_checkpoint(
    checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, Snapshot | None]:
    """Reads a checkpoint into a model, with its memory, and an optimizer.

    Returns:
        How far the training was, and the best of it so far.

    Raises:
        CheckpointError: it cannot be read, is damaged, or is of another model.
    """
    progress, digests = _state(checkpoint)
    files = [checkpoint / f"{name}.safetensors" for name in _FILES]
    for path in files:
        _verify(path, digests[path.stem])
    weights, moments, memory, best_weights, best_memory = map(read_tensors, files)
    _check_weights(weights, model, files[0])
    _restore(optimizer, moments, model, files[1])
    best = None
    if progress.best_epoch:
        _check_weights(best_weights, model, files[3])
        best = Snapshot(best_weights, best_memory)
    for path, state in ((files[4], best_memory), (files[2], memory)):
        if best is None and path == files[4]:
            continue
        try:
            model.load_memory_state(state)
        except ValueError as error:
            raise CheckpointError(f"{path} is not this model's: {first_line(error)}.") from error
    model.load_state_dict(weights)
    return progress, best


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors, from whatever device, as safetensors."""
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)


def read_tensors(path: Path) -> Tensors:
    """Returns the tensors of a file; raises CheckpointError where it cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, expected: str) -> None:
    try:
        found = _sha256(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}.") from error
    if found != expected:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is {found}, and {_STATE} has {expected}; remove "
            f"{path.parent} to start anew."
        )


def _state(checkpoint: Path) -> tuple[Progress, dict[str, str]]:
    """How far a checkpoint is, and the SHA-256 of its files by their names in `_FILES`."""
    path = checkpoint / _STATE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}.") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path} has another format; expected {FORMAT}.")
    digests = content.pop("digests", None)
    whole = isinstance(digests, dict) and digests.keys() == set(_FILES)
    if not whole or content.keys() != asdict(Progress()).keys() or not _sound(content, checkpoint):
        raise CheckpointError(f"{path} is damaged; remove {checkpoint} to start anew.")
    return Progress(**content), digests


def _sound(state: dict[str, Any], checkpoint: Path) -> bool:
    """Whether values are of the kind, and in the range, that `save_checkpoint` writes."""
    counts = [state[name] for name in ("step", "epoch", "batch", "best_epoch")]
    history, sums, best = state["history"], state["sums"], state["best_epoch"]
    return (
        all(type(each) is int and each >= 0 for each in counts)
        and checkpoint.name == Progress(step=state["step"], epoch=state["epoch"]).name
        and isinstance(history, list)
        and len(history) == state["epoch"]
        and all(_is_record(each, epoch) for epoch, each in enumerate(history, start=1))
        and best <= state["epoch"]
        and bool(best) == bool(history)
        and _finite(state["best_val_ap"])
        and (not best or history[best - 1]["val_ap"] == state["best_val_ap"])
        and isinstance(sums, dict)
        and all(map(_finite, sums.values()))
        and bool(sums) == bool(state["batch"])
        and (not sums or sums.keys() == _SUMS)
    )


def _is_record(record: Any, epoch: int) -> bool:
    return (
        isinstance(record, dict)
        and record.get("epoch") == epoch
        and all(value is None or _finite(value) for value in record.values())
        and "closed_share" in record
        and all(_finite(record.get(name)) for name in ("loss", "val_ap"))
    )


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _check_weights(tensors: Tensors, model: nn.Module, path: Path) -> None:
    mine = model.state_dict()
    if wrong := sorted(
        name
        for name in mine.keys() | tensors.keys()
        if name not in mine or name not in tensors or mine[name].shape != tensors[name].shape
    ):
        raise CheckpointError(f"{path} is of another model: {enumeration(wrong)}.")
    _check_finite(tensors, path)


def _check_finite(tensors: Tensors, path: Path) -> None:
    if wrong := [name for name, value in tensors.items() if not bool(value.isfinite().all())]:
        raise CheckpointError(f"{path} has values that are not finite: {enumeration(wrong)}.")


def _numbered(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[str]:
    """The names of the optimizer's parameters, in its own order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(each)] for group in optimizer.param_groups for each in group["params"]]


def _moments(optimizer: torch.optim.Optimizer, model: nn.Module) -> Tensors:
    """Adam's tensors as "KIND/PARAMETER"; a parameter that never had a gradient has none."""
    names = _numbered(optimizer, model)
    return {
        f"{kind}/{names[number]}": value
        for number, values in optimizer.state_dict()["state"].items()
        for kind, value in values.items()
    }


def _restore(
    optimizer: torch.optim.Optimizer, tensors: Tensors, model: nn.Module, path: Path
) -> None:
    shapes = {name: each.shape for name, each in model.named_parameters()}
    names = _numbered(optimizer, model)
    started = [name for name in names if any(f"{kind}/{name}" in tensors for kind in _KINDS)]
    expected = {
        f"{kind}/{name}": torch.Size() if kind == "step" else shapes[name]
        for name in started
        for kind in _KINDS
    }
    if wrong := sorted(
        key
        for key in expected.keys() | tensors.keys()
        if key not in expected or key not in tensors or tensors[key].shape != expected[key]
    ):
        raise CheckpointError(f"{path} is not of this model's optimizer: {enumeration(wrong)}.")
    _check_finite(tensors, path)
    state = {
        names.index(name): {kind: tensors[f"{kind}/{name}"] for kind in _KINDS} for name in started
    }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def finite_weights(model: nn.Module) -> bool:
    """Whether all weights are finite."""
    norms = torch.stack([each.detach().double().square().sum() for each in model.parameters()])
    return math.isfinite(float(norms.sum()))
