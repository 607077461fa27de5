"""What an explanation is made with: validated when it is given, the same for every call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Final

from zoo_core.errors import InputError, suggestion

OBJECTIVES: Final = ("pns", "ps", "pn")
KINDS: Final = ("edge", "feature", "joint")
SCOPES: Final = ("graph", "computation")
OUTSIDE: Final = ("zero", "evolve")
_MOST_EPOCHS = 10**7
_MOST_SAMPLES = 10**4


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The hyperparameters of `NSEGExplainer`; see there for what each means.

    Raises:
        InputError: a value that is none of those allowed; a ValueError.
    """

    epochs: int
    lr: float
    objective: str
    alpha_e: float
    beta_e: float
    alpha_f: float
    beta_f: float
    n_samples: tuple[int, int, int]
    noise: float
    temperature: float
    symmetric: bool
    regulariser_scope: str
    outside: str
    return_last: bool
    max_edges_per_chunk: int
    seed: int

    def __post_init__(self) -> None:
        _whole("epochs", self.epochs, 1, _MOST_EPOCHS)
        _real("lr", self.lr, 0, above=True)
        choice("objective", self.objective, OBJECTIVES)
        for name in ("alpha_e", "beta_e", "alpha_f", "beta_f"):
            _real(name, getattr(self, name), 0)
        _real("noise", self.noise, 0)
        if self.noise > 1:
            raise InputError(f"noise is {self.noise!r}; expected at most 1, the width of a mask.")
        samples: Any = self.n_samples
        if isinstance(samples, (str, bytes)) or not isinstance(samples, Sequence):
            raise InputError(f"n_samples is {samples!r}; expected three numbers such as (2, 2, 2).")
        if len(samples) != 3:
            raise InputError(
                f"n_samples has {len(samples)} numbers; expected three: n_0, n_1, n_2."
            )
        for place, number in enumerate(samples):
            _whole(f"n_samples[{place}]", number, 1, _MOST_SAMPLES)
        object.__setattr__(self, "n_samples", tuple(int(number) for number in samples))
        _real("temperature", self.temperature, 0, above=True)
        choice("regulariser_scope", self.regulariser_scope, SCOPES)
        choice("outside", self.outside, OUTSIDE)
        for name in ("symmetric", "return_last"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is {getattr(self, name)!r}; expected True or False.")
        _whole("max_edges_per_chunk", self.max_edges_per_chunk, 1, 2**62)
        _whole("seed", self.seed, 0, 2**63 - 1)


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Returns `value`, one of the strings allowed, or raises InputError."""
    if not isinstance(value, str) or value not in allowed:
        near = suggestion(value, allowed) if isinstance(value, str) else ""
        raise InputError(f"{name} is {value!r}; expected one of {', '.join(allowed)}.{near}")
    return value


def _whole(name: str, value: Any, least: int, most: int) -> None:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise InputError(f"{name} is {value!r}; expected a whole number from {least} to {most}.")


def _real(name: str, value: Any, least: float, *, above: bool = False) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    fits = number and math.isfinite(value) and (value > least if above else value >= least)
    if not fits:
        bound = f"more than {least}" if above else f"{least} or more"
        raise InputError(f"{name} is {value!r}; expected a finite number, {bound}.")
