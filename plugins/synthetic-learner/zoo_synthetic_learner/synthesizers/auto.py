"""The synthesizer that forecasts best, for each target. Ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

import numpy as np

from zoo_core.errors import ConfigError, InputError
from zoo_synthetic_learner.panel import Bools, Floats
from zoo_synthetic_learner.synthesizers import rolling_origin
from zoo_synthetic_learner.synthesizers.checks import check_choice, check_count, check_task
from zoo_synthetic_learner.synthesizers.did import Base, DiD
from zoo_synthetic_learner.synthesizers.synthesis import Synthesis, Synthesizer, Task


@dataclass(frozen=True)
class Auto:
    """Chooses among candidates for each target by rolling-origin validation; ties: the earlier.

    With fewer than `min_periods` periods to learn from, or too few for an origin, all targets get
    difference in differences, and a note says so.

    Args:
        candidates: names of synthesizers or such themselves. Penalties of ridge, lasso and enet
            compete on the same errors.
        base: of difference in differences.
        min_periods: at least 1.

    Raises:
        ConfigError: a value does not fit.
    """

    candidates: Sequence[Any] = ("simplex", "ridge", "did")
    base: Base = "mean"
    min_periods: int = 8

    name: ClassVar[str] = "auto"
    short: ClassVar[bool] = True
    time_weighted: ClassVar[bool] = False
    balances: ClassVar[bool] = True
    separable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_choice(self.base, "base", get_args(Base))
        check_count(self.min_periods, "min_periods", 1)
        if isinstance(self.candidates, str) or not isinstance(self.candidates, Sequence):
            raise ConfigError(f"candidates is {self.candidates!r}; expected a sequence of names.")
        if not self.candidates:
            raise ConfigError("candidates is empty; expected names such as 'simplex'.")
        object.__setattr__(self, "candidates", tuple(self.candidates))
        if any(isinstance(each, Auto) or each == "auto" for each in self.candidates):
            raise ConfigError("candidates holds 'auto' itself; expected other synthesizers.")
        self.synthesizers()

    def synthesizers(self) -> tuple[Synthesizer, ...]:
        """Returns the candidates themselves; raises ConfigError for unknown names."""
        from zoo_synthetic_learner.synthesizers import by_name

        return tuple(
            DiD(self.base) if each == "did" else by_name(each, None) for each in self.candidates
        )

    def __call__(self, task: Task) -> Synthesis:
        """Returns the synthesis; raises InputError without donors or periods."""
        check_task(task)
        if len(task.fit) < self.min_periods:
            return self._short(task, f"fewer than {self.min_periods}")
        if not rolling_origin.valid_origins(task.fit):
            return self._short(task, "too few to validate on later ones")
        synthesizers = self.synthesizers()
        tuned = [_tuned(each, task) for each in synthesizers]
        best = np.stack([each[0] for each in tuned]).argmin(axis=0)
        parts = []
        for place, (synthesizer, (_, penalties)) in enumerate(
            zip(synthesizers, tuned, strict=True)
        ):
            chosen = best == place
            if chosen.any():
                parts.append((chosen, _part(synthesizer, task, chosen, penalties)))
        return _joined(task, parts)

    def _short(self, task: Task, reason: str) -> Synthesis:
        found = DiD(self.base)(task)
        note = (
            f"the periods to learn from are {len(task.fit)}, {reason}: 'auto' took 'did', "
            "equal weights."
        )
        return replace(found, notes=(*found.notes, note))


def _tuned(synthesizer: Any, task: Task) -> tuple[Floats, Floats | None]:
    """Returns rolling-origin errors [q] and, of synthesizers with a penalty, penalties [q]."""
    if getattr(synthesizer, "penalty", None) == "rolling" and hasattr(synthesizer, "tune"):
        return synthesizer.tune(task)
    try:
        found = rolling_origin.errors(
            task, lambda part: synthesizer(part).predicted[None, part.start :]
        )
    except InputError:  # it cannot learn from the few periods before an origin
        return np.full(task.num_targets, np.inf), None
    # A forecast that is not a number is the worst one.
    return np.where(np.isnan(found[0]), np.inf, found[0]), None


def _part(synthesizer: Any, task: Task, chosen: Bools, penalties: Floats | None) -> Synthesis:
    """Returns the synthesis of the chosen targets."""
    if not getattr(synthesizer, "separable", False):
        whole = synthesizer(task)
        return replace(
            whole,
            predicted=whole.predicted[:, chosen],
            weights=None if whole.weights is None else whole.weights[:, chosen],
            intercept=None if whole.intercept is None else whole.intercept[chosen],
            choices=tuple(np.array(whole.choices, dtype=object)[chosen]),
        )
    covariates, balance = task.covariates, task.balance
    part = replace(
        task,
        targets=task.targets[:, chosen],
        covariates=None if covariates is None else covariates[:, chosen],
        balance=None if balance is None else (balance[0], balance[1][:, chosen]),
    )
    if penalties is None:
        return synthesizer(part)
    return synthesizer.with_penalties(part, penalties[chosen])


def _joined(task: Task, parts: list[tuple[Bools, Synthesis]]) -> Synthesis:
    linear = all(part.weights is not None for _, part in parts)
    predicted = np.empty((len(task.donors), task.num_targets))
    weights = np.empty((task.num_donors, task.num_targets)) if linear else None
    intercept = np.empty(task.num_targets) if linear else None
    choices = np.empty(task.num_targets, dtype=object)
    notes: dict[str, None] = {}
    for chosen, part in parts:
        predicted[:, chosen] = part.predicted
        choices[chosen] = part.choices
        notes.update(dict.fromkeys(part.notes))
        if weights is not None and intercept is not None:
            weights[:, chosen] = part.weights
            intercept[chosen] = part.intercept
    return Synthesis(
        predicted=predicted,
        weights=weights,
        intercept=intercept,
        choices=tuple(choices),
        notes=tuple(notes),
    )
