"""Cards: what the zoo knows of a method without importing it.

A `Card` names a factory and its configuration, the `Paper` it comes from and the `Weights` that
exist for it. All three are frozen and validated when made, and hold import strings instead of
functions, so that listing a hundred of them imports nothing heavy.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from zoo_core.errors import CardError
from zoo_core.interfaces import INTERFACES

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TAG = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_IMPORT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}")
_DEEPEST = 32
_HUGE = 1e300
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_SOURCE = re.compile(r"[a-z][a-z0-9+.-]*://[^\s].*")
_HTTPS = re.compile(r"https://[^\s/]+\S*")
_HUB_FILE = re.compile(r"hf://([\w.-]+/[\w.-]+)/([^@\\]+)(?:@(\S+))?")


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
        what = f"paper {_shown(self.title)}"
        _line(self.title, what, "title")
        _line(self.venue, what, "venue")
        object.__setattr__(self, "authors", _strings(self.authors, what, "authors"))
        if not self.authors:
            raise CardError(f"{what}: authors is empty; expected at least one name.")
        if not _is_integer(self.year) or not 1900 <= self.year <= 2200:
            raise CardError(f"{what}: year is {_shown(self.year)}; expected such as 2023.")
        if self.arxiv is not None:
            _match(_ARXIV, self.arxiv, what, "arxiv", "an identifier such as 2212.11696")
        if self.code is not None:
            _match(_HTTPS, self.code, what, "code", "an https:// URL")


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
        what = f"weights {_shown(self.tag)}"
        _match(_TAG, self.tag, what, "tag", "lower-case letters, digits, - and _")
        _match(_SOURCE, self.source, what, "source", "scheme://...")
        if self.source.startswith("http"):
            _match(_HTTPS, self.source, what, "source", "an https:// URL")
        if self.source.startswith("hf://"):
            HubFile.parse(self.source)
        _match(_LICENSE, self.license, what, "license", "an SPDX identifier in lower case")
        if self.sha256 is not None:
            _match(_SHA256, self.sha256, what, "sha256", "64 hexadecimal digits in lower case")
        if self.size is not None and not (_is_integer(self.size) and self.size > 0):
            shown = _shown(self.size)
            raise CardError(f"{what}: size is {shown}; expected a positive number of bytes.")
        if self.converter is not None:
            _match(_IMPORT, self.converter, what, "converter", "module:function")
        for name in ("config", "metrics", "preprocessing"):
            object.__setattr__(self, name, json_mapping(getattr(self, name), f"{what}: {name}"))
        for name, value in self.metrics.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > _HUGE:
                shown = _shown(value)
                raise CardError(f"{what}: metrics[{name!r}] is {shown}; expected a number.")
        if self.description != "":
            _line(self.description, what, "description")
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
        what = f"card {_shown(self.name)}"
        _match(_NAME, self.name, what, "name", "kebab-case such as revcol-t")
        if not isinstance(self.kind, str) or self.kind not in INTERFACES:
            kinds = ", ".join(INTERFACES)
            raise CardError(f"{what}: kind is {_shown(self.kind)}; expected one of {kinds}.")
        _match(_IMPORT, self.factory, what, "factory", "module:function")
        if self.transform is not None:
            _match(_IMPORT, self.transform, what, "transform", "module:function")
        _line(self.summary, what, "summary")
        _line(self.task, what, "task")
        if self.paper is not None and not isinstance(self.paper, Paper):
            raise CardError(f"{what}: paper is a {type(self.paper).__name__}; expected a Paper.")
        object.__setattr__(self, "config", json_mapping(self.config, f"{what}: config"))
        object.__setattr__(self, "aliases", _strings(self.aliases, what, "aliases"))
        for alias in self.aliases:
            _match(_NAME, alias, what, "aliases", "kebab-case names")
        if not isinstance(self.weights, Iterable):
            held = type(self.weights).__name__
            raise CardError(f"{what}: weights is a {held}; expected a tuple of Weights.")
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
        found = _HUB_FILE.fullmatch(source)
        if not found:
            raise CardError(f"source is {source!r}; expected hf://OWNER/REPO/PATH[@REVISION].")
        repo, path, revision = found.groups()
        if any(part in ("", ".", "..") for part in [*repo.split("/"), *path.split("/")]):
            raise CardError(f"source is {source!r}; its path must stay inside the repository.")
        return cls(repo=repo, path=path, revision=revision or "main")

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


def json_mapping(value: object, what: str) -> dict[str, Any]:
    """Returns an own copy of a mapping with string keys and JSON values, as JSON reads it back.

    Args:
        value: the mapping; tuples in it become lists.
        what: what it is, for the message.

    Raises:
        CardError: names the place of the first value that is not JSON.
    """
    if not isinstance(value, Mapping):
        raise CardError(f"{what} is {_shown(value)}; expected a mapping with string keys.")
    copied: dict[str, Any] = _json(value, what)
    return copied


def _json(value: Any, what: str, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise CardError(f"{what[:100]}... is nested deeper than {_DEEPEST} levels.")
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_json(item, f"{what}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise CardError(f"{what} has the key {_shown(key)}; expected strings.")
        return {key: _json(item, f"{what}[{key!r}]", depth + 1) for key, item in value.items()}
    raise CardError(
        f"{what} is {_shown(value)}, a {type(value).__name__}; expected a value that JSON has."
    )


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _line(value: object, what: str, name: str) -> None:
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) > 1:
        raise CardError(f"{what}: {name} is {_shown(value)}; expected one line of text.")


def _match(pattern: re.Pattern[str], value: object, what: str, name: str, expected: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise CardError(f"{what}: {name} is {_shown(value)}; expected {expected}.")


def _strings(value: object, what: str, name: str) -> tuple[str, ...]:
    """A tuple of strings; one string alone is refused, since it would fall into letters."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise CardError(f"{what}: {name} is {_shown(value)}; expected a tuple of strings.")
    items = tuple(value)
    for item in items:
        if not isinstance(item, str) or not item:
            raise CardError(f"{what}: {name} holds {_shown(item)}; expected non-empty strings.")
    return items


def _unique(values: Iterable[str], what: str, name: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise CardError(f"{what}: {name} hold {value!r} twice.")
        seen.add(value)


def _shown(value: object) -> str:
    """A value's repr on one line of bearable length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
