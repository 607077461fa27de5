"""The search: masks of many instances, optimised at once by Adam.

Adam works entry by entry and the losses of different instances share no parameter, so the sum of
their losses moves every mask as it would move alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_nseg import objective
from zoo_nseg.instance import Instance, Union, united
from zoo_nseg.interventions import Interventions
from zoo_nseg.logits import MaskLogits
from zoo_nseg.masking import Frozen, Masked
from zoo_nseg.masks import World, worlds
from zoo_nseg.noise import Draws
from zoo_nseg.outcome import Outcome
from zoo_nseg.settings import Settings


@dataclass(frozen=True)
class Found:
    """What the search found for one instance.

    Attributes:
        edge_mask: [m] in [0, 1], or None.
        node_mask: [k] in [0, 1], or None.
        loss_history: [epochs], the loss at each step before its update.
        p_suff: P(Y_A = y) under the masks.
        p_nec: P(Y_notA != y) under the masks, without noise.
    """

    edge_mask: Tensor | None
    node_mask: Tensor | None
    loss_history: Tensor
    p_suff: Tensor
    p_nec: Tensor


def search(
    frozen: Frozen,
    instances: Sequence[Instance],
    num_outputs: Sequence[int],
    kind: str,
    settings: Settings,
    outcome: Outcome,
    *,
    stacked: bool,
    tick: Callable[[], object],
) -> list[Found]:
    """Returns the masks of instances that are run as one disjoint union.

    Args:
        frozen: the model, within its block.
        instances: at least one.
        num_outputs: how many rows the model's output has for each.
        kind: "edge", "feature" or "joint".
        settings: the hyperparameters.
        outcome: how the model's output is read.
        stacked: whether all worlds are run in one pass, as copies of the union; else one by one.
        tick: called after each step.

    Raises:
        InputError: the model does not react to the masks.
    """
    active = [
        world
        for world in worlds(kind, settings.n_samples)
        if objective.coefficient(world, settings.objective)
    ]
    union = united(instances, len(active) if stacked else 1, num_outputs)
    dtype = _mask_dtype(union.x)
    draws = Draws(instances, active, settings.seed, settings.noise, dtype)
    edges = None if kind == "feature" else _edge_logits(instances, union, draws, settings)
    nodes = None if kind == "edge" else _node_logits(instances, union, draws, settings)
    used = [each for each in (edges, nodes) if each is not None]
    optimizer = torch.optim.Adam([each.parameter for each in used], lr=settings.lr)
    history = []
    with Masked(frozen, union.edge_index, union.num_nodes, union.messages) as masked:
        run = _Step(Interventions(masked, union, outcome), active, settings.objective, stacked)
        for step in range(settings.epochs):
            taken = [None if each is None else each.mask() for each in (edges, nodes)]
            losses = run(*taken, draws)
            if step == 0:
                _check_influence(run.interventions, union, taken)
            for each, mask in zip((edges, nodes), taken, strict=True):
                if each is not None and mask is not None:
                    losses = losses + each.descend(mask)
            history.append(losses)
            optimizer.step()
            tick()
    if settings.return_last:
        taken = [None if each is None else each.mask() for each in (edges, nodes)]
    edge_mask, node_mask = (None if mask is None else mask.detach() for mask in taken)
    present, absent = outcomes(
        frozen, instances, num_outputs, kind, settings.n_samples, outcome, edge_mask, node_mask
    )
    rest = torch.stack(history, 1), present, 1 - absent
    edge_masks = _split(edge_mask, [len(each.messages) for each in instances])
    node_masks = _split(node_mask, [len(each.free) for each in instances])
    return [Found(*each) for each in zip(edge_masks, node_masks, *rest, strict=True)]


def outcomes(
    frozen: Frozen,
    instances: Sequence[Instance],
    num_outputs: Sequence[int],
    kind: str,
    n_samples: tuple[int, int, int],
    outcome: Outcome,
    edge_mask: Tensor | None,
    node_mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Returns P(Y_A = y) and P(Y_notA = y) [I] under masks, without noise.

    Args:
        frozen, instances, num_outputs, kind, n_samples, outcome: as for `search`.
        edge_mask: [m] of the union, or None.
        node_mask: [k] of the union, or None.
    """
    union = united(instances, 1, num_outputs)
    present = absent = 0.0
    with torch.no_grad(), Masked(frozen, union.edge_index, union.num_nodes, union.messages) as it:
        run = Interventions(it, union, outcome)
        for world in worlds(kind, n_samples, sampled=False):
            probability = world.share * run.probabilities([world], edge_mask, node_mask)[0]
            if world.present:
                present = present + probability
            else:
                absent = absent + probability
    return torch.as_tensor(present), torch.as_tensor(absent)


