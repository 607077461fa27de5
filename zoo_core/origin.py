"""What a zoo object remembers of where it comes from: `object.zoo`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo_core.card import Card, Weights
from zoo_core.errors import ConfigError, PluginError, ZooError


@dataclass(frozen=True)
class Origin:
    """Where an object comes from. `zoo.load` attaches one; copies and pickles keep it.

    Attributes:
        name: `plugin/NAME` of the card.
        card: the card.
        config: the keyword arguments that the factory got.
        weights: the weights that were loaded, or None.
    """

    name: str
    card: Card
    config: dict[str, Any]
    weights: Weights | None

    def transform(self) -> Callable[[Any], Any]:
        """Returns what turns one raw input, such as a `PIL.Image`, into the model's input.

        Raises:
            ZooError: the card or the weights do not say how.
            ConfigError: the weights' preprocessing does not suit the card's transform.
        """
        if self.card.transform is None or self.weights is None or not self.weights.preprocessing:
            raise ZooError(f"{self.name} states no preprocessing in its card and weights.")
        make: Callable[..., Callable[[Any], Any]] = import_string(self.card.transform)
        try:
            return make(**self.weights.preprocessing)
        except (TypeError, ValueError) as error:
            if isinstance(error, ZooError):
                raise
            raise ConfigError(f"the preprocessing of {self.name}: {error}") from error

    def labels(self) -> tuple[str, ...]:
        """Returns the names of the outputs in order, or () when the weights state none."""
        if self.weights is None:
            return ()
        if isinstance(self.weights.labels, str):
            return tuple(import_string(self.weights.labels)())
        return self.weights.labels


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
