"""The command `zoo`: this file puts it together, each other file is one command."""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Annotated

import typer

import zoo_core
from zoo_core.cli import info, list_, plugins, predict, pull, reproduce
from zoo_core.errors import ZooError, ZooWarning, printable
from zoo_core.plugins import installed

_DEBUG = "--debug"


def main() -> None:
    """Runs the command line; a `ZooError` becomes one line on stderr and exit code 2."""
    debug = _DEBUG in sys.argv[1:]
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal can show every label
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            arguments = [argument for argument in sys.argv[1:] if argument != _DEBUG]
            build()(arguments, prog_name="zoo")
        finally:
            sys.stdout.flush()
    except ZooError as error:
        if debug:
            raise
        print(f"zoo: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python must not flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def build() -> typer.Typer:
    """Returns the command with our subcommands and those of the installed plugins."""
    app = typer.Typer(
        name="zoo",
        help="Methods from papers, by name: list them, look at them, fetch and use their weights.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.command("list")(list_.command)
    app.command("info")(info.command)
    app.command("pull")(pull.command)
    app.command("predict")(predict.command)
    app.command("reproduce")(reproduce.command)
    app.command("plugins")(plugins.command)
    installed().add_commands(app)
    return app


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"zoo-core {zoo_core.__version__}")
        raise typer.Exit


def _options(
    debug: Annotated[
        bool, typer.Option(_DEBUG, help="Show the traceback of an error. Works anywhere.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """One line for a warning of ours, Python's usual form for the others."""
    if issubclass(category, ZooWarning):
        print(f"zoo: {printable(str(message))}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
