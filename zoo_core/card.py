"""Cards: what the zoo knows of a method without importing it.

A `Card` names a factory and its configuration, the `Paper` it comes from and the `Weights` that
exist for it. All three are frozen and validated when made, and hold import strings instead of
functions, so that listing a hundred of them imports nothing heavy.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from zoo_core.errors import CardError
from zoo_core.interfaces import INTERFACES

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TAG = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_IMPORT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The publication a method comes from.

    Attributes:
        title: the paper's title.
        authors: the authors' names, in order.
        venue: where it appeared, such as "ICLR".
        year: the year it appeared.
        arxiv: the arXiv identifier, such as "2212.11696".
        code: the URL of the authors' code.
    """

    title: str
    authors: tuple[str, ...]
    venue: str
    year: int
    arxiv: str | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        what = f"paper {self.title!r}"
        object.__setattr__(self, "authors", _strings(self.authors, what, "authors"))
        _require(self.title, what, "title", "a title")
        _require(self.authors, what, "authors", "at least one name")
        _require(isinstance(self.year, int) and 1900 <= self.year <= 2200, what, "year", "a year")
        if self.arxiv is not None:
            _match(_ARXIV, self.arxiv, what, "arxiv", "an identifier such as 2212.11696")
        if self.code is not None and urlsplit(self.code).scheme != "https":
            raise CardError(f"{what}: code is {self.code!r}; expected an https:// URL.")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One set of pretrained tensors for a card.

    Attributes:
        tag: what picks this set: `zoo.load("NAME.TAG")`.
        source: where the file is: `hf://OWNER/REPO/PATH@REVISION`, `https://...`,
            `bundled://PATH` (below the `weights/` folder), or a scheme that a plugin's
            `zoo_fetch` hook serves. A path that ends in `.index.json` names a sharded checkpoint.
        license: the SPDX identifier of the weights' licence, in lower case as the Hub writes it.
        sha256: the file's digest, when known; checked after every download. Without it the
            digest seen first is kept and checked from then on.
        size: the file's size in bytes as its publisher states it; used for the check of free
            disk space and for display, never as a proof of integrity.
        converter: "module:function", a function made by `zoo_core.checkpoint.converter`, for a
            checkpoint that is not already in the factory's own names.
        config: the factory's arguments that these weights need, over the card's.
        metrics: what the publisher reports, such as `{"imagenet-1k top-1 (%)": 90.0}`.
        preprocessing: keyword arguments of the card's `transform`.
        labels: the names of the outputs, or "module:function" that returns them.
        description: one line on how these weights came to be.
    """

    tag: str
    source: str
    license: str
    sha256: str | None = None
    size: int | None = None
    converter: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] | str = ()
    description: str = ""

    def __post_init__(self) -> None:
        what = f"weights {self.tag!r}"
        _match(_TAG, self.tag, what, "tag", "lower-case letters, digits, - and _")
        if not isinstance(self.source, str) or "://" not in self.source:
            raise CardError(f"{what}: source is {self.source!r}; expected scheme://...")
        if self.source.startswith("http://"):
            raise CardError(f"{what}: source is {self.source!r}; expected https://, not http://.")
        if self.source.startswith("hf://"):
            HubFile.parse(self.source)
        _match(_LICENSE, self.license, what, "license", "an SPDX identifier in lower case")
        if self.sha256 is not None:
            _match(_SHA256, self.sha256, what, "sha256", "64 hexadecimal digits in lower case")
        if self.size is not None and not (isinstance(self.size, int) and self.size > 0):
            raise CardError(f"{what}: size is {self.size!r}; expected a positive number of bytes.")
        if self.converter is not None:
            _match(_IMPORT, self.converter, what, "converter", "module:function")
        for name in ("config", "metrics", "preprocessing"):
            object.__setattr__(self, name, _json_mapping(getattr(self, name), what, name))
        if isinstance(self.labels, str):
            _match(_IMPORT, self.labels, what, "labels", "a tuple of names or module:function")
        else:
            object.__setattr__(self, "labels", _strings(self.labels, what, "labels"))


@dataclass(frozen=True, kw_only=True)
class Card:
    """One name of the zoo: how to build it, where it comes from, which weights exist.

    Attributes:
        name: kebab-case, as the paper names it; unique within its plugin.
        kind: "model", "explainer", "sampler" or "estimator".
        factory: "module:function" (or class), imported only when the card is loaded.
        config: keyword arguments of the factory, JSON values; a user's own override them.
        summary: one line.
        task: what it is for, in Hugging Face's task names where one fits.
        paper: the publication.
        weights: the pretrained sets; the first is the default.
        aliases: other names for it.
        transform: "module:function" that turns a `Weights`' preprocessing (keyword arguments)
            into a callable from one raw input, such as a `PIL.Image`, to the model's input.
    """

    name: str
    kind: str
    factory: str
    summary: str
    task: str
    paper: Paper | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[Weights, ...] = ()
    aliases: tuple[str, ...] = ()
    transform: str | None = None

    def __post_init__(self) -> None:
        what = f"card {self.name!r}"
        _match(_NAME, self.name, what, "name", "kebab-case such as revcol-t")
        if self.kind not in INTERFACES:
            kinds = ", ".join(INTERFACES)
            raise CardError(f"{what}: kind is {self.kind!r}; expected one of {kinds}.")
        _match(_IMPORT, self.factory, what, "factory", "module:function")
        if self.transform is not None:
            _match(_IMPORT, self.transform, what, "transform", "module:function")
        for name in ("summary", "task"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip() or "\n" in value:
                raise CardError(f"{what}: {name} is {value!r}; expected one line of text.")
        if self.paper is not None and not isinstance(self.paper, Paper):
            raise CardError(f"{what}: paper is a {type(self.paper).__name__}; expected a Paper.")
        object.__setattr__(self, "config", _json_mapping(self.config, what, "config"))
        object.__setattr__(self, "aliases", _strings(self.aliases, what, "aliases"))
        for alias in self.aliases:
            _match(_NAME, alias, what, "aliases", "kebab-case names")
        object.__setattr__(self, "weights", tuple(self.weights))
        for weights in self.weights:
            if not isinstance(weights, Weights):
                held = type(weights).__name__
                raise CardError(f"{what}: weights hold a {held}; expected Weights.")
        _unique((weights.tag for weights in self.weights), what, "weights' tags")
        _unique((self.name, *self.aliases), what, "name and aliases")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the weights, the default first."""
        return tuple(weights.tag for weights in self.weights)


