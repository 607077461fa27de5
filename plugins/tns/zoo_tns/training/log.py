"""The records of a training, one an epoch: JSON lines, callbacks and a progress bar."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from zoo_core.cache import replacing
from zoo_core.errors import SaveError

FILE = "log.jsonl"
Record = dict[str, Any]
"""Of an epoch: see `train_link_prediction`."""


class Log:
    """Where the main process tells of its epochs.

    Args:
        folder: of log.jsonl; None for no file.
        steps: of an epoch.
        epochs: of the whole training, at most.
        done: steps done before.
        callbacks: called with each record.
        progress: whether to show a bar on stderr.
    """

    def __init__(
        self,
        folder: Path | None,
        steps: int,
        epochs: int,
        done: int,
        callbacks: Sequence[Callable[[Record], object]],
        progress: bool,
    ) -> None:
        self._folder = folder
        self._callbacks = callbacks
        self._bar = tqdm(
            total=steps * epochs,
            initial=done,
            desc="training",
            unit="batch",
            disable=not progress,
            leave=False,
        )

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def advance(self) -> None:
        """Moves the bar by a step."""
        self._bar.update()

    def tell(self, history: Sequence[Record]) -> None:
        """Tells the newest record; the file is written anew, so that it never ends in half of one.

        Raises:
            SaveError: the file cannot be written.
        """
        record = history[-1]
        self._bar.set_description(f"epoch {record['epoch']}, loss {record['loss']:.4f}")
        self._bar.set_postfix_str(f"val AP {record['val_ap']:.4f}")
        if self._folder is not None:
            write_log(self._folder, history)
        for callback in self._callbacks:
            callback(dict(record))


def write_log(folder: Path, history: Sequence[Record]) -> None:
    """Writes log.jsonl; raises SaveError where that cannot be done."""
    lines = [json.dumps(plain(record), allow_nan=False) + "\n" for record in history]
    try:
        with replacing(folder / FILE) as fresh:
            fresh.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise SaveError(f"cannot write {folder / FILE}: {error.strerror or error}.") from error


def plain(record: Record) -> Record:
    """Returns a record as JSON has it: None in place of numbers that are not finite."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
