"""A chain of reversible columns, and how training remembers it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo_core.errors import ConfigError, InputError, ZooError, ZooWarning, suggestion
from zoo_revcol.reversible.check import LARGEST_ERROR, Reversibility, amplification, rebuilt
from zoo_revcol.reversible.column import Column
from zoo_revcol.reversible.level import ReversibleLevel, exporting
from zoo_revcol.reversible.memory import Chain, Stored
from zoo_revcol.validation import boolean, integer

MEMORY: Final = ("none", "checkpoint", "reversible")
"""The memory modes: what autograd keeps of the columns between forward and backward."""


class ReversibleColumns(nn.ModuleList):
    """The paper's macro design over any levels: columns that all see the stem's output.

    The memory modes give the same gradients, at a price in time or in rounding:

    - "none": autograd keeps all that it wants to.
    - "checkpoint": the exact maps of every column; what is inside a level is computed again in
      backward, a level at a time. Costs one more forward pass; works for any alpha and dtype.
    - "reversible": the maps of every `anchor_every`-th column and of the last; the others are
      rebuilt by the inverse. The same price in time, and rounding errors that grow with the
      length of the chain, the faster the smaller alpha is. With `exact` the errors are kept in
      about a byte a value, and there are none.

    A mode applies where gradients are enabled, in training and in evaluation. Under
    `torch.compile` "checkpoint" and "reversible" both become PyTorch's own checkpointing, which
    the compiler can follow. Backward through backward needs "none"; so do gradients with respect
    to the maps that a "reversible" chain returns, and hooks on these: they leave out what flows on
    inside of the chain.

    Args:
        columns: a `Column` each, or the levels of one, a `ReversibleLevel` each.
        memory: "none", "checkpoint" or "reversible".
        anchor_every: for "reversible": how many columns make a chain. 1 inverts within a column,
            as the official code does; the number of columns keeps the maps of one column only.
        exact: for "reversible": whether to keep what the inverse loses.

    Raises:
        ConfigError: no columns, columns of different heights, or an argument out of its range.
    """

    def __init__(
        self,
        columns: Iterable[Column | Iterable[ReversibleLevel]],
        memory: str = "checkpoint",
        anchor_every: int = 1,
        exact: bool = False,
    ) -> None:
        super().__init__(each if isinstance(each, Column) else Column(each) for each in columns)
        heights = {len(column.levels) for column in self}
        if len(heights) != 1 or heights == {0}:
            raise ConfigError(
                f"the columns have {sorted(heights)} levels; expected at least one column, of at "
                "least one level, and as many in each."
            )
        self.remember(memory, anchor_every, exact)

    def remember(self, memory: str, anchor_every: int = 1, exact: bool = False) -> None:
        """Sets the memory mode; the arguments and errors are the constructor's."""
        if memory not in MEMORY:
            raise ConfigError(
                f"memory is {memory!r}; expected one of {', '.join(MEMORY)}."
                f"{suggestion(str(memory), MEMORY)}"
            )
        anchor_every = integer("anchor_every", anchor_every, minimum=1)
        if memory != "reversible" and (anchor_every != 1 or boolean("exact", exact)):
            raise ConfigError("anchor_every and exact belong to memory='reversible'.")
        self.memory, self.anchor_every, self.exact = memory, anchor_every, boolean("exact", exact)
        self._estimated = False

    def forward(
        self,
        stem: Tensor,
        keep: Collection[int] | None = None,
        context: Sequence[Tensor] = (),
    ) -> list[Tensor] | list[list[Tensor]]:
        """Computes the columns one after the other.

        Args:
            stem: the stem's output.
            keep: which columns' maps to return, in rising order.
            context: tensors that every level's transform takes after its other arguments, such as
                an attention mask; no gradients flow into them.

        Returns:
            The maps of the last column, lowest level first; with `keep` those of each column named.

        Raises:
            InputError: `keep` names a column that does not exist, or the context needs gradients.
        """
        if any(tensor.requires_grad for tensor in context):
            raise InputError(
                "context needs gradients, which it cannot get; detach it, or make it part of the "
                "stem."
            )
        last = len(self) - 1
        wanted = [last] if keep is None else sorted(set(keep))
        if wanted and not 0 <= wanted[0] <= wanted[-1] <= last:
            raise InputError(f"keep is {wanted}; there are columns 0 to {last}.")
        if not torch.is_grad_enabled() or self.memory == "none" or exporting():
            kept = self._plain(stem, wanted, context)
        elif torch._C._are_functorch_transforms_active():
            raise ZooError(
                f"memory={self.memory!r} does not go with torch.func; use memory='none' there."
            )
        elif torch.compiler.is_compiling():
            kept = self._plain(stem, wanted, context, checkpointed=True)
        elif self.memory == "checkpoint":
            self._refuse_running_statistics()
            kept = self._stored(stem, wanted, context)
        else:
            self._refuse_running_statistics()
            self._estimate(stem.dtype)
            kept = self._chained(stem, wanted, context)
        return kept[0] if keep is None else kept

    def invert(
        self,
        features: Sequence[Tensor],
        stem: Tensor,
        column: int = -1,
        context: Sequence[Tensor] = (),
    ) -> list[list[Tensor]]:
        """Rebuilds the maps of all columns before `column`, from that column's maps alone.

        Args:
            features: the maps of `column`.
            stem: the stem's output for the same input.
            column: index of the column the maps are from, counted from the end when negative.
            context: as for `forward`.

        Returns:
            The maps of columns 0 ... column - 1, in this order.

        Raises:
            InputError: there is no such column.
        """
        if not -len(self) <= column < len(self):
            raise InputError(f"column is {column}; there are {len(self)} columns.")
        columns: list[list[Tensor]] = []
        for index in range(column % len(self), 0, -1):
            features = self[index].inverse(stem, features, context)
            columns.append(list(features))
        return columns[::-1]

    def check_reversible(self, stem: Tensor, context: Sequence[Tensor] = ()) -> Reversibility:
        """Measures how well the inverse rebuilds each column, in the memory mode's chains.

        Args:
            stem: the stem's output for a batch; what is measured holds for its dtype.
            context: as for `forward`.

        Returns:
            The errors of each column, and the bound estimated from the alphas.
        """
        every = self.anchor_every if self.memory == "reversible" else len(self)
        exact = self.exact if self.memory == "reversible" else False
        return rebuilt(self, stem, every, exact, context)

    def extra_repr(self) -> str:
        """The memory mode, for `print(model)`."""
        if self.memory != "reversible":
            return f"memory={self.memory!r}"
        return f"memory='reversible', anchor_every={self.anchor_every}, exact={self.exact}"

    def _plain(
        self,
        stem: Tensor,
        wanted: Sequence[int],
        context: Sequence[Tensor],
        checkpointed: bool = False,
    ) -> list[list[Tensor]]:
        """Without memory of our own; holds on to the maps wanted, and to one column's."""
        kept, features = [], None
        for index, column in enumerate(self):
            if checkpointed:
                features = checkpoint(column, stem, features, None, context, use_reentrant=False)
            else:
                features = column(stem, features, None, context)
            if index in wanted:
                kept.append(features)
        return kept

    def _stored(
        self, stem: Tensor, wanted: Sequence[int], context: Sequence[Tensor]
    ) -> list[list[Tensor]]:
        kept, features = [], None
        for index, column in enumerate(self):
            features = column(stem, features, [Stored() for _ in column.levels], context)
            if index in wanted:
                kept.append(features)
        return kept

    def _chained(
        self, stem: Tensor, wanted: Sequence[int], context: Sequence[Tensor]
    ) -> list[list[Tensor]]:
        kept: list[list[Tensor]] = []
        features = None
        for start in range(0, len(self), self.anchor_every):
            chain, outside = Chain(self.exact), []
            stop = min(start + self.anchor_every, len(self))
            for index in range(start, stop):
                column = self[index]
                memory = [chain.step(level) for level in range(len(column.levels))]
                features = column(stem, features, memory, context)
                if index in wanted or index == stop - 1:
                    outside.append(features)
            flat = chain.finish(stem, features, [each for maps in outside for each in maps])
            width = len(features)
            outputs = [flat[at : at + width] for at in range(0, len(flat), width)]
            features = outputs[-1]
            kept += outputs if stop - 1 in wanted else outputs[:-1]
        return kept

    def _refuse_running_statistics(self) -> None:
        """A batch norm in training would count every batch twice."""
        for name, module in self.named_modules():
            if (
                isinstance(module, nn.modules.batchnorm._NormBase)
                and module.training
                and module.track_running_stats
            ):
                raise ConfigError(
                    f"{name} keeps running statistics, which computing a level twice would "
                    f"distort; put it in eval mode, use another norm, or memory='none' instead of "
                    f"{self.memory!r}."
                )

    def _estimate(self, dtype: torch.dtype) -> None:
        """Warns, once, of a chain too long for its alphas."""
        if self._estimated or self.exact:
            return
        self._estimated = True
        error = amplification(self, self.anchor_every) * torch.finfo(dtype).eps
        if error > LARGEST_ERROR:
            warnings.warn(
                f"rebuilding {min(self.anchor_every, len(self))} columns in {dtype} may lose all "
                f"precision: the alphas bound the relative error by {error:.1g} only. "
                "check_reversible measures it; exact=True, a smaller anchor_every or "
                "memory='checkpoint' avoid it.",
                ZooWarning,
                stacklevel=3,
            )
