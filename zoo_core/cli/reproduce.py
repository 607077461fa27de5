"""`zoo reproduce`: a paper's claims, shown on this machine."""

from __future__ import annotations

import json as json_module
import shutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo_core.cli import output
from zoo_core.errors import InputError, printable

if TYPE_CHECKING:
    from zoo_core.experiment import Experiment
    from zoo_core.report import Report
    from zoo_core.running import Outcome


def command(
    plugin: Annotated[str, typer.Argument(help="A plugin; `zoo plugins` lists them.")],
    experiment: Annotated[
        str | None, typer.Argument(help="One of its experiments; all by default.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The folder that holds the folders of data; default $ZOO_DATA."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds; default the experiment's own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write here; default reproduce/PLUGIN.")] = None,
    readme: Annotated[
        Path | None,
        typer.Option(
            help="Write the tables into this README, too, between the lines "
            "<!-- reproduce:EXPERIMENT --> and <!-- /reproduce:EXPERIMENT -->."
        ),
    ] = None,
    from_reports: Annotated[
        bool, typer.Option("--from-reports", help="Run nothing; take the reports in --out.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a plugin's experiments: does what the paper claims show here?

    Exit code 1 if one failed or none could be run; a claim that does not show is no failure.
    """
    from zoo_core import reproduce

    if list_:
        _list(reproduce.select(plugin, experiment)[1], json)
        return
    if from_reports:
        if data is not None or seeds is not None:
            raise InputError("--from-reports runs nothing; leave out --data and --seeds.")
        reports = reproduce.reports(plugin, experiment, out=out)
        if readme is not None:
            reproduce.refresh_readme(readme, reports)
        for report in () if json else reports:
            _show(report)
    else:
        target = reproduce.folder_of(plugin, out)

        def shown(outcome: Outcome) -> None:
            _tell(outcome, target, json)

        outcomes = reproduce.reproduce(
            plugin,
            experiment,
            data=data,
            seeds=seeds,
            out=out,
            update_readme=readme,
            on_outcome=shown,
        )
        reports = [each.report for each in outcomes if each.status == "done" and each.report]
        failed = any(each.status == "failed" for each in outcomes)
    if json:
        output.as_json([json_module.loads(report.to_json()) for report in reports])
    if not from_reports and (failed or not reports):
        raise typer.Exit(1)


def _list(experiments: tuple[Experiment, ...], json: bool) -> None:
    if json:
        output.as_json(
            [
                {
                    "name": each.name,
                    "claim": each.claim,
                    "paper": each.paper,
                    "minutes": each.minutes,
                    "seeds": each.seeds,
                    "data": list(each.data),
                }
                for each in experiments
            ]
        )
        return
    rows = [
        (each.name, f"{each.minutes:g}", str(each.seeds), "\n".join(each.data), each.claim)
        for each in experiments
    ]
    output.table(("experiment", "minutes", "seeds", "data", "claim"), rows)


def _tell(outcome: Outcome, target: Path, json: bool) -> None:
    """Says what became of an experiment: its table, or on stderr why there is none."""
    name = outcome.experiment.name
    if outcome.status == "done" and outcome.report:
        if not json:
            _show(outcome.report)
        print(printable(f"zoo: {name}: written to {target / name}"), file=sys.stderr)
        return
    status = "" if outcome.status == "interrupted" else f" {outcome.status}"
    print(printable(f"zoo: {name}{status}: {outcome.reason}"), file=sys.stderr)
    if outcome.status == "failed" and outcome.error and "--debug" in sys.argv[1:]:
        traceback.print_exception(outcome.error)


def _show(report: Report) -> None:
    print(printable(f"{report.experiment}: {report.claim}"))
    _print_table(*report.table())
    print(printable(report.conclusion()))
    for note in report.notes:
        print(printable(f"- {note}"))


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table; one wider than the terminal in lines that run on, since none may be cut."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    too_wide = sum(widths) + 3 * len(widths) > shutil.get_terminal_size().columns
    if not too_wide or not sys.stdout.isatty():
        output.table(columns, rows)
        return
    for cells in (columns, *rows):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(printable("  ".join(padded).rstrip()))
