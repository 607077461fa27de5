"""How autograd remembers a column's levels: exact inputs, or a chain that is undone backwards.

Both run a level as the plain equation does, c = a p + f, with two differences: the transform's
graph keeps no tensors (`Recomputation`), and the shortcut is one autograd function, whose backward
comes first, finds the level's inputs, repeats the transform and gives the gradients

    of f: g        of a: sum(p g), over what a is broadcast along        of p: a g

Source: RevCol, section 3.1; official code, backward of the reversible function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Variable

from zoo_core.errors import ZooError
from zoo_revcol.reversible.level import ReversibleLevel, undo
from zoo_revcol.reversible.recomputation import Recomputation
from zoo_revcol.reversible.rounding import decode, encode


def _first_order(backward: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Refuses `create_graph=True`, which would miss how gradients depend on what is dropped.

    PyTorch's `once_differentiable` lets it pass where the incoming gradient is a constant.
    """

    @functools.wraps(backward)
    def checked(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise ZooError(
                "backward with create_graph=True goes through columns that save memory, which "
                "have first derivatives only; use memory='none' for gradients of gradients."
            )
        return backward(ctx, *gradients)

    return checked


class LevelMemory(Protocol):
    """What a level is run with to be remembered in another way than autograd's own."""

    def run(
        self,
        level: ReversibleLevel,
        previous: Tensor | None,
        stem: Tensor,
        lower: Sequence[Tensor],
        higher: Sequence[Tensor],
        context: Sequence[Tensor],
    ) -> Tensor:
        """Computes c_l; the arguments are those of the level's `forward`."""


class Stored:
    """Keeps the level's inputs, exactly: gradient checkpointing, a level at a time."""

    def run(
        self,
        level: ReversibleLevel,
        previous: Tensor | None,
        stem: Tensor,
        lower: Sequence[Tensor],
        higher: Sequence[Tensor],
        context: Sequence[Tensor],
    ) -> Tensor:
        """Computes c_l; see `LevelMemory`."""
        recomputation = Recomputation(level)
        transformed = recomputation.record(stem, lower, higher, context)
        kept = [tensor.detach() for tensor in (stem, *lower, *higher)]
        return _StoredShortcut.apply(
            recomputation, len(lower), transformed, level.scale(), previous, *kept
        )


class _StoredShortcut(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        recomputation: Recomputation,
        split: int,
        transformed: Tensor,
        scale: Tensor,
        previous: Tensor | None,
        *inputs: Tensor,
    ) -> Tensor:
        ctx.recomputation, ctx.split, ctx.dtype = recomputation, split, transformed.dtype
        ctx.save_for_backward(scale, previous, *inputs)
        return _shortcut(transformed, scale, previous)

    @staticmethod
    @_first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        scale, previous, stem, *others = ctx.saved_tensors
        needed = ctx.needs_input_grad[2:5]
        if needed[0]:
            ctx.recomputation.repeat(stem, others[: ctx.split], others[ctx.split :])
        gradients = _gradients(gradient, scale, previous, needed, ctx.dtype)
        return (None, None, *gradients, None, *(None for _ in others))


class Chain:
    """Keeps the maps of the last of several columns, and undoes the columns a level at a time.

    The inverse of a step gives the input of the step before it, so backward needs no more than the
    maps of one column. Division by alpha enlarges rounding errors at every step, unless the chain
    is exact: then forward finds out by how much the inverse will be off, and keeps that.

    Args:
        exact: whether to keep what the inverse loses (see `rounding`).
    """

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self._steps: list[_Step] = []
        self._width = 0
        # Forward's latest map of each level, and the stem, to tell whether somebody changed one.
        self._latest: dict[int, tuple[int, int]] = {}
        # The state of a backward pass: how many steps are not undone yet, and what is at hand.
        self._left = 0
        self._stem: Tensor | None = None
        self._maps: list[Any] = []
        self._kept: list[tuple[Tensor, ...]] = []
        self._differs: list[Tensor] = []

    def step(self, index: int) -> LevelMemory:
        """Returns the memory of the chain's next step, level `index` of its column."""
        self._steps.append(_Step(index))
        return _Link(self, len(self._steps) - 1)

    def __getitem__(self, position: int) -> _Step:
        return self._steps[position]

    def expect(self, index: int, tensor: Tensor) -> None:
        """Notes the map that level `index` has from now on; index -1 stands for the stem."""
        self._latest[index] = _identity(tensor)

    def check(self, index: int, tensors: Sequence[Tensor]) -> None:
        """Makes sure that levels `index` and above have the maps that the chain gave them."""
        for place, tensor in enumerate(tensors, index):
            if self._latest.setdefault(place, _identity(tensor)) != _identity(tensor):
                raise ZooError(
                    "a map of a reversible chain was replaced or changed in place between its "
                    "levels, by a hook or a cast, so that it cannot be rebuilt; use "
                    "memory='checkpoint'."
                )

    def finish(
        self, stem: Tensor, last: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> list[Tensor]:
        """Ends the forward pass.

        Args:
            stem: the stem's output.
            last: the maps of the chain's last column.
            outputs: maps of its columns that are used outside; backward enters the chain by them.

        Returns:
            The outputs, for use outside.
        """
        self.check(-1, (stem, *last))
        self._width = len(last)
        kept = [tensor.detach() for tensor in (stem, *last)]
        for step in self._steps:
            kept += step.kept
            step.number, step.kept = len(step.kept), ()
        return list(_Anchor.apply(self, len(kept), *kept, *outputs))

    def start(self, kept: Sequence[Tensor]) -> None:
        """Begins the backward pass at the chain's end, with what `finish` kept."""
        end = 1 + self._width
        self._stem, self._maps, self._left = kept[0], list(kept[1:end]), len(self._steps)
        self._kept, self._differs = [], []
        for step in self._steps:
            self._kept.append(tuple(kept[end : end + step.number]))
            end += step.number
        # Backward need not come to the first step: its parameters may be frozen.
        Variable._execution_engine.queue_callback(self._stop)

    def undo(self, position: int, with_grad: bool) -> Tensor | None:
        """Undoes the steps down to `position`, counted from the chain's start.

        Args:
            position: of the step whose backward this is.
            with_grad: whether to make the step's transform ready for backward.

        Returns:
            The step's p_l; None in the first column.
        """
        if position >= self._left:
            raise ZooError(
                "backward came to the levels of a reversible chain out of order, or not through "
                "its outputs; use memory='checkpoint'."
            )
        while self._left > position + 1:
            self._undo_last(with_grad=False)
        previous = self._undo_last(with_grad)
        if self._left == 0:
            self._stop()
        return previous

    def _undo_last(self, with_grad: bool) -> Tensor | None:
        self._left -= 1
        step = self._steps[self._left]
        maps, index = self._maps, step.index
        lower, higher = maps[:index], [] if step.first else maps[index + 1 :]
        if step.first and not with_grad:
            return None
        transformed = step.recomputation.repeat(self._stem, lower, higher, with_grad)
        if step.first:
            maps[index] = None
            return None
        maps[index] = undo(maps[index], transformed, step.scale())
        if kept := self._kept.pop():
            maps[index], differs = decode(maps[index], kept)
            self._differs.append(differs)
        return maps[index]

    def _stop(self) -> None:
        differs, self._differs = self._differs, []
        self._left, self._stem, self._maps, self._kept = 0, None, [], []
        if differs and bool(torch.stack(differs).any()):
            raise ZooError(
                "an exact reversible chain could not be rebuilt to the bit: a level's transform "
                "gave something else the second time. Use deterministic operations, or "
                "memory='checkpoint'."
            )


class _Step:
    """One level of a chain."""

    recomputation: Recomputation

    def __init__(self, index: int) -> None:
        self.index = index
        self.first = False
        self.kept: tuple[Tensor, ...] = ()
        self.number = 0

    @torch.no_grad()
    def scale(self) -> Tensor:
        """The scale in use of this step's shortcut."""
        return self.recomputation.level.scale()


class _Link:
    """Runs a step for its chain, which does not hold it: no cycle keeps maps from being freed."""

    def __init__(self, chain: Chain, position: int) -> None:
        self.chain, self.position = chain, position

    def run(
        self,
        level: ReversibleLevel,
        previous: Tensor | None,
        stem: Tensor,
        lower: Sequence[Tensor],
        higher: Sequence[Tensor],
        context: Sequence[Tensor],
    ) -> Tensor:
        """Computes c_l; see `LevelMemory`."""
        step = self.chain[self.position]
        step.first, step.recomputation = previous is None, Recomputation(level)
        transformed = step.recomputation.record(stem, lower, higher, context)
        known = () if previous is None else (previous, *higher)
        self.chain.check(-1, (stem, *lower, *known))
        output = _ChainedShortcut.apply(
            self.chain, self.position, transformed, level.scale(), previous
        )
        if self.chain.exact and previous is not None:
            with torch.no_grad():
                inverted = undo(output, transformed, step.scale())
                step.kept = encode(previous.detach(), inverted)
        self.chain.expect(step.index, output)
        return output


class _ChainedShortcut(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        chain: Chain,
        position: int,
        transformed: Tensor,
        scale: Tensor,
        previous: Tensor | None,
    ) -> Tensor:
        ctx.chain, ctx.position, ctx.dtype = chain, position, transformed.dtype
        return _shortcut(transformed, scale, previous)

    @staticmethod
    @_first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        needed = ctx.needs_input_grad[2:]
        previous = ctx.chain.undo(ctx.position, with_grad=needed[0])
        scale = ctx.chain[ctx.position].scale()
        return (None, None, *_gradients(gradient, scale, previous, needed, ctx.dtype))


class _Anchor(torch.autograd.Function):
    """Lets maps pass, and gives the chain its end when backward comes by."""

    @staticmethod
    def forward(ctx: Any, chain: Chain, number: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.chain, ctx.number = chain, number
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[:number])
        return tensors[number:]

    @staticmethod
    @_first_order
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        ctx.chain.start(ctx.saved_tensors)
        return (None, None, *(None for _ in range(ctx.number)), *gradients)


def _identity(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor._version


def _shortcut(transformed: Tensor, scale: Tensor, previous: Tensor | None) -> Tensor:
    """c = a p + f, with p = 0 in the first column."""
    if previous is None:
        previous = transformed.new_zeros(())
    return torch.addcmul(transformed, scale, previous)


def _gradients(
    gradient: Tensor,
    scale: Tensor,
    previous: Tensor | None,
    needed: Sequence[bool],
    dtype: torch.dtype,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of f, a and p, where they are needed."""
    of_scale = of_previous = None
    if needed[1]:
        # In the first column alpha has no effect; its gradient is zero, and not missing.
        of_scale = (
            torch.zeros_like(scale)
            if previous is None
            else (previous * gradient).sum_to_size(scale.shape).to(scale.dtype)
        )
    if needed[2] and previous is not None:
        of_previous = (scale * gradient).to(previous.dtype)
    return gradient.to(dtype) if needed[0] else None, of_scale, of_previous
