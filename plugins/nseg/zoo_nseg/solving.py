"""Runs the search over many tasks: checked, in chunks, with a progress bar."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tqdm import tqdm

from zoo_core.errors import ZooWarning
from zoo_nseg.agreement import agreeing, check_own
from zoo_nseg.instance import Instance, chunks, stackable
from zoo_nseg.masking import Frozen
from zoo_nseg.masks import worlds
from zoo_nseg.objective import coefficient
from zoo_nseg.outcome import Outcome
from zoo_nseg.search import Found, search
from zoo_nseg.settings import Settings
from zoo_nseg.tasks import Task


class Solved(NamedTuple):
    """What was found for a task.

    Attributes:
        instance: what the masks stand for.
        found: the masks.
        local: whether the output depends on nothing outside the computation graph.
    """

    instance: Instance
    found: Found
    local: bool


def solve(
    frozen: Frozen,
    tasks: Sequence[Task],
    kind: str,
    settings: Settings,
    outcome: Outcome,
    *,
    restrict: bool = True,
    progress: bool | None = None,
) -> list[Solved]:
    """Returns what the search finds for each task, in order.

    Args:
        frozen: the model, within its block.
        tasks: what to explain.
        kind: "edge", "feature" or "joint".
        settings: the hyperparameters.
        outcome: how the model's output is read.
        restrict: whether to run tasks together on their computation graphs, where that gives the
            outputs of the whole graph; False runs each as the caller would.
        progress: a bar; None shows it on terminals.
    """
    every = worlds(kind, settings.n_samples)
    copies = sum(bool(coefficient(world, settings.objective)) for world in every)
    room, budget = len(every), settings.max_edges_per_chunk
    together = [place for place, task in enumerate(tasks) if task.small is not None]
    while together:
        flags = agreeing(frozen, [tasks[place] for place in together], copies, room, budget)
        if all(flags):
            break
        together = [place for place, same in zip(together, flags, strict=True) if same]
    local = set(together)
    alone = [place for place in range(len(tasks)) if not restrict or place not in local]
    for task in {id(tasks[place].whole): tasks[place] for place in alone}.values():
        check_own(frozen, task)
    if restrict and len(local) < len(tasks):
        warnings.warn(
            f"{len(tasks) - len(local)} of {len(tasks)} outputs depend on more than their "
            f"computation graph, or {type(frozen.model).__name__} cannot be run on graphs side by "
            "side: explained one at a time on the whole input, which is slow.",
            ZooWarning,
            stacklevel=4,
        )
    together = together if restrict else []
    smalls = [tasks[place].beside for place in together]
    parts = [[together[place] for place in part] for part in chunks(smalls, room, budget)]
    solved: dict[int, Solved] = {}
    total = settings.epochs * len(tasks)
    hidden = None if progress is None else not progress
    with tqdm(total=total, desc="explaining", unit="step", disable=hidden, leave=False) as bar:
        for part in parts:
            instances = [tasks[place].beside for place in part]
            found = search(
                frozen,
                instances,
                [tasks[place].outputs for place in part],
                kind,
                settings,
                outcome,
                stacked=stackable(instances, room, budget),
                tick=_tick(bar, len(part)),
            )
            for place, instance, each in zip(part, instances, found, strict=True):
                solved[place] = Solved(instance, each, True)
        for place in alone:
            task = tasks[place]
            instance = task.own()
            outputs = [len(task.whole.output)]
            [each] = search(
                frozen,
                [instance],
                outputs,
                kind,
                settings,
                outcome,
                stacked=False,
                tick=_tick(bar, 1),
            )
            solved[place] = Solved(instance, each, place in local)
    return [solved[place] for place in range(len(tasks))]


def _tick(bar: tqdm, number: int) -> Callable[[], object]:
    return lambda: bar.update(number)
