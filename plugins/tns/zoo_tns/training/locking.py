"""One process at a time in a training's folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo_core.errors import SaveError, ZooWarning

FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for this process alone; the folder is made.

    The lock is the operating system's: it ends with the process, however that ends.

    Raises:
        SaveError: another process holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise _taken(folder) from None
    except NotImplementedError:
        warnings.warn(
            f"{folder} is on a file system without locks; see to it that no other process trains "
            "there.",
            ZooWarning,
            stacklevel=3,
        )
    except OSError as error:
        raise SaveError(f"cannot write {folder}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def require_free(folder: Path) -> None:
    """Raises SaveError if another process trains in a folder; writes nothing."""
    if (folder / FILE).exists():
        with locked(folder):
            pass


def _taken(folder: Path) -> SaveError:
    return SaveError(
        f"another process trains in {folder} already; wait for it, or name another folder."
    )
