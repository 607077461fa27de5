"""Checks of the network's arguments, made once when it is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from zoo_core.errors import ConfigError

MAX_WIDTH = 1 << 20
MAX_DEPTH = 9999


def integer(name: str, value: Any, minimum: int, maximum: int = MAX_WIDTH) -> int:
    """Returns `value` as an int in [minimum, maximum], or raises ConfigError.

    The upper bound is far above any use: it keeps a hostile configuration from building for ever.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not minimum <= value <= maximum:
        raise ConfigError(
            f"{name} is {value!r}; expected a whole number of at least {minimum}"
            + (f", at most {maximum}." if whole and value > maximum else ".")
        )
    return int(value)


def odd(name: str, value: Any) -> int:
    """Returns `value` as an odd positive int, or raises ConfigError."""
    if integer(name, value, minimum=1, maximum=MAX_DEPTH) % 2 == 0:
        raise ConfigError(f"{name} is {value!r}; expected an odd number such as 3 or 7.")
    return int(value)


def four_integers(name: str, value: Any, maximum: int = MAX_WIDTH) -> tuple[int, int, int, int]:
    """Returns `value` as four ints in [1, maximum], one a level, or raises ConfigError."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 4:
        raise ConfigError(f"{name} is {value!r}; expected four whole numbers, one a level.")
    first, second, third, fourth = (
        integer(f"{name}[{index}]", item, 1, maximum) for index, item in enumerate(value)
    )
    return first, second, third, fourth


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def real(name: str, value: Any, minimum: float = -math.inf, below: float = math.inf) -> float:
    """Returns `value` as a finite float in [minimum, below), or raises ConfigError."""
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not _is_finite(value)
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
