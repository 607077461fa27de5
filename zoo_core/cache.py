"""Where the zoo keeps files, and how it writes them: beside, then renamed, under a lock."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_core.errors import FetchError, InputError


@dataclass(frozen=True)
class Cache:
    """The folders of the cache.

    Attributes:
        root: the zoo's own: files of https sources, converted checkpoints, digests, locks.
        hub: the one that huggingface_hub keeps and shares with other tools.
    """

    root: Path
    hub: Path

    @classmethod
    def at(cls, cache_dir: str | os.PathLike[str] | None = None) -> Cache:
        """Returns the cache below `cache_dir`, or the user's.

        The user's is `$ZOO_CACHE`, else `zoo` in `$XDG_CACHE_HOME` or `~/.cache`; huggingface_hub's
        is where its own variables put it.
        """
        if cache_dir is not None:
            root = user_path(cache_dir, "cache_dir")
            return cls(root=root, hub=root / "hub")
        from huggingface_hub.constants import HF_HUB_CACHE

        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        root = user_path(os.environ.get("ZOO_CACHE") or Path(base) / "zoo", "ZOO_CACHE")
        return cls(root=root, hub=Path(HF_HUB_CACHE))

    @property
    def downloads(self) -> Path:
        """Files of https sources."""
        return self.root / "downloads"

    @property
    def converted(self) -> Path:
        """Foreign checkpoints as safetensors."""
        return self.root / "converted"

    @property
    def digests(self) -> Path:
        """The digests of the files used so far."""
        return self.root / "digests.json"

    def owns(self, path: Path) -> bool:
        """Whether a file lies in one of the cache's folders, and so may be removed."""
        if path.name in ("", ".."):
            return False
        place = path.parent.resolve() / path.name  # the link itself, if it is one
        return any(top.resolve() in place.parents for top in (self.root, self.hub))

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Lets one process at a time into the block; the others wait.

        Raises:
            FetchError: the cache cannot be written.
        """
        from filelock import FileLock

        folder = self.root / "locks"
        with self.writing():
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turns the system's refusals to write into errors that say what to do."""
        try:
            yield
        except OSError as error:
            raise unwritable(error, self.root) from error


def user_path(path: Any, what: str) -> Path:
    """Returns a path that a user wrote, with `~` in place of the home folder resolved.

    Args:
        path: the path.
        what: what it is of, for the message.

    Raises:
        InputError: not a path, empty, or one that no file can have.
    """
    try:
        if not os.fspath(path):
            raise ValueError("it is empty")
        expanded = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            expanded.lstat()  # refuses what is too long, or holds a zero byte
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise InputError(f"{what} is {path!r}, which is no usable path: {error}.") from error
    return expanded


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of space: on the disk, in a quota, under a limit of size."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unwritable(error: OSError, folder: Path) -> FetchError:
    """Returns the error to raise for a write that the system refused."""
    where = error.filename or folder
    return FetchError(
        f"cannot write {where}: {error.strerror or error}. Free some space or name a writable "
        "folder with cache_dir= or the variable ZOO_CACHE (for files of the Hub: HF_HOME)."
    )


def require_space(folder: Path, size: int | None, what: str) -> None:
    """Checks, before a download or a conversion, that the disk has room for it.

    Args:
        folder: where the file will go; need not exist yet.
        size: the bytes needed, or None when unknown.
        what: the file's name, for the message.

    Raises:
        FetchError: there is less free space than needed.
    """
    if size is None:
        return
    existing = next(each for each in (folder, *folder.parents) if os.access(each, os.F_OK))
    free = shutil.disk_usage(existing).free
    if free < size:
        raise FetchError(
            f"{what} needs {size / 1e9:.2f} GB and {existing} has {free / 1e9:.2f} GB free. Free "
            "some space or name another folder with cache_dir= or ZOO_CACHE (for the Hub, HF_HOME)."
        )


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields a path beside `target` that becomes `target` when the block ends well.

    The path does not exist yet; make a file or a folder of it. If the block fails, nothing of it
    is left and an earlier `target` is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh = scratch / target.name
        yield fresh
        previous = scratch / "previous"
        if fresh.is_dir() and target.exists():
            target.rename(previous)
        try:
            fresh.replace(target)
        except OSError:
            if previous.exists():
                previous.rename(target)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