class _Step:
    """Evaluates the loss of the prediction and gathers its gradient in the masks."""

    def __init__(
        self, interventions: Interventions, active: list[World], name: str, stacked: bool
    ) -> None:
        self.interventions = interventions
        self._constant = objective.constant(name)
        self._weights = [objective.coefficient(world, name) for world in active]
        self._active = active
        width = len(active) if stacked else 1
        self._parts = [slice(at, at + width) for at in range(0, len(active), width)]

    def __call__(self, edges: Tensor | None, nodes: Tensor | None, draws: Draws) -> Tensor:
        """Returns the losses [I] without the regularisers."""
        noise = draws.step()
        total: Tensor | float = self._constant
        for part in self._parts:
            probabilities = self.interventions.probabilities(
                self._active[part], edges, nodes, noise[part]
            )
            losses = sum(
                weight * each
                for weight, each in zip(self._weights[part], probabilities, strict=True)
            )
            if losses.requires_grad:
                losses.sum().backward()
            total = total + losses.detach()
        return total


def _check_influence(run: Interventions, union: Union, taken: Sequence[Tensor | None]) -> None:
    """Refuses a model that does not react to its masks.

    A gradient of zeros alone proves nothing: a constant model has it, and so has a saturated one.
    """
    for name, mask in zip(("edges", "features"), taken, strict=True):
        if mask is None or not len(mask):
            continue
        if mask.grad is None:
            raise InputError(
                f"the model's output has no gradient with respect to the masks of the {name}: it "
                "may run under no_grad, detach its input, or pass messages in another way."
            )
        if name == "edges" and not bool(mask.grad.any()) and _ignores_weights(run, union, mask):
            raise InputError(
                "the model's output depends on its edges, but not on the weights of their "
                "messages: it reads edge_index outside its MessagePassing layers, and cannot be "
                "explained so."
            )


def _ignores_weights(run: Interventions, union: Union, mask: Tensor) -> bool:
    """Whether the output changes without the edges, but not with all weights at 0."""
    x = union.x.repeat(union.copies, *[1] * (union.x.ndim - 1))
    ones = mask.new_ones(len(union.messages))
    with torch.no_grad():
        full, weightless = run.run(ones, x), run.run(torch.zeros_like(ones), x)
        if not torch.equal(full, weightless):
            return False
        try:
            return not torch.equal(full, run.without_edges(x))
        except Exception:  # noqa: BLE001 - the user's model need not take a graph without edges
            return False


def _edge_logits(
    instances: Sequence[Instance], union: Union, draws: Draws, settings: Settings
) -> MaskLogits:
    whole = settings.regulariser_scope == "graph"
    lengths = [len(each.messages) for each in instances]
    copies = torch.cat([each.copies for each in instances]).to(draws.edge_logits)
    return MaskLogits(
        _replaced(draws.edge_logits, [each.edge_logits for each in instances], lengths),
        settings.alpha_e,
        _shares(settings.beta_e, [each.num_edges for each in instances] if whole else lengths).to(
            draws.edge_logits
        )[union.message_instance],
        union.message_instance,
        union.size,
        union.tied if settings.symmetric else None,
        copies if settings.symmetric and whole else None,
    )


def _node_logits(
    instances: Sequence[Instance], union: Union, draws: Draws, settings: Settings
) -> MaskLogits:
    whole = settings.regulariser_scope == "graph"
    lengths = [len(each.free) for each in instances]
    return MaskLogits(
        _replaced(draws.node_logits, [each.node_logits for each in instances], lengths),
        settings.alpha_f,
        _shares(settings.beta_f, [each.num_nodes for each in instances] if whole else lengths).to(
            draws.node_logits
        )[union.free_instance],
        union.free_instance,
        union.size,
    )


def _shares(beta: float, entries: Sequence[int]) -> Tensor:
    """Beta over the number of entries that each instance's mean runs over."""
    return torch.tensor([beta / max(each, 1) for each in entries], dtype=torch.float64)


def _replaced(drawn: Tensor, given: Sequence[Tensor | None], lengths: list[int]) -> Tensor:
    """The drawn logits, but the given ones where there are such."""
    parts = zip(given, drawn.split(lengths), strict=True)
    return torch.cat([own if one is None else one.to(own) for one, own in parts])


def _split(mask: Tensor | None, lengths: list[int]) -> Sequence[Tensor | None]:
    return [None] * len(lengths) if mask is None else mask.split(lengths)


def _mask_dtype(x: Tensor) -> torch.dtype:
    return x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
