"""The hooks of the zoo: what a plugin may implement.

A plugin is a module named by an entry point of the group `zoo`; it implements the hooks it needs
with `@hookimpl`. It must import nothing heavy: the functions that cards and experiments name are
imported later.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from zoo_core.card import Card, Weights
from zoo_core.experiment import Experiment

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_cards() -> Iterable[Card]:  # type: ignore[empty-body]
    """Returns the plugin's cards."""


@hookspec
def zoo_experiments() -> Iterable[Experiment]:  # type: ignore[empty-body]
    """Returns the experiments that `zoo reproduce` runs, in that order."""


@hookspec
def zoo_commands(app: typer.Typer) -> None:
    """Adds commands of the plugin's own to the command `zoo`."""


@hookspec(firstresult=True)
def zoo_fetch(weights: Weights, local_files_only: bool) -> Path | None:
    """Returns a file for these weights, or None to leave them to the next.

    The first plugin with a result wins, before the zoo's own sources are asked: a mirror, or a
    store with a scheme of its own. The file is verified like any other and never removed.

    Args:
        weights: what to fetch; `weights.source` says where it is published.
        local_files_only: whether the network must not be used.
    """
