"""Finds the installed plugins, and keeps a broken one from hurting the rest."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from zoo_core import hookspecs
from zoo_core.card import Card, Weights
from zoo_core.errors import CardError, PluginError, ZooWarning
from zoo_core.experiment import Experiment

if TYPE_CHECKING:
    import typer

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What the name of a plugin's entry point may be."""
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
        experiments: what `zoo reproduce` can run; empty, too, when it is broken or blocked.
        status: "active", "broken" or "blocked".
        error: why it is broken.
    """

    name: str
    distribution: str
    version: str
    cards: tuple[Card, ...] = ()
    experiments: tuple[Experiment, ...] = ()
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
        for implementation in reversed(self.manager.hook.zoo_fetch.get_hookimpls()):
            name = implementation.plugin_name
            try:
                path = _hook_of(self.manager, implementation.plugin, "zoo_fetch")(
                    weights=weights, local_files_only=local_files_only
                )
                if path is not None and not Path(path).is_file():
                    raise PluginError(f"it gave {path}, which is not a file")
            except (Exception, SystemExit) as error:  # the plugin boundary
                reason = _reason(error)
                raise PluginError(f"plugin {name} failed on {weights.source}: {reason}.") from error
            if path is not None:
                return Path(path)
        return None

    def add_commands(self, app: typer.Typer) -> None:
        """Lets the plugins add their commands; one that fails is reported and left out."""
        import typer
        from typer.main import get_group

        for plugin in self.active:
            hook = _hook_of(self.manager, self.manager.get_plugin(plugin.name), "zoo_commands")
            if not hook.get_hookimpls():
                continue
            own = typer.Typer()
            own.callback()(lambda: None)
            try:
                hook(app=own)
                commands = get_group(own).commands  # builds them: a bad signature fails here
                if twice := sorted(commands.keys() & get_group(app).commands.keys()):
                    raise PluginError(f"there is a command {twice[0]!r} already")
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the plugin boundary
                _report(f"the commands of plugin {plugin.name} are broken", error)
                continue
            app.registered_commands += own.registered_commands
            app.registered_groups += own.registered_groups


@functools.cache
def installed() -> Plugins:
    """Finds and imports the plugins, once a process.

    A plugin that fails is reported by one `ZooWarning`, kept with its error, and takes nothing
    else down. `ZOO_PLUGINS=a,b` leaves out all others, `ZOO_PLUGINS=` all of them; with
    `ZOO_PLUGINS_STRICT=1` a failure raises.

    Raises:
        PluginError: a plugin failed and `ZOO_PLUGINS_STRICT=1`.
    """
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    allowed = os.environ.get("ZOO_PLUGINS")
    names = None if allowed is None else {name.strip() for name in allowed.split(",")} - {""}
    found: dict[str, Plugin] = {}
    refused: list[Plugin] = []
    for plugin, entry in _entry_points():
        if names is not None and entry.name not in names:
            refused.append(replace(plugin, status="blocked"))
            continue
        try:
            if not NAME.fullmatch(entry.name):
                raise PluginError("its name may hold letters, digits, '.', '_' and '-' only")
            if entry.name in found:
                raise PluginError(f"the name is taken by {found[entry.name].distribution}")
            cards, experiments = _register(manager, entry)
            found[entry.name] = replace(plugin, cards=cards, experiments=experiments)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the plugin boundary
            distribution = f"{plugin.distribution} {plugin.version}"
            _report(f"plugin {entry.name} ({distribution}) is broken", error)
            refused.append(replace(plugin, status="broken", error=_reason(error)))
    if missing := sorted((names or set()) - {each.name for each in (*found.values(), *refused)}):
        message = f"ZOO_PLUGINS names what is not installed: {', '.join(missing)}."
        warnings.warn(message, ZooWarning, stacklevel=2)
    everything = [*found.values(), *refused]
    everything.sort(key=lambda each: (each.name, each.distribution))
    return Plugins(tuple(everything), manager)


def _entry_points() -> list[tuple[Plugin, importlib.metadata.EntryPoint]]:
    """The group's entry points in a fixed order; one that a path shows twice counts once."""
    unique = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        plugin = Plugin(entry.name, _metadata(entry, "Name"), _metadata(entry, "Version"))
        unique[entry.name, entry.value, plugin.distribution] = plugin, entry
    return [unique[key] for key in sorted(unique)]


def _metadata(entry: importlib.metadata.EntryPoint, key: str) -> str:
    try:
        metadata = entry.dist.metadata if entry.dist else None
    except FileNotFoundError:  # of importlib_metadata, which takes over once something imports it
        return "unknown"
    return metadata[key] if metadata is not None and key in metadata else "unknown"


def _register(
    manager: pluggy.PluginManager, entry: importlib.metadata.EntryPoint
) -> tuple[tuple[Card, ...], tuple[Experiment, ...]]:
    """Imports one plugin, registers its hooks, returns what it has; on failure leaves no trace."""
    module = entry.load()
    if manager.is_registered(module):
        raise PluginError(f"{entry.value} is plugin {manager.get_name(module)} already")
    try:
        manager.register(module, name=entry.name)
        manager.check_pending()
        if not manager.get_hookcallers(module):
            raise PluginError(f"{entry.value} has no hooks; mark its functions with @hookimpl")
        return (
            _cards(_called(manager, module, "zoo_cards")),
            _experiments(_called(manager, module, "zoo_experiments")),
        )
    except BaseException:
        if manager.is_registered(module):
            manager.unregister(module)
        raise


def _hook_of(manager: pluggy.PluginManager, module: Any, name: str) -> pluggy.HookCaller:
    """A hook that calls this plugin alone."""
    others = [each for each in manager.get_plugins() if each is not module]
    return manager.subset_hook_caller(name, others)


def _called(manager: pluggy.PluginManager, module: Any, name: str) -> list[Any]:
    """What one plugin's hook returned: nothing without the hook, [None] where it gave nothing."""
    hook = _hook_of(manager, module, name)
    return (hook() or [None]) if hook.get_hookimpls() else []


def _cards(results: list[Any]) -> tuple[Card, ...]:
    """The cards of what `zoo_cards` returned, each name among them once."""
    cards: list[Card] = []
    owners: set[str] = set()
    for result in results:
        for card in result if isinstance(result, Iterable) else [result]:
            if not isinstance(card, Card) or card is result:
                raise CardError(f"zoo_cards gave a {type(card).__name__}; expected a list of Cards")
            for name in (card.name, *card.aliases):
                if name in owners:
                    raise CardError(f"the name {name!r} is used by two of its cards")
                owners.add(name)
            cards.append(card)
    return tuple(cards)


def _experiments(results: list[Any]) -> tuple[Experiment, ...]:
    """The experiments of what `zoo_experiments` returned, each name among them once."""
    found: dict[str, Experiment] = {}
    for result in results:
        for experiment in result if isinstance(result, Iterable) else [result]:
            if not isinstance(experiment, Experiment) or experiment is result:
                given = type(experiment).__name__
                raise PluginError(f"zoo_experiments gave a {given}; expected a list of Experiments")
            if experiment.name in found:
                raise PluginError(f"the name {experiment.name!r} is used by two of its experiments")
            found[experiment.name] = experiment
    return tuple(found.values())


def _report(what: str, error: BaseException) -> None:
    """Warns of a broken plugin, or raises if `ZOO_PLUGINS_STRICT=1`."""
    message = f"{what}: {_reason(error)}."
    if os.environ.get("ZOO_PLUGINS_STRICT") == "1":
        raise PluginError(message) from error
    warnings.warn(message, ZooWarning, stacklevel=3)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
