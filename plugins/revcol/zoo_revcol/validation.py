"""Checks of the network's arguments, made once when it is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from zoo_core.errors import ConfigError


def integer(name: str, value: Any, minimum: int) -> int:
    """Returns `value` as an int of at least `minimum`, or raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {minimum}.")
    return int(value)


def odd(name: str, value: Any) -> int:
    """Returns `value` as an odd positive int, or raises ConfigError."""
    if integer(name, value, minimum=1) % 2 == 0:
        raise ConfigError(f"{name} is {value!r}; expected an odd number such as 3 or 7.")
    return int(value)


def four_integers(name: str, value: Any) -> tuple[int, int, int, int]:
    """Returns `value` as four positive ints, one a level, or raises ConfigError."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 4:
        raise ConfigError(f"{name} is {value!r}; expected four whole numbers, one a level.")
    first, second, third, fourth = (
        integer(f"{name}[{index}]", item, minimum=1) for index, item in enumerate(value)
    )
    return first, second, third, fourth


def real(name: str, value: Any, minimum: float = -math.inf, below: float = math.inf) -> float:
    """Returns `value` as a finite float in [minimum, below), or raises ConfigError."""
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not math.isfinite(value)
        or not minimum <= value < below
    ):
        raise ConfigError(f"{name} is {value!r}; expected a finite number in [{minimum}, {below}).")
    return float(value)


def positive(name: str, value: Any) -> float:
    """Returns `value` as a finite float above 0, or raises ConfigError."""
    if real(name, value) <= 0:
        raise ConfigError(f"{name} is {value!r}; expected more than 0.")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """Returns `value`, which must be True or False, or raises ConfigError."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; expected True or False.")
    return value
