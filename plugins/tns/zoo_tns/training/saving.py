"""A trained model as a folder that `zoo.load` reads, with its memory in a second file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from torch import Tensor

from zoo_core.cache import user_path
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
    with memory_beside(user_path(folder, "the folder"), model.memory_state()):
        return save(
            model,
            folder,
            name=name,
            config=asdict(model.settings),
            license=license,
            metrics=metrics,
            description=description,
        )


@contextmanager
def memory_beside(folder: Path, memory: Mapping[str, Tensor]) -> Iterator[None]:
    """Writes a memory to a folder, for a block that writes the model to it.

    The memory is there before the model, so that no model ever lacks its own. If the block fails,
    the memory from before is there again.

    Args:
        folder: need not exist.
        memory: of `TemporalGNN.memory_state`; empty removes what is there after the block.

    Raises:
        SaveError: it cannot be written.
    """
    path = folder / FILE
    if not memory:
        yield
        with _writing(path):
            path.unlink(missing_ok=True)
        return
    if folder.exists() and not folder.is_dir():
        raise SaveError(f"{folder} exists and is not a folder.")
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with _scratch(path) as scratch:
            fresh, previous = scratch / "fresh", scratch / "previous"
            with _writing(path):
                write_tensors(fresh, memory)
                if path.exists():
                    path.rename(previous)
                fresh.rename(path)
            try:
                yield
            except BaseException:
                path.unlink()
                if previous.exists():
                    previous.rename(path)
                raise
            with _writing(path):
                path.chmod((folder / "config.json").stat().st_mode & 0o777)
    except BaseException:
        for empty in made:
            with suppress(OSError):
                empty.rmdir()
        raise


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what a full disk or a folder that is not ours raises into a SaveError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise SaveError(f"cannot write {path}: {reason}.") from error


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
