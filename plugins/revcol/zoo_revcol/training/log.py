"""The records of a run: JSON lines, Accelerate's trackers, a callback and a progress bar."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from zoo_core.errors import CheckpointError
from zoo_core.retries import first_line

if TYPE_CHECKING:
    from accelerate import Accelerator

FILE = "log.jsonl"
Record = dict[str, Any]


class Log:
    """Where the main process tells what happens; the others' records go nowhere.

    Args:
        accelerator: its trackers get every number.
        folder: of log.jsonl; None for no file.
        step: what was told of later steps, before the run was killed, is removed.
        steps: of the whole run.
        on_record: called with each record.
        progress: whether to show a bar on stderr.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        folder: Path | None,
        step: int,
        steps: int,
        on_record: Callable[[Record], None] | None,
        progress: bool,
    ) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._accelerator = accelerator
        self._path = folder / FILE if folder and accelerator.is_main_process else None
        self._on_record = on_record
        self._bar = Progress(
            console=Console(stderr=True), disable=not (progress and accelerator.is_main_process)
        )
        self._task = self._bar.add_task("training", total=steps, completed=step)
        if self._path is not None and self._path.exists():
            self._path.write_text("".join(_until(self._path, step)), encoding="utf-8")

    def __enter__(self) -> Log:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, step: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=step)

    def tell(self, record: Record) -> None:
        """Writes one record, which has a "kind" and the "step" at whose end it was made."""
        if not self._accelerator.is_main_process:
            return
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        numbers = {
            f"{record['kind']}/{name}": value
            for name, value in record.items()
            if isinstance(value, (int, float)) and name != "step"
        }
        self._accelerator.log(numbers, step=record["step"])
        if "loss" in record:
            text = f"epoch {record['epoch']}, loss {record['loss']:.3f}"
            self._bar.update(self._task, description=text)
        if self._on_record is not None:
            self._on_record(record)


def _until(path: Path, step: int) -> list[str]:
    """The whole lines of a log up to a step.

    Raises:
        CheckpointError: it is not one of ours.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not the log of a run ({first_line(error)}); remove it to resume."
        ) from error
