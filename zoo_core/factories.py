"""What cards name by "module:name": found, compared with the arguments, and called."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from zoo_core.errors import ConfigError, PluginError, ZooError, suggestion
from zoo_core.retries import first_line


def import_string(reference: str) -> Any:
    """Returns what "module:name" refers to. Only for references from installed cards.

    Raises:
        PluginError: the module cannot be imported, or has no such name.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ZooError:
        raise
    except (Exception, SystemExit) as error:  # the plugin boundary
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"{reference} cannot be imported ({reason}).") from error


def check_config(factory: Callable[..., Any], config: Mapping[str, Any], name: str) -> None:
    """Checks that a factory takes these keyword arguments.

    Raises:
        ConfigError: lists the factory's own.
    """
    known = _arguments(factory)
    if known is None:
        return
    for key in config:
        if key not in known:
            raise ConfigError(
                f"{name} takes no argument {key!r}.{suggestion(key, known)} It takes: "
                f"{', '.join(known)}."
            )


def takes(factory: Callable[..., Any], name: str) -> bool:
    """Whether a factory takes a keyword argument of this name."""
    known = _arguments(factory)
    return known is None or name in known


def _arguments(factory: Callable[..., Any]) -> list[str] | None:
    """The names of the keyword arguments that a factory takes; None: it takes any."""
    parameters = inspect.signature(factory).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return None
    return [each.name for each in parameters if each.kind is not inspect.Parameter.POSITIONAL_ONLY]


def argument(factory: Callable[..., Any], config: Mapping[str, Any], name: str) -> Any:
    """Returns the value that a factory gets for one of its arguments, or None."""
    if name in config:
        return config[name]
    parameter = inspect.signature(factory).parameters.get(name)
    return parameter.default if parameter else None


def called(factory: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    """Returns `factory(**config)`.

    Raises:
        ConfigError: the factory failed, most likely on a value that it cannot work with.
    """
    try:
        return factory(**config)
    except ZooError:
        raise
    except Exception as error:  # the plugin boundary
        name = getattr(factory, "__qualname__", repr(factory))
        raise ConfigError(f"{name}: {first_line(error)}.") from error
