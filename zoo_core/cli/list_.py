"""`zoo list`: the names."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo_core.cli import output
from zoo_core.registry import search


def command(
    kind: Annotated[
        str | None, typer.Option(help="Only model, explainer, sampler or estimator.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    plugin: Annotated[str | None, typer.Option(help="Only this plugin.")] = None,
    pretrained: Annotated[
        bool | None, typer.Option(help="Only with, or without, pretrained weights.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the names of the zoo."""
    found = search(kind=kind, task=task, plugin=plugin, pretrained=pretrained)
    if json:
        output.as_json(
            [
                {
                    "name": name,
                    "kind": each.card.kind,
                    "task": each.card.task,
                    "plugin": each.plugin.name,
                    "weights": list(each.card.tags),
                    "summary": each.card.summary,
                }
                for name, each in found
            ]
        )
        return
    rows = [
        (name, each.card.kind, "\n".join(each.card.tags), each.card.task, each.card.summary)
        for name, each in found
    ]
    output.table(("name", "kind", "weights", "task", "summary"), rows)
