"""Runs one experiment and writes what comes of it.

An experiment has a folder of its own: `report.json`, `table.md` and `figure.png` of the last run
that came to its end, `artifacts/` for files of the experiment's own, and `partial.json`, the rows
of a later run that was interrupted or failed. A report is never replaced by half of one.
"""

from __future__ import annotations

import contextlib
import operator
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zoo_core
from zoo_core import figure
from zoo_core.cache import replacing
from zoo_core.errors import PluginError, SaveError, ZooError
from zoo_core.experiment import Context, Experiment
from zoo_core.factories import import_string
from zoo_core.plugins import Plugin
from zoo_core.report import Report, environment
from zoo_core.rows import Row, Rows

REPORT, TABLE, FIGURE, PARTIAL = "report.json", "table.md", "figure.png", "partial.json"
_Tracked = Callable[[Iterable[Any], str, float | None], Iterator[Any]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the order to run an experiment.

    Attributes:
        experiment: what was to be run.
        status: "done", "skipped" (its data is not there), "failed" or "interrupted".
        report: complete if it is done; of the rows so far, if there are any, if it is not.
        reason: why it was skipped or failed, one line.
        error: what it failed with.
    """

    experiment: Experiment
    status: str
    report: Report | None = None
    reason: str = ""
    error: BaseException | None = None


def run(
    plugin: Plugin,
    experiment: Experiment,
    data_root: Path | None,
    target: Path,
    seeds: tuple[int, ...],
    progress: bool = True,
) -> Outcome:
    """Runs an experiment and writes its report, or the rows so far if it does not come to its end.

    Args:
        plugin: whose it is.
        experiment: what to run.
        data_root: the folder that holds the folders of data.
        target: the folder to make the experiment's own folder in.
        seeds: those to run.
        progress: whether to show progress, if stderr is a terminal.

    Raises:
        SaveError: the folder cannot be written.
    """
    folder = _Folder(target / experiment.name)
    folder.prepare()
    rows = Rows(
        measures=experiment.measures,
        over=experiment.over,
        seeds=seeds,
        figure=experiment.figure,
    )
    context = Context(seeds=seeds, folder=folder.path / "artifacts", data_root=data_root)
    started = time.perf_counter(), _cpu_seconds()

    def report(verdict: str, because: str) -> Report:
        made = Report(
            plugin=plugin.name,
            version=plugin.version,
            experiment=experiment.name,
            claim=experiment.claim,
            paper=experiment.paper,
            verdict=verdict,
            because=because,
            measures=experiment.measures,
            over=experiment.over,
            rows=tuple(rows.rows),
            seeds=seeds,
            data=tuple(context.used),
            environment=environment(zoo_core.__version__),
            wall_seconds=round(time.perf_counter() - started[0], 3),
            cpu_seconds=round(_cpu_seconds() - started[1], 3),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=(*context.notes, *rows.notes(), *_fewer(seeds, experiment)),
        )
        return made.without(_private(target, data_root))

    try:
        _measure(experiment, context, rows, f"{plugin.name} {experiment.name}", progress)
        found = report(*_verdict(experiment, rows.rows))
        title = f"{plugin.name}, {experiment.name}: {experiment.claim}"
        shape = experiment.figure
        drawn = figure.draw(found.summary, shape, title) if shape else None
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the plugin boundary
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = "interrupted by the user" if interrupted else _reason(error).rstrip(".")
        partial = report("incomplete", reason) if rows.rows else None
        if partial:
            folder.write({PARTIAL: partial.to_json()})
            reason += f"; rows so far: {folder.path / PARTIAL}"
        status = "interrupted" if interrupted else "failed"
        return Outcome(
            experiment=experiment, status=status, report=partial, reason=reason, error=error
        )
    folder.write({REPORT: found.to_json(), TABLE: found.markdown() + "\n", FIGURE: drawn})
    return Outcome(experiment=experiment, status="done", report=found)


def _measure(
    experiment: Experiment, context: Context, rows: Rows, title: str, progress: bool
) -> None:
    """Runs the experiment's function and adds its rows."""
    function = import_string(experiment.run)
    if experiment.check:
        import_string(experiment.check)  # what is missing is known before the work
    with _bars(progress) as tracked:
        found = function(replace(context, tracked=tracked))
        if not isinstance(found, Iterable):
            raise PluginError(f"it gave a {type(found).__name__}; expected rows")
        if tracked:
            found = tracked(found, f"{title} (about {experiment.minutes:g} minutes)", None)
        for row in found:
            rows.add(row)
    if not rows.rows:
        raise PluginError("it gave no rows")


def _verdict(experiment: Experiment, rows: list[Row]) -> tuple[str, str]:
    """The verdict and its reason, by the experiment's check of its rows."""
    if experiment.check is None:
        return "reported", ""
    found = import_string(experiment.check)([dict(row) for row in rows])
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], str):
        raise PluginError(f"its check gave {found!r}; expected (whether it holds, why)")
    because = " ".join(found[1].split())
    if not because:
        raise PluginError("its check gave no reason; expected (whether it holds, why)")
    return "supported" if bool(found[0]) else "not supported", because


def _fewer(seeds: tuple[int, ...], experiment: Experiment) -> tuple[str, ...]:
    if len(seeds) == experiment.seeds:
        return ()
    return (f"run with another number of seeds than the default of {experiment.seeds}",)


@dataclass(frozen=True)
class _Folder:
    """The folder of an experiment."""

    path: Path

    def prepare(self) -> None:
        """Makes it, so that a place that cannot be written is known before the work."""
        with self._writing():
            with replacing(self.path / PARTIAL) as fresh:
                fresh.write_text("")
            (self.path / PARTIAL).unlink()

    def write(self, files: dict[str, str | bytes | None]) -> None:
        """Writes all of the files or, if one cannot be written, none; removes those that are None.

        Raises:
            SaveError: one cannot be written.
        """
        with self._writing(), contextlib.ExitStack() as stack:
            for name, content in files.items():
                if content is None:
                    (self.path / name).unlink(missing_ok=True)
                else:
                    # Half a character, such as a file's name may hold, is written as in a repr.
                    data = (
                        content.encode(errors="backslashreplace")
                        if isinstance(content, str)
                        else content
                    )
                    stack.enter_context(replacing(self.path / name)).write_bytes(data)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or error
            raise SaveError(
                f"cannot write to {self.path}: {why}. Name a folder with --out."
            ) from error


def _private(target: Path, data_root: Path | None) -> dict[str, str]:
    """Folders of this machine, the longest first, and what a report calls them."""
    folders = [(Path.home(), "~"), (Path.cwd(), "."), (target, "OUT"), (data_root, "DATA")]
    names = {
        str(path): name
        for folder, name in folders
        if folder
        for path in (folder.absolute(), folder.resolve())
        if path != Path(path.anchor)
    }
    return dict(sorted(names.items(), key=lambda each: -len(each[0])))


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, ZooError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


@contextlib.contextmanager
def _bars(shown: bool) -> Iterator[_Tracked | None]:
    """Shows progress on stderr, if it is a terminal, and gives what tracks a loop there."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    # Seldom drawn anew, since an experiment may measure time.
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as bars:

        def tracked(items: Iterable[Any], description: str, total: float | None) -> Iterator[Any]:
            length = total if total is not None else operator.length_hint(items, 0) or None
            task = bars.add_task(description, total=length)
            try:
                for item in items:
                    yield item
                    bars.advance(task)
            finally:
                bars.remove_task(task)

        yield tracked
