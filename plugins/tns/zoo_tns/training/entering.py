"""How the processes of a training take hold of its folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from zoo_core.errors import SaveError, ZooWarning
from zoo_tns.training.locking import locked
from zoo_tns.training.processes import Processes
from zoo_tns.training.run_folder import FILE, clear_leftovers, starting_point, write_identity


@contextmanager
def held(folder: Path | None, processes: Processes) -> Iterator[None]:
    """Has the main process lock a folder; where it cannot, every process raises its error.

    Raises:
        SaveError: another process holds it, or it cannot be written.
    """
    with ExitStack() as stack:
        refused = None
        if folder is not None and processes.main:
            try:
                stack.enter_context(locked(folder))
            except SaveError as error:
                refused = str(error)
        if refused := processes.agreed(refused):
            raise SaveError(refused)
        yield


def entered(
    folder: Path, resume: bool, mine: Mapping[str, Any], processes: Processes
) -> Path | None:
    """Makes a folder that is held a training's own, and returns where that goes on.

    Args:
        folder: that `held` holds.
        resume: whether to go on with a training that is there.
        mine: `identity` of the training.
        processes: all of which call this.

    Returns:
        The checkpoint; None starts anew, with a `ZooWarning` if a training began here before.

    Raises:
        SaveError, CheckpointError: see `starting_point`.
    """
    found = starting_point(folder, resume, mine)
    processes.wait()  # before one process writes what another one checks
    if processes.main:
        clear_leftovers(folder)
        if found is None and (folder / FILE).exists():
            warnings.warn(
                f"{folder} holds a training without a checkpoint; it starts anew.",
                ZooWarning,
                stacklevel=3,
            )
        write_identity(folder, mine)
    return found
