"""Runs the search over many tasks: checked, in chunks, with a progress bar."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tqdm import tqdm

from zoo_core.errors import ZooWarning
from zoo_nseg.agreement import agreeing
from zoo_nseg.instance import Instance, chunks
from zoo_nseg.masking import Frozen
from zoo_nseg.masks import worlds
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
    copies = len(worlds(kind, settings.n_samples))
    local = agreeing(frozen, tasks, copies, settings.max_edges_per_chunk)
    if restrict and not all(local):
        number = sum(not each for each in local)
        warnings.warn(
            f"{number} of {len(tasks)} outputs depend on more than their computation graph, or "
            f"{type(frozen.model).__name__} cannot be run on graphs side by side: explained one at "
            "a time on the whole input, which is slow.",
            ZooWarning,
            stacklevel=4,
        )
    together = [place for place, each in enumerate(local) if restrict and each]
    alone = [place for place, each in enumerate(local) if not (restrict and each)]
    smalls = [tasks[place].beside for place in together]
    parts = [
        [together[place] for place in part]
        for part in chunks(smalls, copies, settings.max_edges_per_chunk)
    ]
    solved: dict[int, Solved] = {}
    total = settings.epochs * len(tasks)
    hidden = None if progress is None else not progress
    with tqdm(total=total, desc="explaining", unit="step", disable=hidden, leave=False) as bar:
        for part in parts:
            instances = [tasks[place].beside for place in part]
            stacked = sum(each.edge_index.shape[1] for each in instances) * copies
            found = search(
                frozen,
                instances,
                [tasks[place].outputs for place in part],
                kind,
                settings,
                outcome,
                stacked=stacked <= settings.max_edges_per_chunk,
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
            solved[place] = Solved(instance, each, local[place])
    return [solved[place] for place in range(len(tasks))]


def _tick(bar: tqdm, number: int) -> Callable[[], object]:
    return lambda: bar.update(number)
