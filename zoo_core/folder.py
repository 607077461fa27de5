"""The zoo's own format: what `config.json` in a folder, or in a repository of the Hub, says.

It names an installed card and the factory's keyword arguments, and describes the tensors beside
it. It never names code: what is imported comes from the installed card alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo_core.card import Weights, json_mapping, to_dict
from zoo_core.checkpoint import TENSOR_FILES
from zoo_core.errors import CardError, CheckpointError, UnknownNameError
from zoo_core.origin import Origin
from zoo_core.plugins import NAME
from zoo_core.registry import Resolved, resolve

CONFIG = "config.json"
FORMAT = 1
_TAG = "saved"
_DESCRIBED = ("license", "metrics", "preprocessing", "labels", "description")
_NAME = re.compile(rf"{NAME.pattern}/[a-z0-9-]+")
_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("name", lambda it: isinstance(it, str) and bool(_NAME.fullmatch(it)), "plugin/NAME"),
    ("config", lambda it: isinstance(it, dict), "an object"),
    ("weights", lambda it: isinstance(it, dict), "an object"),
    ("tensors", lambda it: it is None or it in TENSOR_FILES, " or ".join(TENSOR_FILES)),
)


def describe(origin: Origin, tensors: str | None) -> dict[str, Any]:
    """Returns the content of `config.json` for an object of this origin.

    Args:
        origin: where the object comes from.
        tensors: the name of the file beside it that holds the tensors, if it has any.
    """
    weights = origin.weights
    described: dict[str, Any] = {}
    if weights is not None:
        described = {key: value for key, value in to_dict(weights).items() if key in _DESCRIBED}
        described["labels"] = list(origin.labels())
    return {
        "zoo_format": FORMAT,
        "name": origin.name,
        "kind": origin.card.kind,
        "config": origin.config,
        "tensors": tensors,
        "weights": described,
    }


def read(config: Path, base: str, suffix: str = "") -> tuple[Resolved, dict[str, Any]]:
    """Returns what a `config.json` stands for, with the weights beside it, and its arguments.

    Args:
        config: the file.
        base: where its folder is, in the form of a `Weights`' source.
        suffix: what that form has after the file's name, such as a revision.

    Raises:
        CheckpointError: not one of the zoo's files.
        UnknownNameError: its plugin is not installed, or too old.
    """
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{config} cannot be read as JSON: {error}.") from error
    form = content.get("zoo_format") if isinstance(content, dict) else None
    if not isinstance(form, int):
        raise CheckpointError(f"{config} was not written by zoo.save: it has no zoo_format.")
    if form != FORMAT:
        raise CheckpointError(
            f"{config} has the format {form}; this version reads {FORMAT}. Upgrade zoo-core."
        )
    for key, fits, expected in _FIELDS:
        if not fits(content.get(key)):
            raise CheckpointError(f"{config}: {key} is missing or not valid; expected {expected}.")
    name, tensors = content["name"], content.get("tensors")
    try:
        arguments = json_mapping(content["config"], "config")
        found = resolve(name)
    except CardError as error:
        raise CheckpointError(f"{config}: {error}") from error
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{config} was saved from {name}, which is not at hand: {error} Install or upgrade the "
            f"plugin that has it, for instance `pip install -U zoo-{name.partition('/')[0]}`."
        ) from error
    if tensors is None:
        return found._replace(weights=None), arguments
    described = {key: content["weights"][key] for key in _DESCRIBED if key in content["weights"]}
    if not isinstance(described.get("labels", []), list):
        raise CheckpointError(f"{config}: labels is not a list of names.")
    try:
        weights = Weights(
            **({"license": "other"} | described), tag=_TAG, source=f"{base}/{tensors}{suffix}"
        )
    except CardError as error:
        raise CheckpointError(f"{config}: {error}") from error
    return found._replace(weights=weights), arguments


def updated(weights: Weights | None, changes: dict[str, Any]) -> Weights | None:
    """Returns the weights as they are to be described after training, saving or sharing.

    Args:
        weights: as they were loaded, or None for an object that was built anew.
        changes: of license, metrics, preprocessing, labels, description; None keeps a value.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    if weights is not None:
        return replace(weights, **given)
    return Weights(**({"license": "other"} | given), tag=_TAG, source="bundled://unsaved")
