"""Drops what autograd would keep of a level's transform, and computes it again in backward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from zoo_core.errors import ZooError
from zoo_revcol.reversible.level import ReversibleLevel
from zoo_revcol.reversible.surroundings import Surroundings


class Recomputation:
    """One call of `level.transform`, whose graph holds no tensor until `repeat`.

    The graph itself is the one that autograd made, so that parameters are its ordinary leaves:
    hooks on their gradients (DDP, FSDP) run as always, and `torch.autograd.grad` finds them.

    Args:
        level: whose transform it is.
    """

    def __init__(self, level: ReversibleLevel) -> None:
        self.level = level
        self._tensors = 0
        self._saved: dict[int, Tensor] = {}

    def record(
        self,
        stem: Tensor,
        lower: Sequence[Tensor],
        higher: Sequence[Tensor],
        context: Sequence[Tensor] = (),
    ) -> Tensor:
        """Computes the transform, in forward; its arguments are the transform's.

        The context is held as it is: the same few tensors for all levels, without gradients.
        """
        self._surroundings = Surroundings(stem.device)
        self._needed = [tensor.requires_grad for tensor in (stem, *lower, *higher)]
        self._context = tuple(context)
        self._versions = self._current_versions()
        with saved_tensors_hooks(self._drop, self._take):
            transformed = self.level.transform(stem, lower, higher, *self._context)
        self._surroundings.forget_unused()
        return transformed

    def repeat(
        self,
        stem: Tensor,
        lower: Sequence[Tensor],
        higher: Sequence[Tensor],
        with_grad: bool = True,
    ) -> Tensor:
        """Computes the transform again.

        Args:
            stem: equal to that of `record`, and so are `lower` and `higher`.
            with_grad: whether to make the graph of `record` ready to be run backward once.

        Returns:
            The transform's output, detached.
        """
        if self._current_versions() != self._versions:
            raise ZooError(
                f"a parameter or context of a {type(self.level).__name__} was changed in place "
                "between forward and backward, which would give wrong gradients; run backward "
                "before the optimiser's step."
            )
        split = 1 + len(lower)
        leaves = [
            tensor.detach().requires_grad_(needed)
            for tensor, needed in zip((stem, *lower, *higher), self._needed, strict=True)
        ]
        saved: list[Tensor] = []

        def keep(tensor: Tensor) -> None:
            saved.append(tensor.detach())

        # Without grad, too, the operations run as they did in forward: some have another
        # implementation for inference, which rounds in another way.
        with (
            torch.enable_grad(),
            self._surroundings.restored(),
            saved_tensors_hooks(keep if with_grad else _forget, _unreachable),
        ):
            transformed = self.level.transform(
                leaves[0], tuple(leaves[1:split]), tuple(leaves[split:]), *self._context
            )
        if with_grad:
            if len(saved) != self._tensors:
                raise ZooError(
                    f"{type(self.level).__name__}.transform did not repeat its forward pass: "
                    f"autograd saved {self._tensors} tensors then and {len(saved)} now. It may "
                    "depend on its arguments, its parameters and PyTorch's random numbers only; "
                    "use memory='none' for others."
                )
            self._saved = dict(enumerate(saved))
        return transformed.detach()

    def _drop(self, tensor: Tensor) -> int:
        self._tensors += 1
        return self._tensors - 1

    def _take(self, index: int) -> Tensor:
        if index not in self._saved:
            raise ZooError(
                f"a tensor from inside a {type(self.level).__name__} was used outside of it in "
                "the loss, or a hook asked for it before backward; use memory='none' for that."
            )
        return self._saved.pop(index)

    def _current_versions(self) -> list[int]:
        return [tensor._version for tensor in (*self.level.parameters(), *self._context)]


def _forget(tensor: Tensor) -> None:
    pass


def _unreachable(packed: object) -> Tensor:
    raise AssertionError("the repeated graph is never run backward")
