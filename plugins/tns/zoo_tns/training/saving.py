"""A trained model as a folder that `zoo.load` reads, with its memory in a second file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.cache import replacing, user_path
from zoo_core.errors import CheckpointError, SaveError
from zoo_core.retries import first_line
from zoo_core.saving import save
from zoo_tns.training.checkpointing import read_tensors, write_tensors

if TYPE_CHECKING:
    from zoo_tns.model import TemporalGNN

FILE = "memory.safetensors"


def save_trained(
    model: TemporalGNN,
    folder: str | Path,
    *,
    name: str | None = None,
    license: str | None = None,
    metrics: Mapping[str, float] | None = None,
    description: str | None = None,
) -> Path:
    """Writes a model to a folder that `zoo.load` reads, and its memory, if it has one, beside.

    Args:
        model: any `TemporalGNN`.
        folder: where to.
        name: the card that it is of, such as "tns-tgn"; not needed for what `zoo.load` made.
        license: the SPDX identifier of the weights' licence, in lower case.
        metrics: what was measured, as for `zoo.save`.
        description: one line on how the weights came to be.

    Raises:
        SaveError: it has no card, or the folder cannot be written.
    """
    written = save(
        model,
        folder,
        name=name,
        config=asdict(model.settings),
        license=license,
        metrics=metrics,
        description=description,
    )
    memory = model.memory_state()
    try:
        if memory:
            with replacing(written / FILE) as fresh:
                write_tensors(fresh, memory)
        else:
            (written / FILE).unlink(missing_ok=True)
    except OSError as error:
        raise SaveError(f"cannot write {written / FILE}: {error.strerror or error}.") from error
    return written


def load_memory(model: TemporalGNN, folder: str | Path) -> None:
    """Gives a model the memory of a folder that `save_trained` wrote.

    Raises:
        CheckpointError: there is none, or it is of another model.
    """
    path = user_path(folder, "folder") / FILE
    tensors = read_tensors(path)
    try:
        model.load_memory_state(tensors)
    except ValueError as error:
        raise CheckpointError(f"{path} does not fit the model: {first_line(error)}.") from error