@dataclass(frozen=True)
class HubFile:
    """A file in a repository of the Hugging Face Hub, written `hf://OWNER/REPO/PATH@REVISION`."""

    repo: str
    path: str
    revision: str = "main"

    @classmethod
    def parse(cls, source: str) -> HubFile:
        """Reads the written form.

        Raises:
            CardError: not of that form, or with a path that leaves the repository.
        """
        body, _, revision = source.removeprefix("hf://").partition("@")
        owner, _, rest = body.partition("/")
        repo, _, path = rest.partition("/")
        if not (owner and repo and path) or ("@" in source and not revision):
            raise CardError(f"source is {source!r}; expected hf://OWNER/REPO/PATH[@REVISION].")
        if any(part in ("", ".", "..") for part in path.split("/")) or "\\" in path:
            raise CardError(f"source is {source!r}; its path must stay inside the repository.")
        return cls(repo=f"{owner}/{repo}", path=path, revision=revision or "main")

    def __str__(self) -> str:
        return f"hf://{self.repo}/{self.path}@{self.revision}"


def to_dict(value: Card | Weights | Paper) -> dict[str, Any]:
    """Returns a card, or a part of one, as JSON values in the order of its fields."""
    plain: dict[str, Any] = {}
    for item in fields(value):
        content = getattr(value, item.name)
        if isinstance(content, Paper):
            content = to_dict(content)
        elif isinstance(content, tuple):
            content = [to_dict(each) if isinstance(each, Weights) else each for each in content]
        plain[item.name] = copy.deepcopy(content)
    return plain


def _require(condition: object, what: str, name: str, expected: str) -> None:
    if not condition:
        raise CardError(f"{what}: {name} is missing or not valid; expected {expected}.")


def _match(pattern: re.Pattern[str], value: object, what: str, name: str, expected: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise CardError(f"{what}: {name} is {value!r}; expected {expected}.")


def _strings(value: object, what: str, name: str) -> tuple[str, ...]:
    """A tuple of strings; one string alone is refused, since it would fall into letters."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise CardError(f"{what}: {name} is {value!r}; expected a tuple of strings.")
    items = tuple(value)
    if not all(isinstance(item, str) and item for item in items):
        raise CardError(f"{what}: {name} holds something else than non-empty strings.")
    return items


def _json_mapping(value: object, what: str, name: str) -> dict[str, Any]:
    """An own copy of a mapping with string keys and JSON values."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise CardError(f"{what}: {name} is {value!r}; expected a mapping with string keys.")
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CardError(f"{what}: {name} holds a value that is not JSON: {error}.") from error
    return copy.deepcopy(dict(value))


def _unique(values: Iterable[str], what: str, name: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise CardError(f"{what}: {name} hold {value!r} twice.")
        seen.add(value)
