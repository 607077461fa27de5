"""Finds the installed plugins, and keeps a broken one from hurting the rest."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from zoo_core import hookspecs
from zoo_core.card import Card, Weights
from zoo_core.errors import CardError, PluginError, ZooWarning

if TYPE_CHECKING:
    import typer

GROUP = "zoo"
"""The entry-point group: `[project.entry-points.zoo]` in a plugin's pyproject.toml."""


@dataclass(frozen=True)
class Plugin:
    """An installed plugin.

    Attributes:
        name: of its entry point; what `plugin/NAME` begins with.
        distribution: what was installed, such as "zoo-revcol".
        version: of the distribution.
        cards: what it registers; empty when it is broken or blocked.
        status: "active", "broken" or "blocked".
        error: why it is broken.
    """

    name: str
    distribution: str
    version: str
    cards: tuple[Card, ...] = ()
    status: str = "active"
    error: str | None = None


@dataclass(frozen=True)
class Plugins:
    """All that is installed, and pluggy's manager of those that work."""

    all: tuple[Plugin, ...]
    manager: pluggy.PluginManager

    @property
    def active(self) -> tuple[Plugin, ...]:
        """Those that work."""
        return tuple(plugin for plugin in self.all if plugin.status == "active")

    @property
    def broken(self) -> tuple[Plugin, ...]:
        """Those that could not be used."""
        return tuple(plugin for plugin in self.all if plugin.status == "broken")

    @property
    def blocked(self) -> tuple[Plugin, ...]:
        """Those that `ZOO_PLUGINS` leaves out."""
        return tuple(plugin for plugin in self.all if plugin.status == "blocked")

    def fetch(self, weights: Weights, local_files_only: bool) -> Path | None:
        """Asks the plugins' `zoo_fetch` hooks for a file; the first result wins.

        Raises:
            PluginError: a hook failed, or returned something that is not an existing file.
        """
        try:
            path = self.manager.hook.zoo_fetch(weights=weights, local_files_only=local_files_only)
        except Exception as error:  # the plugin boundary
            raise PluginError(f"a plugin failed on {weights.source}: {_reason(error)}") from error
        if path is None:
            return None
        if not Path(path).is_file():
            raise PluginError(f"a plugin gave {path} for {weights.source}, which is not a file.")
        return Path(path)

    def add_commands(self, app: typer.Typer) -> None:
        """Lets the plugins add their commands; one that fails is reported and left out."""
        for plugin in self.active:
            module = self.manager.get_plugin(plugin.name)
            others = [each for each in self.manager.get_plugins() if each is not module]
            try:
                self.manager.subset_hook_caller("zoo_commands", others)(app=app)
            except Exception as error:  # noqa: BLE001 - the plugin boundary
                message = f"the commands of plugin {plugin.name} are broken: {_reason(error)}"
                warnings.warn(message, ZooWarning, stacklevel=2)


@functools.cache
def installed() -> Plugins:
    """Finds and imports the plugins, once a process.

    A plugin that fails is reported by one `ZooWarning`, kept with its error, and takes nothing
    else down. `ZOO_PLUGINS=a,b` leaves out all others; with `ZOO_PLUGINS_STRICT=1` a failure
    raises.

    Raises:
        PluginError: a plugin failed and `ZOO_PLUGINS_STRICT=1`.
    """
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    allowed = os.environ.get("ZOO_PLUGINS")
    names = None if allowed is None else {name.strip() for name in allowed.split(",")}
    found: dict[str, Plugin] = {}
    refused: list[Plugin] = []
    for entry in _entry_points():
        plugin = Plugin(
            name=entry.name,
            distribution=entry.dist.name if entry.dist else "unknown",
            version=entry.dist.version if entry.dist else "unknown",
        )
        if names is not None and entry.name not in names:
            refused.append(replace(plugin, status="blocked"))
            continue
        try:
            if entry.name in found:
                raise PluginError(f"the name is taken by {found[entry.name].distribution}")
            found[entry.name] = replace(plugin, cards=_register(manager, entry))
        except (Exception, SystemExit) as error:  # the plugin boundary
            distribution = f"{plugin.distribution} {plugin.version}"
            message = f"plugin {entry.name} ({distribution}) is broken: {_reason(error)}"
            if os.environ.get("ZOO_PLUGINS_STRICT") == "1":
                raise PluginError(message) from error
            warnings.warn(message, ZooWarning, stacklevel=2)
            refused.append(replace(plugin, status="broken", error=_reason(error)))
    everything = [*found.values(), *refused]
    everything.sort(key=lambda each: (each.name, each.distribution))
    return Plugins(tuple(everything), manager)


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """The group's entry points in a fixed order; one that a path shows twice counts once."""
    unique = {
        (entry.name, entry.value, entry.dist.name if entry.dist else ""): entry
        for entry in importlib.metadata.entry_points(group=GROUP)
    }
    return [unique[key] for key in sorted(unique)]


def _register(
    manager: pluggy.PluginManager, entry: importlib.metadata.EntryPoint
) -> tuple[Card, ...]:
    """Imports one plugin, registers its hooks, returns its cards; on failure leaves no trace."""
    module = entry.load()
    others = manager.get_plugins()
    manager.register(module, name=entry.name)
    try:
        manager.check_pending()
        hook = manager.subset_hook_caller("zoo_cards", others)
        return _checked([card for cards in hook() for card in cards])
    except BaseException:
        manager.unregister(module)
        raise


def _checked(cards: list[Any]) -> tuple[Card, ...]:
    owners: dict[str, str] = {}
    for card in cards:
        if not isinstance(card, Card):
            raise CardError(f"zoo_cards returned a {type(card).__name__}; expected Card objects")
        for name in (card.name, *card.aliases):
            if name in owners:
                raise CardError(f"the name {name!r} is used by two of its cards")
            owners[name] = card.name
    return tuple(cards)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
