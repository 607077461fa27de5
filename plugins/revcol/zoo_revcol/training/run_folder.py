"""The folder of a run: which run it is, so that no other writes there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo_core.cache import replacing
from zoo_core.errors import CheckpointError, SaveError, enumeration
from zoo_revcol.training.checkpointing import checkpoints

FILE = "run.json"
CHECKPOINTS = "checkpoints"


def starting_point(folder: Path, resume: bool) -> Path | None:
    """Returns the checkpoint from which to go on in a folder; None for a new run.

    Raises:
        SaveError: without `resume`, there is a run or a saved model already.
        CheckpointError: with `resume`, there is no checkpoint.
    """
    if folder.exists() and not folder.is_dir():
        raise SaveError(f"{folder} exists and is not a folder.")
    if not resume:
        for name in (FILE, "config.json"):
            if (folder / name).exists():
                raise SaveError(
                    f"{folder} already holds {'a run' if name == FILE else 'a saved model'}; go on "
                    "with it by --resume (resume=True), or name another folder."
                )
        return None
    found = checkpoints(folder / CHECKPOINTS)
    if not found:
        raise CheckpointError(
            f"{folder} has no checkpoint to resume from; start without --resume (resume=False), in "
            "a new folder."
        )
    return found[-1]


def check_run(folder: Path, identity: Mapping[str, Any]) -> None:
    """Checks that a folder holds the run that is to go on.

    Args:
        folder: of the run.
        identity: everything that decides the run, as JSON values.

    Raises:
        CheckpointError: it holds another run.
    """
    try:
        known = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / FILE} cannot be read: {error}.") from error
    mine, theirs = _flat(json.loads(json.dumps(identity))), _flat(known)
    different = [
        f"{key} ({theirs.get(key)!r} there, {mine.get(key)!r} here)"
        for key in sorted(mine.keys() | theirs.keys())
        if mine.get(key) != theirs.get(key)
    ]
    if different:
        raise CheckpointError(
            f"{folder} holds another run; different are: {enumeration(different, 4)}."
        )


def write_run(folder: Path, identity: Mapping[str, Any]) -> None:
    """Writes down which run it is.

    Raises:
        SaveError: the folder cannot be written.
    """
    try:
        with replacing(folder / FILE) as fresh:
            fresh.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SaveError(f"cannot write {folder}: {error.strerror or error}.") from error


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{name}.{key}" if name else key)
    return flat
