"""Checks of synthesizers' options when they are made."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from zoo_core.errors import ConfigError, InputError, suggestion
from zoo_synthetic_learner.synthesizers.synthesis import Task


def check_number(value: Any, name: str, least: float = 0.0) -> float:
    """Returns a finite number of at least `least`; raises ConfigError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected a finite number of at least {least:g}.")
    return float(value)


def check_count(value: Any, name: str, least: int) -> int:
    """Returns an integer of at least `least`; raises ConfigError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected an integer of at least {least}.")
    return value


def check_flag(value: Any, name: str) -> None:
    """Raises ConfigError unless the value is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; expected True or False.")


def check_choice(value: Any, name: str, allowed: Iterable[str]) -> None:
    """Raises ConfigError unless the value is one of those."""
    allowed = list(allowed)
    if not isinstance(value, str) or value not in allowed:
        hint = suggestion(value, allowed) if isinstance(value, str) else ""
        listed = ", ".join(map(repr, allowed))
        raise ConfigError(f"{name} is {value!r}; expected one of {listed}.{hint}")


def check_penalty(value: Any, ways: tuple[str, ...]) -> None:
    """Raises ConfigError unless the value is a way to choose penalties, or one, above 0."""
    if isinstance(value, str):
        check_choice(value, "penalty", ways)
    elif check_number(value, "penalty") == 0:
        raise ConfigError("penalty is 0; expected a number above 0. 'ols' has no penalty.")


def checked_grid(values: Any) -> tuple[float, ...]:
    """Returns penalties as floats, descending; raises ConfigError unless all are above 0."""
    try:
        grid = tuple(values)
    except TypeError:
        raise ConfigError(f"grid is {values!r}; expected penalties above 0.") from None
    if not grid or any(check_number(each, "a penalty of grid") == 0 for each in grid):
        raise ConfigError("grid is empty or has a 0; expected penalties above 0.")
    return tuple(sorted(map(float, grid), reverse=True))


def check_task(task: Task, least: int = 1) -> None:
    """Raises InputError for a task without donors, or with fewer than `least` periods to fit."""
    if not task.num_donors:
        raise InputError("There are no donors; expected at least one unit of the other side.")
    if len(task.fit) < least:
        raise InputError(
            f"There are {len(task.fit)} periods to learn from; expected at least {least}."
        )
