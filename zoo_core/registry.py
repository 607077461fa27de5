"""Names: from what a user writes to the one card, and the weights, that it means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from zoo_core.card import Card, Weights
from zoo_core.errors import AmbiguousNameError, UnknownNameError, enumeration, suggestion
from zoo_core.interfaces import INTERFACES
from zoo_core.plugins import Plugin, Plugins, installed


class Resolved(NamedTuple):
    """What a name stands for.

    Attributes:
        card: the card.
        plugin: who registers it.
        weights: those that the tag names, else the card's first, else None.
    """

    card: Card
    plugin: Plugin
    weights: Weights | None

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous: `plugin/NAME`."""
        return f"{self.plugin.name}/{self.card.name}"


def list_names(
    *,
    kind: str | None = None,
    task: str | None = None,
    plugin: str | None = None,
    pretrained: bool | None = None,
) -> list[str]:
    """Returns the names of all cards, sorted; a name that two plugins claim as `plugin/NAME`.

    Args:
        kind: only "model", "explainer", "sampler" or "estimator".
        task: only cards of this task.
        plugin: only cards of this plugin.
        pretrained: only cards with weights (True) or without (False).

    Raises:
        UnknownNameError: there is no such kind or plugin.
    """
    return [name for name, _ in search(kind=kind, task=task, plugin=plugin, pretrained=pretrained)]


def search(
    *,
    kind: str | None = None,
    task: str | None = None,
    plugin: str | None = None,
    pretrained: bool | None = None,
) -> list[tuple[str, Resolved]]:
    """Returns (name, what it stands for) of the cards that fit, sorted; see `list_names`."""
    plugins = installed()
    if kind is not None and kind not in tuple(INTERFACES):
        raise UnknownNameError(f"unknown kind {kind!r}; expected one of {', '.join(INTERFACES)}.")
    if plugin is not None:
        _plugin_named(plugin, plugins)
    claims = Counter(
        name for each in _cards(plugins) for name in (each.card.name, *each.card.aliases)
    )
    found = []
    for resolved in _cards(plugins):
        card = resolved.card
        if (
            kind in (None, card.kind)
            and task in (None, card.task)
            and plugin in (None, resolved.plugin.name)
            and pretrained in (None, bool(card.weights))
        ):
            unique = claims[card.name] == 1
            found.append((card.name if unique else resolved.full_name, resolved))
    return sorted(found, key=lambda pair: pair[0])


def resolve(name: str) -> Resolved:
    """Returns what a name stands for: a name, an alias, `plugin/NAME`, any of them with `.TAG`.

    Raises:
        UnknownNameError: there is no such name, plugin or tag.
        AmbiguousNameError: two plugins claim the name.
    """
    plugins = installed()
    owner, slash, tagged = name.rpartition("/")
    short, dot, tag = tagged.partition(".")
    claims = _claims(short, plugins)
    if slash:
        plugin = _plugin_named(owner, plugins)
        claims = [each for each in claims if each.plugin is plugin]
    if not claims:
        raise UnknownNameError(_unknown(name, owner, short, plugins))
    if len(claims) > 1:
        ways = " or ".join(f"{each.full_name}{dot}{tag}" for each in claims)
        raise AmbiguousNameError(f"{name!r} is claimed by {len(claims)} plugins; write {ways}.")
    found = claims[0]
    if not dot:
        return found
    for weights in found.card.weights:
        if weights.tag == tag:
            return found._replace(weights=weights)
    tags = enumeration(found.card.tags) or "none"
    hint = suggestion(tag, found.card.tags)
    raise UnknownNameError(f"{found.card.name} has no weights {tag!r}; it has: {tags}.{hint}")


def _cards(plugins: Plugins) -> Iterator[Resolved]:
    for plugin in plugins.active:
        for card in plugin.cards:
            yield Resolved(card, plugin, card.weights[0] if card.weights else None)


def _claims(name: str, plugins: Plugins) -> list[Resolved]:
    """The cards, at most one a plugin, that call themselves so by name or alias."""
    return [each for each in _cards(plugins) if name in (each.card.name, *each.card.aliases)]


def _plugin_named(name: str, plugins: Plugins) -> Plugin:
    for plugin in plugins.active:
        if plugin.name == name:
            return plugin
    names = [plugin.name for plugin in plugins.active]
    raise UnknownNameError(
        f"there is no active plugin {name!r}; installed: {enumeration(names) or 'none'}."
        f"{suggestion(name, names)}{_unavailable(plugins)}"
    )


def _unknown(name: str, owner: str, short: str, plugins: Plugins) -> str:
    """The message for a name that no card has, in one plugin or (owner "") in all."""
    prefix = f"{owner}/" if owner else ""
    names = {
        prefix + each
        for found in _cards(plugins)
        if owner in ("", found.plugin.name)
        for each in (found.card.name, *found.card.aliases)
    }
    hints = suggestion(prefix + short.lower(), sorted(names)) or " `zoo list` shows all names."
    return f"unknown name {name!r}.{hints}{_unavailable(plugins)}"


def _unavailable(plugins: Plugins) -> str:
    """What cannot be found since a plugin is broken or blocked."""
    text = ""
    if plugins.broken:
        broken = (f"{each.name} ({each.error})" for each in plugins.broken)
        text += f" Plugins that failed to load: {enumeration(broken)}."
    if plugins.blocked:
        text += f" Blocked by ZOO_PLUGINS: {enumeration(each.name for each in plugins.blocked)}."
    return text
