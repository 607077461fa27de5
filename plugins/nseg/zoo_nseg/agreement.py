"""Whether a model gives, on graphs side by side, what it gives on each whole graph by itself.

Only then may tasks be run together on their computation graphs. No model is trusted: its outputs
are compared, for every task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_nseg.instance import chunks, stackable, united
from zoo_nseg.masking import Frozen, Masked
from zoo_nseg.masks import blend
from zoo_nseg.tasks import Task

TOLERANCE = 1e-4
"""How far an output on a computation graph may be from that on the whole graph, relative to its
largest number or 1, for the two to count as the same."""


def agreeing(
    frozen: Frozen, tasks: Sequence[Task], copies: int, room: int, budget: int
) -> list[bool]:
    """Whether each task has, on its computation graph beside others, the whole graph's outputs.

    Compared unmasked and under random masks of the whole graph, the one beside the other: a layer
    whose degrees or attention are cut off at the border would show, and so would a model in which
    graphs, or worlds of one graph, see each other. Where all agree, the very unions that a search
    runs have been compared; where some do not, those that are left are to be compared again.

    Args:
        frozen: the model, within its block.
        tasks: what is to be explained.
        copies: how many worlds a search runs in one pass.
        room: for how many copies an instance takes of the budget.
        budget: how many edges one pass may have.
    """
    found = [False] * len(tasks)
    able = [place for place, task in enumerate(tasks) if task.small is not None]
    references: dict[int, tuple[_Reference, _Reference]] = {}
    for part in chunks([tasks[place].beside for place in able], room, budget):
        some = [tasks[able[each]] for each in part]
        instances = [task.beside for task in some]
        known = [_references(frozen, task, references) for task in some]
        numbers = {1, copies if stackable(instances, room, budget) else 1}
        same = [_agree(frozen, some, number, known) for number in sorted(numbers)]
        for place, each in zip(part, zip(*same, strict=True), strict=True):
            found[able[place]] = all(each)
    return found


def _agree(
    frozen: Frozen,
    tasks: Sequence[Task],
    copies: int,
    known: Sequence[tuple[_Reference, _Reference]],
) -> list[bool]:
    instances = [task.beside for task in tasks]
    union = united(instances, copies, [task.outputs for task in tasks])
    same = torch.ones(len(tasks), dtype=torch.bool, device=union.x.device)
    try:
        with (
            torch.no_grad(),
            Masked(frozen, union.edge_index, union.num_nodes, union.messages) as masked,
        ):
            for number in range(2):
                weights, features, expected = [], [], []
                for copy in range(union.copies):
                    for place, (task, instance) in enumerate(zip(tasks, instances, strict=True)):
                        # Neighbours differ, in the union and from copy to copy.
                        which = (number + copy + place) % 2
                        given = known[place][which]
                        weights.append(given.mask[instance.edge_ids])
                        x = instance.x
                        if which and instance.x_cf is not None:
                            kept = given.kept[instance.node_ids]
                            kept = torch.cat([kept, kept.new_ones(len(x) - len(kept))])
                            x = blend(kept, x, instance.x_cf)
                        features.append(x)
                        expected.append(given.output[task.rows])
                output = masked(torch.cat(weights), torch.cat(features), **union.arguments)
                output = output[union.rows]
                wanted = torch.cat(expected)
                wanted = wanted.reshape(len(wanted), -1)
                off = _apart(output.reshape(len(output), -1), wanted)
                rows = off.view(union.copies, -1).any(0)
                same &= ~torch.zeros_like(same).index_put(
                    (union.row_instance[rows],), same.new_ones(())
                )
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - the user's model need not take graphs side by side
        return [False] * len(tasks)
    return same.tolist()


def check_own(frozen: Frozen, task: Task) -> None:
    """Checks that the model gives its own output on the whole graph where all weights are 1.

    Where a task agrees this is so; it is to be checked of those that are run by themselves.

    Raises:
        InputError: it does not.
    """
    whole = task.whole
    dtype = whole.x.dtype if whole.x.is_floating_point() else torch.float32
    ones = torch.ones(whole.num_edges, dtype=dtype, device=whole.x.device)
    with torch.no_grad(), Masked(frozen, whole.edge_index, whole.num_nodes) as masked:
        own = masked(ones, whole.x, **whole.model_arguments)
    if bool(_apart(*(each.reshape(len(each), -1) for each in (own, whole.output))).any()):
        raise InputError(
            f"{type(frozen.model).__name__} does not give its own output when all its messages "
            "have weight 1: it is random, or its layers pass messages in a way of their own."
        )


def _apart(output: Tensor, wanted: Tensor) -> Tensor:
    """Whether rows [R, K] are further apart than the tolerance: [R]."""
    scale = wanted.abs().amax(1).clamp_min(1)
    # Log-probabilities may be infinite on both sides.
    distance = torch.where(output == wanted, 0, (output - wanted).abs()).amax(1)
    return ~(distance <= TOLERANCE * scale)


class _Reference(NamedTuple):
    """Masks of a whole graph's edges and features, and the model's output under them."""

    mask: Tensor
    kept: Tensor
    output: Tensor


def _references(
    frozen: Frozen, task: Task, references: dict[int, tuple[_Reference, _Reference]]
) -> tuple[_Reference, _Reference]:
    """The whole graph unmasked, and under random masks."""
    whole = task.whole
    if id(whole) not in references:
        dtype = whole.x.dtype if whole.x.is_floating_point() else torch.float32
        generator = torch.Generator().manual_seed(0)
        mask, kept = (
            torch.rand(entries, generator=generator, dtype=torch.float32).to(whole.x.device, dtype)
            for entries in (whole.num_edges, whole.num_nodes)
        )
        unmasked = _Reference(torch.ones_like(mask), torch.ones_like(kept), whole.output)
        x = whole.x if whole.x_cf is None else blend(kept, whole.x, whole.x_cf)
        with torch.no_grad(), Masked(frozen, whole.edge_index, whole.num_nodes) as masked:
            output = masked(mask, x, **whole.model_arguments)
        references[id(whole)] = unmasked, _Reference(mask, kept, output)
    return references[id(whole)]
