"""Where an object is: from what a user writes to a card, be it a name, a folder or a repository."""

from __future__ import annotations

import copy
import os
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from zoo_core import folder
from zoo_core.cache import Cache, user_path
from zoo_core.card import Card, HubFile, Weights
from zoo_core.errors import CheckpointError, ConfigError, UnknownNameError
from zoo_core.hub import Access, Fetched, fetch
from zoo_core.plugins import installed
from zoo_core.registry import Resolved, resolve

HUB_PREFIX = "hf-hub:"
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class Located(NamedTuple):
    """What a user's words stand for.

    Attributes:
        found: the card with the weights that are meant.
        config: arguments of the factory that the folder or repository states over the card's.
        local: the weights' file, where it is at hand already.
    """

    found: Resolved
    config: dict[str, Any]
    local: Fetched | None


def info(name: str | os.PathLike[str]) -> Card:
    """Returns the card that a name, folder or repository stands for: a copy of one's own.

    Args:
        name: as for `zoo.load`.

    Raises:
        UnknownNameError: there is no such name, plugin or tag.
        AmbiguousNameError: two plugins claim the name.
    """
    if _is_folder(name) or str(name).startswith(HUB_PREFIX):
        found = locate(name, Access(Cache.at(), installed().fetch)).found
    else:
        found = resolve(str(name))
    return copy.deepcopy(found.card)


def locate(name: str | os.PathLike[str], access: Access, revision: str | None = None) -> Located:
    """Returns what a name, a folder or a repository stands for.

    Args:
        name: a name as the registry knows them, `hf-hub:owner/repo[@revision]`, or a folder: a
            `Path`, or text that begins with `.`, `~` or the root.
        access: how to fetch the `config.json` of a repository; nothing else is fetched.
        revision: a branch, tag or commit instead of the one that is stated.

    Raises:
        UnknownNameError: there is no such name, tag, plugin, folder or repository.
        AmbiguousNameError: two plugins claim the name.
        ConfigError: a revision for weights that have none.
        CheckpointError: a folder or repository that zoo.save did not write.
        FetchError: a repository's config.json cannot be fetched.
    """
    if _is_folder(name):
        if revision is not None:
            raise ConfigError(f"revision={revision!r} has no meaning for the folder {name}.")
        return _local(user_path(name, "the folder"))
    name = str(name)
    if name.startswith(HUB_PREFIX):
        repo, _, pinned = name.removeprefix(HUB_PREFIX).partition("@")
        if not _REPOSITORY.fullmatch(repo):
            raise UnknownNameError(f"{name!r} is no repository; write {HUB_PREFIX}owner/repo.")
        return _remote(repo, revision or pinned or "main", access)
    try:
        found = resolve(name)
    except UnknownNameError as error:
        if os.path.isdir(name):  # noqa: PTH112 - it answers for any text, however long
            raise UnknownNameError(f"{error} For the folder of this name write ./{name}") from error
        raise
    if revision is not None and found.weights is not None:
        found = found._replace(weights=_at_revision(found.weights, revision))
    return Located(found, {}, None)


def _is_folder(name: object) -> bool:
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise UnknownNameError(f"the name is {name!r}; expected text like 'revcol-t' or a Path.")
    if isinstance(name, os.PathLike):
        return True
    return name.startswith((".", "~")) or os.path.isabs(name)  # noqa: PTH117 - any text has an answer


def _at_revision(weights: Weights, revision: str) -> Weights:
    if not weights.source.startswith("hf://"):
        raise ConfigError(f"revision={revision!r} has no meaning for {weights.source}.")
    source = str(replace(HubFile.parse(weights.source), revision=revision))
    return replace(weights, source=source, sha256=None, size=None)


def _local(path: Path) -> Located:
    """A folder written by `zoo.save`."""
    config = path / folder.CONFIG
    if not config.is_file():
        what = "has no config.json" if path.is_dir() else "does not exist"
        raise UnknownNameError(f"{path} {what}; expected a folder written by zoo.save.")
    found, arguments = folder.read(config, path.absolute().as_uri())
    if found.weights is None:
        return Located(found, arguments, None)
    tensors = path / PurePosixPath(found.weights.source).name
    if not tensors.is_file():
        raise CheckpointError(f"{path} has no {tensors.name}, which its config.json names.")
    return Located(found, arguments, Fetched(tensors, "", found.weights.source))


def _remote(repo: str, revision: str, access: Access) -> Located:
    """A repository written by `zoo.push`."""
    source = f"hf://{repo}/{folder.CONFIG}@{revision}"
    config = fetch(Weights(tag="config", source=source, license="other"), access)
    commit = HubFile.parse(config.source).revision  # the tensors are to be of the same one
    found, arguments = folder.read(config.path, f"hf://{repo}", f"@{commit}")
    return Located(found, arguments, None)
