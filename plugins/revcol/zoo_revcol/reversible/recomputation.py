"""Drops what autograd would keep of a level's transform, and computes it again in backward."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn
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
        # What autograd saved in `record`, in order; and in `repeat`, with versions to take it by.
        self._forms: list[tuple[torch.Size, torch.dtype]] = []
        self._saved: dict[int, tuple[Tensor, int]] = {}

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
        self._modules = list(self.level.modules())
        self._training = [module.training for module in self._modules]
        self._needed = [tensor.requires_grad for tensor in (stem, *lower, *higher)]
        self._context = tuple(context)
        self._parameters = self._current_parameters()
        buffers = _present(module._buffers for module in self._modules)
        self._watched = [*self._parameters, *buffers, *self._context]
        self._versions = _versions(self._watched)
        given = _versions((stem, *lower, *higher))
        with saved_tensors_hooks(self._drop, self._take):
            transformed = self.level.transform(stem, lower, higher, *self._context)
        unchanged = given == _versions((stem, *lower, *higher))
        if not unchanged or self._versions != _versions(self._watched):
            raise ZooError(
                f"{type(self.level).__name__}.transform changed its arguments, parameters or "
                "buffers in place, which computing it twice would do twice; use memory='none' for "
                "such a level."
            )
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
        replaced = any(
            now is not then
            for now, then in zip_longest(self._current_parameters(), self._parameters)
        )
        if replaced or self._versions != _versions(self._watched):
            raise ZooError(
                f"a parameter, buffer or context of a {type(self.level).__name__} was changed in "
                "place or replaced between forward and backward, which would give wrong "
                "gradients; run backward before the optimiser's step, and inside of what replaces "
                "parameters."
            )
        split = 1 + len(lower)
        leaves = [
            tensor.detach().requires_grad_(needed)
            for tensor, needed in zip((stem, *lower, *higher), self._needed, strict=True)
        ]
        saved: list[tuple[Tensor, int]] = []

        def keep(tensor: Tensor) -> None:
            saved.append((tensor.detach(), tensor._version))

        # Without grad, too, the operations run as they did in forward: some have another
        # implementation for inference, which rounds in another way.
        with (
            torch.enable_grad(),
            self._surroundings.restored(),
            self._modes_restored(),
            saved_tensors_hooks(keep if with_grad else _forget, _unreachable),
        ):
            transformed = self.level.transform(
                leaves[0], tuple(leaves[1:split]), tuple(leaves[split:]), *self._context
            )
        if with_grad:
            if [_form(tensor) for tensor, _ in saved] != self._forms:
                raise ZooError(
                    f"{type(self.level).__name__}.transform did not repeat its forward pass: "
                    "autograd saved other tensors the second time. It may depend on its "
                    "arguments, its parameters and PyTorch's global random numbers only; use "
                    "memory='none' for others."
                )
            self._saved = dict(enumerate(saved))
        return transformed.detach()

    def _drop(self, tensor: Tensor) -> int:
        self._forms.append(_form(tensor))
        return len(self._forms) - 1

    def _take(self, index: int) -> Tensor:
        if index not in self._saved:
            raise ZooError(
                f"a tensor from inside a {type(self.level).__name__} was used outside of it in "
                "the loss, or a hook asked for it before backward; use memory='none' for that."
            )
        tensor, version = self._saved.pop(index)
        if tensor._version != version:
            # Autograd does not look at the versions of what went through hooks.
            raise ZooError(
                f"{type(self.level).__name__}.transform changed a tensor in place that its "
                "gradient needs; write that operation out of place."
            )
        return tensor

    def _current_parameters(self) -> list[Tensor]:
        return _present(module._parameters for module in self._modules)

    @contextlib.contextmanager
    def _modes_restored(self) -> Iterator[None]:
        """Lets the level's modules train or evaluate as they did in `record`."""
        modes = [module.training for module in self._modules]
        if modes == self._training:
            yield
            return
        try:
            _set_modes(self._modules, self._training)
            yield
        finally:
            _set_modes(self._modules, modes)


def _present(tables: Iterable[Mapping[str, Tensor | None]]) -> list[Tensor]:
    """The tensors in modules' tables; many times faster than nn.Module's own walk."""
    return [tensor for table in tables for tensor in table.values() if tensor is not None]


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _versions(tensors: Iterable[Tensor]) -> list[int]:
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]


def _set_modes(modules: Iterable[nn.Module], modes: Iterable[bool]) -> None:
    for module, mode in zip(modules, modes, strict=True):
        module.training = mode


def _forget(tensor: Tensor) -> None:
    pass


def _unreachable(packed: object) -> Tensor:
    raise AssertionError("the repeated graph is never run backward")
