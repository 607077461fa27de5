"""`reproduce`: what a user asks for, a plugin's experiments, from the question to the README."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from zoo_core import figure, readme
from zoo_core.cache import user_path
from zoo_core.errors import InputError, UnknownNameError, enumeration, suggestion
from zoo_core.experiment import Experiment, absent
from zoo_core.plugins import Plugin, installed
from zoo_core.registry import search
from zoo_core.report import Report
from zoo_core.running import REPORT, Outcome, run


def reproduce(
    plugin: str,
    experiment: str | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    seeds: int | None = None,
    out: str | os.PathLike[str] | None = None,
    update_readme: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Runs one or all experiments of a plugin, one after the other, and writes their reports.

    An experiment that fails does not keep the others from running. One whose data is not there is
    skipped, unless it was asked for by name.

    Args:
        plugin: its name.
        experiment: its name; all by default.
        data: the folder that holds the folders of data; the variable `ZOO_DATA` by default.
        seeds: how many seeds, 0 to seeds - 1; each experiment's own number by default. Experiments
            in which nothing is random take none.
        out: the folder to write to; `reproduce/PLUGIN` by default.
        update_readme: a README whose tables are written anew at the end. It must have a pair of
            markers for each of the experiments; see `zoo_core.readme`.
        progress: whether to show progress, if stderr is a terminal.
        on_outcome: is called when an experiment has ended, in whatever way.

    Returns:
        One outcome for each experiment, in their order.

    Raises:
        UnknownNameError: there is no such plugin or experiment.
        InputError: bad arguments, a README without the markers, or no data for the experiment
            that was asked for; before any work.
        ConfigError: matplotlib is not installed; before any work.
        SaveError: the folder or the README cannot be written.
        KeyboardInterrupt: as it came; the reports so far are written, the README is not.
    """
    owner, chosen = select(plugin, experiment)
    if seeds is not None and (type(seeds) is not int or seeds < 1):
        raise InputError(f"seeds is {seeds!r}; expected a whole number, 1 or more.")
    root = _data_root(data)
    target = folder_of(plugin, out)
    if any(each.figure for each in chosen):
        figure.require_matplotlib()
    if update_readme is not None:
        readme.check(Path(update_readme), [each.name for each in chosen])
    if experiment is not None and (reason := _missing(chosen[0], root)):
        raise InputError(f"{plugin} {experiment}: {reason}")
    outcomes = []
    for each in chosen:
        if reason := _missing(each, root):
            outcome = Outcome(experiment=each, status="skipped", reason=reason)
        else:
            outcome = run(owner, each, root, target, _seeds(each, seeds), progress)
        if on_outcome:
            on_outcome(outcome)
        if outcome.status == "interrupted" and outcome.error:
            raise outcome.error
        outcomes.append(outcome)
    if update_readme is not None:
        done = [each.report for each in outcomes if each.status == "done" and each.report]
        refresh_readme(update_readme, done)
    return outcomes


def select(plugin: str, experiment: str | None = None) -> tuple[Plugin, tuple[Experiment, ...]]:
    """Returns the plugin and one or all of its experiments.

    Raises:
        UnknownNameError: there is no such plugin or experiment, or it has none at all.
    """
    search(plugin=plugin)  # raises for an unknown one
    owner = next(each for each in installed().active if each.name == plugin)
    names = [each.name for each in owner.experiments]
    if not names:
        raise UnknownNameError(f"plugin {plugin} has no experiments.")
    if experiment is None:
        return owner, owner.experiments
    if experiment not in names:
        raise UnknownNameError(
            f"plugin {plugin} has no experiment {experiment!r}; it has: {enumeration(names)}."
            f"{suggestion(experiment, names)}"
        )
    return owner, (owner.experiments[names.index(experiment)],)


def reports(
    plugin: str, experiment: str | None = None, *, out: str | os.PathLike[str] | None = None
) -> list[Report]:
    """Returns the reports that earlier runs left, of one or all experiments of a plugin.

    Raises:
        UnknownNameError: there is no such plugin or experiment.
        InputError: a report is not there, not readable, or of another experiment.
    """
    _, chosen = select(plugin, experiment)
    target = folder_of(plugin, out)
    found = []
    for each in chosen:
        file = target / each.name / REPORT
        report = Report.read(file)
        if (report.plugin, report.experiment) != (plugin, each.name):
            raise InputError(f"{file} is of {report.plugin} {report.experiment}, not {each.name}.")
        found.append(report)
    return found


def refresh_readme(file: str | os.PathLike[str], reports: Sequence[Report]) -> None:
    """Writes the tables of these reports between their markers; the rest stays as it is.

    Raises:
        InputError: the file is not readable, or lacks a marker.
        SaveError: it cannot be written.
    """
    readme.refresh(Path(file), {report.experiment: report.markdown() for report in reports})


def folder_of(plugin: str, out: str | os.PathLike[str] | None) -> Path:
    """Returns the folder that holds the reports of a plugin."""
    return user_path(out, "out") if out is not None else Path("reproduce", plugin)


def _data_root(data: str | os.PathLike[str] | None) -> Path | None:
    given = data if data is not None else os.environ.get("ZOO_DATA") or None
    if given is None:
        return None
    root = user_path(given, "data" if data is not None else "ZOO_DATA")
    if not root.is_dir():
        what = "data" if data is not None else "ZOO_DATA"
        raise InputError(f"{what} is {root}, which is no folder.")
    return root


def _missing(experiment: Experiment, root: Path | None) -> str | None:
    """Why data that an experiment needs is not there."""
    return next((why for name in experiment.data if (why := absent(name, root))), None)


def _seeds(experiment: Experiment, asked: int | None) -> tuple[int, ...]:
    count = experiment.seeds if asked is None or not experiment.seeds else asked
    return tuple(range(count))
