"""What a run needs to go on, on disk: safetensors and JSON, nothing that is unpickled.

A checkpoint is a folder step-NNNNNNNN with model.safetensors, optimizer.safetensors, where there is
one average.safetensors, and state.json. It is written beside and renamed when it is complete.
There is no random state in it: see `randomness`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zoo_core.cache import replacing
from zoo_core.errors import CheckpointError, SaveError, enumeration
from zoo_core.retries import first_line

FORMAT = 1
_KINDS = ("step", "exp_avg", "exp_avg_sq")  # of AdamW
_NAME = re.compile(r"step-(\d{8})")
_STATE, _MODEL, _AVERAGE, _OPTIMIZER = (
    "state.json",
    "model.safetensors",
    "average.safetensors",
    "optimizer.safetensors",
)


def save_checkpoint(
    folder: Path,
    step: int,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
    state: Mapping[str, Any],
    keep: int,
) -> Path:
    """Writes a checkpoint, removes all but the newest `keep`, and returns its folder.

    Args:
        folder: of the checkpoints.
        step: how many steps were done.
        model: the network, not wrapped.
        optimizer: of the network's parameters.
        average: the moving average, if there is one.
        state: what else to keep, as JSON values.
        keep: how many checkpoints stay.

    Raises:
        SaveError: the folder cannot be written.
    """
    target = folder / _folder(step)
    try:
        with replacing(target) as fresh:
            fresh.mkdir()
            _write(model.state_dict(), fresh / _MODEL)
            _write(_optimizer_tensors(optimizer, model), fresh / _OPTIMIZER)
            if average is not None:
                _write(average.state_dict(), fresh / _AVERAGE)
            text = json.dumps({"format": FORMAT, "step": step, **state}, indent=2)
            (fresh / _STATE).write_text(text + "\n", encoding="utf-8")
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
        for left in folder.glob(".step-*"):  # of a run that was killed while it wrote
            shutil.rmtree(left)
    except (OSError, SafetensorError) as error:
        raise SaveError(
            f"the checkpoint {target} cannot be written: {first_line(error)}."
        ) from error
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Returns the complete checkpoints in a folder, the newest last."""
    return sorted(each for each in folder.glob("step-*") if _NAME.fullmatch(each.name))


def load_checkpoint(
    checkpoint: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
) -> dict[str, Any]:
    """Reads a checkpoint into network, optimizer and average, in place, and returns its state.

    Raises:
        CheckpointError: it cannot be read, or is of another network or recipe.
    """
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        tensors = {name: load_file(checkpoint / name) for name in (_MODEL, _OPTIMIZER)}
        if average is not None:
            tensors[_AVERAGE] = load_file(checkpoint / _AVERAGE)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint} cannot be read: {first_line(error)}.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{checkpoint} has another format; expected {FORMAT}.")
    _check(state, checkpoint)
    _assign(model, tensors[_MODEL], checkpoint / _MODEL)
    if average is not None:
        _assign(average, tensors[_AVERAGE], checkpoint / _AVERAGE)
    _restore(optimizer, tensors[_OPTIMIZER], model, checkpoint / _OPTIMIZER)
    return state


def _check(state: Mapping[str, Any], checkpoint: Path) -> None:
    """Refuses a state that `save_checkpoint` does not write."""
    step, evaluated, metrics = (state.get(name) for name in ("step", "evaluated", "metrics"))
    if (
        type(step) is not int
        or checkpoint.name != _folder(step)
        or type(evaluated) is not int
        or not 0 <= evaluated <= step
        or not isinstance(metrics, dict)
        or not all(isinstance(value, (int, float)) for value in metrics.values())
        or not isinstance(state.get("scaler"), dict | None)
    ):
        raise CheckpointError(
            f"{checkpoint / _STATE} is damaged: its step, evaluated, metrics or scaler are not "
            "those of this checkpoint. Remove the folder to resume from the one before."
        )


def _folder(step: int) -> str:
    return f"step-{step:08d}"


def _write(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)


@torch.no_grad()
def _assign(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    mine = module.state_dict()
    if wrong := sorted(
        name
        for name in mine.keys() | tensors.keys()
        if name not in mine or name not in tensors or mine[name].shape != tensors[name].shape
    ):
        raise CheckpointError(f"{path} is of another network: {enumeration(wrong)}.")
    for name, value in mine.items():
        value.copy_(tensors[name])


def _numbered(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[str]:
    """The names of the optimizer's parameters, in its own order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(each)] for group in optimizer.param_groups for each in group["params"]]


def _optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's tensors as "KIND/PARAMETER"; learning rates are those of the step."""
    state, names = optimizer.state_dict()["state"], _numbered(optimizer, model)
    return {
        f"{kind}/{names[number]}": value
        for number, values in state.items()
        for kind, value in values.items()
    }


def _restore(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], model: nn.Module, path: Path
) -> None:
    shapes = {name: each.shape for name, each in model.named_parameters()}
    names = _numbered(optimizer, model)
    expected = {
        f"{kind}/{name}": torch.Size() if kind == "step" else shapes[name]
        for name in names
        for kind in _KINDS
    }
    if wrong := sorted(
        key
        for key in expected.keys() | tensors.keys()
        if key not in expected or key not in tensors or tensors[key].shape != expected[key]
    ):
        raise CheckpointError(f"{path} is not of this network's optimiser: {enumeration(wrong)}.")
    state = {
        number: {kind: tensors[f"{kind}/{name}"] for kind in _KINDS}
        for number, name in enumerate(names)
    }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
