"""`zoo plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo_core.cli import output
from zoo_core.plugins import installed


def command(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the plugins: active, blocked by ZOO_PLUGINS, or broken and why."""
    found = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "status": plugin.status,
            "cards": [card.name for card in plugin.cards],
            "error": plugin.error,
        }
        for plugin in installed().all
    ]
    if json:
        output.as_json(found)
        return
    rows = [
        (
            str(each["name"]),
            f"{each['distribution']} {each['version']}",
            str(each["status"]),
            str(each["error"] or f"{len(each['cards'] or '')} cards"),
        )
        for each in found
    ]
    output.table(("plugin", "distribution", "status", "cards"), rows)
