"""Trainings that differ in how neighbours are sampled, and in nothing else.

For one seed, all variants have the same backbone weights, negatives and masks of dropout at first:
the backbone's weights are drawn before those of expansion modules, and all else has generators of
its own. So differences are taken seed by seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import torch
from joblib import Parallel, delayed

from zoo_core.errors import ZooWarning
from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_tns.model import TemporalGNN
from zoo_tns.splits import EventSplit
from zoo_tns.training import Outcome, TrainingConfig, train_link_prediction

_Result = TypeVar("_Result")
SMALL: Final[Mapping[str, Any]] = {
    "node_dim": 32,
    "time_dim": 32,
    "hidden": 32,
    "k": 5,
    "memory": False,
}
"""One layer of attention of width 32 over 5 events, without memory."""
EPOCHS: Final = 6
LEARNING_RATE: Final = 1e-3
MEASURES: Final = (
    "test AP",
    "test accuracy",
    "new-node test AP",
    "new-node test accuracy",
    "mean rate",
    "closed gates",
    "spread of rates",
)
"""The columns that `row` measures; all but the rates in percent."""


@dataclass(frozen=True)
class Variant:
    """A way to sample.

    Attributes:
        name: what rows call it.
        model: arguments of `TemporalGNN`, over those that all variants share.
        alpha: the learning rate of expansion modules as a multiple of the backbone's.
    """

    name: str
    model: Mapping[str, Any] = field(default_factory=dict)
    alpha: float = 0.1


RECENT: Final = Variant("most recent", {"sampler": "recent"})
UNIFORM: Final = Variant("uniform", {"sampler": "uniform"})
TNS: Final = Variant("TNS", {"sampler": "tns"})


def expanded(rate: int, short: str = "truncate") -> Variant:
    """Returns the fixed expansion at a rate."""
    name = f"every {rate}." if short == "truncate" else f"every {rate}., clipped"
    return Variant(name, {"sampler": "expanded", "rate": rate, "short": short})


def compared(
    context: Context,
    splits: Mapping[str, EventSplit],
    variants: Sequence[Variant],
    shared: Mapping[str, Any] = SMALL,
    also: Callable[[TemporalGNN, EventSplit], dict[str, Any]] | None = None,
    **training: Any,
) -> Iterator[dict[str, Any]]:
    """Yields a row for each stream, variant and seed; `also` adds to it what else is measured."""
    jobs = [
        (name, split, variant, seed, shared, also, training)
        for name, split in splits.items()
        for variant in variants
        for seed in context.seeds
    ]
    return side_by_side(context, _compared, jobs)


def _compared(
    name: str,
    split: EventSplit,
    variant: Variant,
    seed: int,
    shared: Mapping[str, Any],
    also: Callable[[TemporalGNN, EventSplit], dict[str, Any]] | None,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    model, outcome = trained(split, variant, seed, shared, **training)
    which = {"data": name, "sampling": variant.name, "seed": seed}
    return which | row(model, split, outcome) | (also(model, split) if also else {})


def side_by_side(
    context: Context, function: Callable[..., _Result], jobs: Sequence[tuple[Any, ...]]
) -> Iterator[_Result]:
    """Yields a function's results for each job, in their order; each runs on a core of its own."""
    found = Parallel(n_jobs=-1, return_as="generator")(
        delayed(_alone)(function, job) for job in jobs
    )
    return context.progress(found, "training", len(jobs))


def _alone(function: Callable[..., _Result], job: tuple[Any, ...]) -> _Result:
    with one_thread():
        return function(*job)


def trained(
    split: EventSplit,
    variant: Variant,
    seed: int,
    shared: Mapping[str, Any] = SMALL,
    *,
    epochs: int = EPOCHS,
    lr: float = LEARNING_RATE,
    **training: Any,
) -> tuple[TemporalGNN, Outcome]:
    """Trains one variant with one seed; the best of the epochs by validation AP is tested."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TemporalGNN(
            num_nodes=split.num_nodes,
            edge_dim=split.data.msg.shape[1],
            **{**shared, **variant.model},
        )
    config = TrainingConfig(
        epochs=epochs, lr=lr, alpha=variant.alpha, patience=None, seed=seed, **training
    )
    with warnings.catch_warnings():
        # That a gate is closed is one of the things measured here.
        warnings.simplefilter("ignore", ZooWarning)
        return model, train_link_prediction(model, split, config=config, progress=False)


def row(model: TemporalGNN, split: EventSplit, outcome: Outcome) -> dict[str, Any]:
    """Returns the columns of `MEASURES`: of the test, and of the rates in the last epoch.

    The spread is the standard deviation of the rates of the test events' sources and destinations
    in the best epoch, those held to 1 or to their upper bound included; None without rates.
    """
    last = outcome.history[-1]
    spread = None
    if model.sampler == "tns":
        test = split.test
        rates = model.rates(torch.cat([test.src, test.dst]), torch.cat([test.t, test.t]))
        spread = float(rates[:, -1].std())
    return {
        "test AP": 100 * outcome.test["ap"],
        "test accuracy": 100 * outcome.test["acc"],
        "new-node test AP": _percent(outcome.new_node_test, "ap"),
        "new-node test accuracy": _percent(outcome.new_node_test, "acc"),
        "mean rate": last["mean_rate"],
        "closed gates": last["closed_share"],
        "spread of rates": spread,
    }


def _percent(measures: Mapping[str, float], name: str) -> float | None:
    return 100 * measures[name] if measures else None
