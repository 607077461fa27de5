"""`zoo plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zoo_core.cli import output
from zoo_core.plugins import Plugin, installed


def command(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the plugins: active, blocked by ZOO_PLUGINS, or broken and why."""
    if json:
        output.as_json([_described(plugin) for plugin in installed().all])
        return
    rows = [
        (plugin.name, f"{plugin.distribution} {plugin.version}", plugin.status, _details(plugin))
        for plugin in installed().all
    ]
    output.table(("plugin", "distribution", "status", "details"), rows)


def _details(plugin: Plugin) -> str:
    if plugin.status == "active":
        counts = {"card": len(plugin.cards), "experiment": len(plugin.experiments)}
        parts = [
            f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items() if count
        ]
        return ", ".join(parts) or "nothing but hooks"
    return plugin.error or "not in ZOO_PLUGINS"


def _described(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "cards": [card.name for card in plugin.cards],
        "experiments": [experiment.name for experiment in plugin.experiments],
        "error": plugin.error,
    }
