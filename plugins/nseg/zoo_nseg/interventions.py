"""Runs worlds: the label's probability in every instance, once an intervention is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_nseg import masks
from zoo_nseg.instance import Union
from zoo_nseg.masking import Masked
from zoo_nseg.masks import World
from zoo_nseg.objective import per_instance
from zoo_nseg.outcome import Outcome

Drawn = tuple[Tensor | None, Tensor | None]
"""The noise of one world: [m] of its edges and [k] of its features, where it has such."""
NO_NOISE: Drawn = (None, None)


class Interventions:
    """A union of instances, ready to be intervened on.

    Args:
        masked: the model on the union's edges, within its block.
        union: with as many copies as worlds are run in one pass.
        outcome: how the model's output is read.
    """

    def __init__(self, masked: Masked, union: Union, outcome: Outcome) -> None:
        self._masked = masked
        self._union = union
        self._outcome = outcome
        self._x = union.x.repeat(union.copies, *[1] * (union.x.ndim - 1))

    def probabilities(
        self,
        worlds: Sequence[World],
        edges: Tensor | None,
        nodes: Tensor | None,
        noise: Sequence[Drawn] | None = None,
    ) -> Tensor:
        """Returns P(Y = y) in each world and instance: [W, I].

        Args:
            worlds: as many as the union has copies.
            edges: [m] mask of the edges, None if they have none.
            nodes: [k] mask of the features, None if they have none.
            noise: of each world.
        """
        drawn = noise or [NO_NOISE] * len(worlds)
        weights = torch.cat(
            [
                self._edge_weights(world, edges, shift)
                for world, (shift, _) in zip(worlds, drawn, strict=True)
            ]
        )
        x = self._x
        if nodes is not None:
            x = torch.cat(
                [
                    self._features(world, nodes, shift)
                    for world, (_, shift) in zip(worlds, drawn, strict=True)
                ]
            )
        return self.run(weights, x)

    def run(self, weights: Tensor, x: Tensor) -> Tensor:
        """Returns P(Y = y) [copies, I] under weights [copies * m] and features [copies * n, F]."""
        return self._read(self._masked(weights, x, **self._union.arguments))

    def without_edges(self, x: Tensor) -> Tensor:
        """Returns P(Y = y) [copies, I] of the same nodes with no edge between them, unmasked."""
        arguments = {
            name: value[:0] if name in self._union.edge_arguments else value
            for name, value in self._union.arguments.items()
        }
        return self._read(self._masked.without_edges(x, **arguments))

    def _read(self, output: Tensor) -> Tensor:
        union = self._union
        chosen = self._outcome.probability(output[union.rows], union.labels)
        chosen = chosen.view(union.copies, -1)
        if chosen.shape[1] == union.size:
            return chosen
        shared = chosen / union.row_sharers
        return torch.stack([per_instance(each, union.row_instance, union.size) for each in shared])

    def _edge_weights(self, world: World, mask: Tensor | None, noise: Tensor | None) -> Tensor:
        if world.edges == "whole" or mask is None:
            dtype = self._x.dtype if self._x.is_floating_point() else torch.float32
            return torch.ones(len(self._union.message_instance), dtype=dtype, device=self._x.device)
        return mask if world.edges == "set" else masks.complement(mask, noise)

    def _features(self, world: World, mask: Tensor, noise: Tensor | None) -> Tensor:
        union = self._union
        if world.features == "whole" or union.x_cf is None:
            return union.x
        kept = mask if world.features == "set" else masks.complement(mask, noise)
        if len(union.free) < len(union.x):
            kept = kept.new_ones(len(union.x)).index_copy(0, union.free, kept)
        return masks.blend(kept.to(union.x.dtype), union.x, union.x_cf)
