"""One step of the multi-level reversible unit: a transform of other maps, and a scaled shortcut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo_core.errors import ConfigError
from zoo_revcol.validation import positive, real

if TYPE_CHECKING:
    from zoo_revcol.reversible.memory import LevelMemory


class ReversibleLevel(nn.Module):
    """c_l = a_l * p_l + f_l, with `c` of this column and `p` of the previous one.

    A subclass says in `transform` what f_l is. It may be any function of the stem's output, of
    the levels below in this column and of the levels above in the previous column; it needs no
    inverse. What it computes must depend on nothing but its arguments, its parameters and
    PyTorch's random numbers, since training computes it twice. Where the columns are given a
    context, such as an attention mask, `transform` takes its tensors as further arguments.
    `ModuleLevel` makes a level of a module. Source: RevCol, section 3.1.

    Args:
        alpha_shape: shape of the scale `alpha`, which must broadcast with the level's map and add
            no dimension to it: (1, C, 1, 1) for images [B, C, H, W], (C,) for tokens [B, T, C].
        alpha_init: initial value of the scale; 0.5 in the paper.
        alpha_min: smallest magnitude of the scale in use, above 0.

    Raises:
        ConfigError: a number out of its range.
    """

    def __init__(
        self, alpha_shape: Sequence[int], alpha_init: float = 0.5, alpha_min: float = 1e-3
    ) -> None:
        super().__init__()
        alpha_init, alpha_min = real("alpha_init", alpha_init), positive("alpha_min", alpha_min)
        if abs(alpha_init) < alpha_min:
            raise ConfigError(
                f"alpha_init is {alpha_init}; expected at least alpha_min in magnitude."
            )
        self.alpha = nn.Parameter(torch.full(tuple(alpha_shape), alpha_init))
        self.alpha_min = alpha_min

    def transform(
        self, stem: Tensor, lower: Sequence[Tensor], higher: Sequence[Tensor], *context: Tensor
    ) -> Tensor:
        """Computes f_l, which needs neither p_l nor c_l.

        Args:
            stem: the stem's output, the same for every column.
            lower: c_0 ... c_{l-1} of this column.
            higher: p_{l+1} ... of the previous column; empty in the first column.
            *context: what the columns were given besides the stem; nothing, unless they were. A
                level that knows of none need not name it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define transform.")

    def forward(
        self,
        previous: Tensor | None,
        stem: Tensor,
        lower: Sequence[Tensor],
        higher: Sequence[Tensor],
        memory: LevelMemory | None = None,
        context: Sequence[Tensor] = (),
    ) -> Tensor:
        """Computes c_l from p_l.

        Args:
            previous: p_l, of the same shape as the result; None in the first column.
            stem: as for `transform`.
            lower: as for `transform`.
            higher: as for `transform`.
            memory: how autograd remembers this call; None leaves it to autograd.
            context: as for `transform`.
        """
        if memory is not None:
            return memory.run(self, previous, stem, lower, higher, context)
        transformed = self.transform(stem, lower, higher, *context)
        if previous is None:
            if not (torch.is_grad_enabled() and self.alpha.requires_grad) or exporting():
                return transformed
            # A zero, rather than no shortcut at all: the first column's alphas stay in the graph
            # with a gradient of zero, so that DDP finds every parameter used.
            previous = transformed.new_zeros(())
        return torch.addcmul(transformed, self.scale(), previous)

    def inverse(
        self,
        output: Tensor,
        stem: Tensor,
        lower: Sequence[Tensor],
        higher: Sequence[Tensor],
        context: Sequence[Tensor] = (),
    ) -> Tensor:
        """Computes p_l from c_l; the other arguments are those of `transform`."""
        return undo(output, self.transform(stem, lower, higher, *context), self.scale())

    def scale(self) -> Tensor:
        """The scale in use, shaped as `alpha`, which is kept away from zero so that it inverts.

        The parameter is not written: a projection inside forward would change weights in
        evaluation, in averaged copies and in exported graphs. The gradient passes as if there
        were no bound. An alpha of exactly 0 counts as positive; the official code keeps it 0 and
        divides by it.
        """
        return _bounded(self.alpha, self.alpha_min)


class ModuleLevel(ReversibleLevel):
    """A level whose f_l is a module of one's own.

    Args:
        module: its forward takes (stem, lower, higher), with the context's tensors after them if
            the columns are given any, and returns f_l; see `ReversibleLevel.transform`.
        alpha_shape: as for `ReversibleLevel`, and so are the next two.
        alpha_init: initial value of the scale.
        alpha_min: smallest magnitude of the scale in use.

    Raises:
        ConfigError: no module, or a number out of its range.
    """

    def __init__(
        self,
        module: nn.Module,
        alpha_shape: Sequence[int],
        alpha_init: float = 0.5,
        alpha_min: float = 1e-3,
    ) -> None:
        super().__init__(alpha_shape, alpha_init, alpha_min)
        if not isinstance(module, nn.Module):
            raise ConfigError(f"module is a {type(module).__name__}; expected a torch.nn.Module.")
        self.module = module

    def transform(
        self, stem: Tensor, lower: Sequence[Tensor], higher: Sequence[Tensor], *context: Tensor
    ) -> Tensor:
        """Computes f_l by the module."""
        return self.module(stem, lower, higher, *context)


def exporting() -> bool:
    """Whether this call is recorded as a graph for inference, by torch.export or torch.jit."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def undo(output: Tensor, transformed: Tensor, scale: Tensor) -> Tensor:
    """p = (c - f) / a, the inverse of the shortcut."""
    difference = output - transformed
    if torch.result_type(difference, scale) != difference.dtype:
        return difference / scale
    return difference.div_(scale)  # the memory of a second map would cost more than the division


def _bounded(alpha: Tensor, minimum: float) -> Tensor:
    with torch.no_grad():
        bounded = torch.where(alpha < 0, alpha.clamp(max=-minimum), alpha.clamp(min=minimum))
        moved = bounded - alpha
    return alpha + moved
