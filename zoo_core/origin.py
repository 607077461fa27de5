"""What a zoo object remembers of where it comes from: `object.zoo`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo_core.card import Card, Weights
from zoo_core.errors import ConfigError, ZooError
from zoo_core.factories import called, import_string


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
        make = import_string(self.card.transform)
        try:
            transform: Callable[[Any], Any] = called(make, self.weights.preprocessing)
        except ConfigError as error:
            raise ConfigError(f"the preprocessing of {self.name}: {error}") from error
        return transform

    def labels(self) -> tuple[str, ...]:
        """Returns the names of the outputs in order, or () when the weights state none."""
        if self.weights is None:
            return ()
        if isinstance(self.weights.labels, str):
            return tuple(import_string(self.weights.labels)())
        return self.weights.labels
