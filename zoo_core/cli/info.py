"""`zoo info`: a card."""

from __future__ import annotations

import json as json_module
from dataclasses import replace
from typing import Annotated

import typer

from zoo_core.card import Card, Weights, to_dict
from zoo_core.cli import output
from zoo_core.plugins import installed


def command(
    name: Annotated[
        str,
        typer.Argument(help="A name, alias, plugin/NAME, NAME.TAG, hf-hub:owner/repo or ./folder."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what the zoo knows of a name: paper, configuration, weights, licences."""
    from zoo_core.cache import Cache
    from zoo_core.hub import Access
    from zoo_core.locating import locate

    found = locate(name, Access(Cache.at(), installed().fetch)).found
    card = found.card
    if found.weights is not None and found.weights not in card.weights:
        card = replace(card, weights=(found.weights, *card.weights))
    if json:
        chosen = found.weights.tag if found.weights else None
        extra = {"plugin": found.plugin.name, "chosen_weights": chosen}
        output.as_json(to_dict(card) | extra)
        return
    distribution = f"{found.plugin.distribution} {found.plugin.version}"
    rows = [*_card_rows(card), ("plugin", f"{found.plugin.name} ({distribution})")]
    output.table(("card", found.full_name), rows)
    for weights in card.weights:
        label = weights.tag + (" (chosen)" if weights == found.weights else "")
        output.table(("weights", label), [("tag", weights.tag), *_weights_rows(weights)])


def _card_rows(card: Card) -> list[tuple[str, str]]:
    rows = [
        ("name", card.name),
        ("aliases", ", ".join(card.aliases)),
        ("kind", card.kind),
        ("task", card.task),
        ("summary", card.summary),
        ("factory", card.factory),
        ("config", _arguments(card.config)),
    ]
    if card.paper:
        paper = card.paper
        rows += [
            ("paper", f"{paper.title} ({paper.venue} {paper.year})"),
            ("authors", ", ".join(paper.authors)),
            ("arxiv", paper.arxiv or ""),
            ("code", paper.code or ""),
        ]
    return [(key, value) for key, value in rows if value]


def _weights_rows(weights: Weights) -> list[tuple[str, str]]:
    rows = [
        ("source", weights.source),
        ("size", output.size(weights.size)),
        ("sha256", weights.sha256 or "recorded at first use"),
        ("license", weights.license),
        ("config", _arguments(weights.config)),
        ("metrics", ", ".join(f"{name} {value:g}" for name, value in weights.metrics.items())),
        ("preprocessing", _arguments(weights.preprocessing)),
        ("description", weights.description),
    ]
    return [(key, value) for key, value in rows if value]


def _arguments(values: object) -> str:
    items = dict(values).items()  # type: ignore[call-overload]
    return ", ".join(f"{key}={json_module.dumps(value)}" for key, value in items)
