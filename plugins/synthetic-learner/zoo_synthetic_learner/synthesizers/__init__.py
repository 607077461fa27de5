"""Synthesizers: how the outcomes of donors tell those of targets, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from zoo_core.errors import ConfigError, suggestion
from zoo_synthetic_learner.synthesizers.auto import Auto
from zoo_synthetic_learner.synthesizers.did import DiD
from zoo_synthetic_learner.synthesizers.elastic_net import ElasticNet, Lasso
from zoo_synthetic_learner.synthesizers.least_squares import LeastSquares
from zoo_synthetic_learner.synthesizers.matrix_completion import MatrixCompletion
from zoo_synthetic_learner.synthesizers.regressor import Regressor, is_regressor
from zoo_synthetic_learner.synthesizers.ridge import Ridge
from zoo_synthetic_learner.synthesizers.sdid import SDID
from zoo_synthetic_learner.synthesizers.simplex import Simplex
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Synthesizer, Task

__all__ = [
    "KINDS",
    "SDID",
    "Auto",
    "DiD",
    "ElasticNet",
    "Lasso",
    "LeastSquares",
    "MatrixCompletion",
    "Regressor",
    "Ridge",
    "Simplex",
    "Synthesis",
    "Synthesizer",
    "Task",
    "by_name",
    "name_of",
]

KINDS: dict[str, type] = {
    each.name: each
    for each in (
        LeastSquares,
        Lasso,
        Ridge,
        ElasticNet,
        Simplex,
        SDID,
        DiD,
        MatrixCompletion,
        Auto,
    )
}


def by_name(synthesizer: Any, options: Mapping[str, Any] | None = None) -> Synthesizer:
    """Returns a synthesizer.

    Args:
        synthesizer: one of the names of `KINDS`; a regressor as scikit-learn's, which is cloned
            for each fit; or a function from a `Task` to a `Synthesis`, as objects of our classes.
        options: keyword arguments of the named class, or of `Regressor` for a regressor.

    Raises:
        ConfigError: there is no such synthesizer, or the options do not fit it.
    """
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(
            f"synthesizer_options is {options!r}; expected a mapping from names to values."
        )
    if isinstance(synthesizer, str):
        if synthesizer not in KINDS:
            hint = suggestion(synthesizer, KINDS)
            raise ConfigError(
                f"synthesizer is {synthesizer!r}; expected one of "
                f"{', '.join(map(repr, KINDS))}, a regressor or a function.{hint}"
            )
        return _made(KINDS[synthesizer], synthesizer, {}, options)
    if is_regressor(synthesizer):
        return _made(Regressor, "a regressor", {"regressor": synthesizer}, options)
    if isinstance(synthesizer, type) or not callable(synthesizer):
        raise ConfigError(
            f"synthesizer is {synthesizer!r}; expected a name such as 'auto', an object of a "
            "regressor, or a function."
        )
    if options:
        raise ConfigError(
            "synthesizer_options are given with a synthesizer that is made; set them on it, or "
            "give its name."
        )
    return synthesizer


def name_of(synthesizer: Any) -> str:
    """Returns the short name of a synthesizer, for tables and errors."""
    if isinstance(synthesizer, str):
        return synthesizer
    name = getattr(synthesizer, "name", None)
    if isinstance(name, str):
        return name
    return getattr(synthesizer, "__name__", None) or type(synthesizer).__name__


def _made(
    kind: type,
    label: str,
    given: dict[str, Any],
    options: Mapping[str, Any] | None,
) -> Synthesizer:
    known = [field.name for field in fields(kind) if field.name not in given]
    for option in options or {}:
        if option not in known:
            hint = suggestion(str(option), known)
            takes = ", ".join(known) or "no options"
            raise ConfigError(f"synthesizer_options has {option!r}; {label} takes {takes}.{hint}")
    return kind(**given, **(options or {}))
